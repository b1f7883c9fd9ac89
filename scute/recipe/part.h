// Parts of one collection: what one process measures of it, and how far it came.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "scute/base/shard.h"
#include "scute/observe/statistics_file.h"
#include "scute/recipe/measure.h"

namespace scute {

/// What the statistics of a part say of themselves, in their meta under "part"; the rest of the
/// meta is that of the whole collection once the part is finished.
struct PartRecord {
  /// Everything that decides what the whole collection measures: an object, so that two that
  /// differ can be told apart by name.
  Json collection;
  Shard shard;
  int64_t samples = 0;              ///< of the shard
  int64_t finished = 0;             ///< of those, the first ones
  std::vector<std::string> silent;  ///< sites asked for that saw nothing in these

  bool complete() const { return finished == samples; }
};

/// Nothing when they are a collection of their own. Error naming `where` when what they say is none
/// of a part.
std::optional<PartRecord> part_of(const StatisticsSet& statistics, const std::string& where);
/// Error naming `where` when they are a part: parts are added up by their folder alone.
void refuse_part(const StatisticsSet& statistics, const std::string& where);
void say_part(StatisticsSet& statistics, const PartRecord& part);
/// They are a collection of their own from now on.
void forget_part(StatisticsSet& statistics);

/// What a collection is told of parts.
struct PartRequest {
  std::optional<Shard> shard;  ///< nothing: it is all of them
  /// What was finished of the same part before: it goes on from there. May be null.
  const StatisticsSet* begun = nullptr;
  std::string begun_name = "";  ///< for messages
  /// Whether what was begun was kept beside the output, and is no file of its own.
  bool begun_was_kept = false;
  /// What is of another collection, or finished, counts for nothing, instead of being an Error or
  /// the answer.
  bool measures_anew = false;
  /// Called with the part as far as it is finished, whenever due(samples finished since the last
  /// time) says so, one at a time. Null: never.
  std::function<bool(int64_t samples)> due = {};
  std::function<void(const StatisticsSet&)> keep = {};

  /// Whether anything is asked for.
  bool any() const { return shard || begun != nullptr || keep != nullptr; }
};

/// What a collection of every kind gives.
struct Collected {
  StatisticsSet statistics;
  std::vector<std::string> silent_sites = {};  ///< asked for, saw no value
  bool interrupted = false;                    ///< what was finished, in order, is here
  bool was_complete = false;                   ///< the part was there: nothing was measured
  int64_t before = 0;  ///< samples of the part that had been finished before
};

/// What a collection does for a request: which samples it measures, and what they say of it.
class PartWork {
 public:
  /// Error naming `begun_name` when what was begun is of another collection or of another shard.
  /// The request must live as long as this.
  PartWork(const PartRequest& request, Json collection);

  /// Says how far it was; whether all was done before: then what was begun is the answer. Not so of
  /// what was only kept, which is not under its name yet.
  bool was_complete(Collected& result) const;
  /// Whether this sample, of that number among those of the whole collection, is to be measured.
  bool takes(int64_t sample) const;
  /// Whether it is among those of the shard that are finished.
  bool has(int64_t sample) const;
  /// How many of the first `all` are.
  int64_t left(int64_t all) const { return part_.shard.count(all) - part_.finished; }

  /// Before the pass: takes up what was begun, and sees to it that parts are kept as asked. `all`:
  /// samples of the whole collection, at most. `meta`: of the whole collection, as far as it is
  /// known when it is asked for.
  void begin(Measurement& measurement, int64_t all, int fine, std::function<Json()> meta);
  /// After it: so many more were finished.
  void add(int64_t samples) { part_.finished += samples; }
  /// In all, of the shard, what was begun included.
  int64_t finished() const { return part_.finished; }
  /// At the end: what the measurement saw, with the meta; where a shard was asked for, or what was
  /// interrupted will be kept, they say so, of the `all` samples that there are.
  void finish(Collected& result, int64_t all);

 private:
  const PartRequest& request_;
  Measurement* measurement_ = nullptr;  ///< as begin() was told, with the next two
  int fine_ = 0;
  std::function<Json()> meta_;
  const StatisticsSet* begun_ = nullptr;
  PartRecord part_;
};

}  // namespace scute
