// Collections in parts, and what is kept of those that were not finished.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/terminal/launcher.h"
#include "cli/terminal/options.h"
#include "cli/terminal/outputs.h"
#include "scute/recipe/part.h"

namespace scute::cli {

/// How often unfinished work is kept; neither: never.
struct CheckpointEvery {
  std::optional<double> seconds;
  std::optional<int64_t> samples;

  bool any() const { return seconds || samples; }
};

/// --shard and --checkpoint-every of a verb, with what they do there.
void declare_shard(Options& options, std::optional<Launched>& value, const std::string& does);
void declare_checkpoint_every(Options& options, CheckpointEvery& value, const std::string& does);
/// "3/8", or "" without.
std::string part_name(const std::optional<Launched>& launched);
/// Which part it is, where a launcher said so.
void say_launched(const std::optional<Launched>& launched);

/// --shard and --checkpoint-every of a collection.
struct PartFlags {
  std::optional<Launched> launched;
  CheckpointEvery every;

  void declare(Options& options);
  std::optional<Shard> shard() const;
};

/// UsageError unless --out is the name of a statistics file, or with a shard that of a folder.
void check_statistics_name(const std::string& out, const PartFlags& flags);

/// Where the statistics of one collection go: a file, or in a folder of parts the file of one.
class CollectionOutput {
 public:
  /// Claims it. With a shard the folder is made; of what is there only an unfinished part is gone
  /// on with, unless `force` has it measured anew. Without, what a run that died kept, if
  /// checkpoints are asked for.
  CollectionOutput(const PartFlags& flags, const std::string& out, bool force,
                   const std::vector<std::string>& inputs);
  CollectionOutput(const CollectionOutput&) = delete;
  CollectionOutput& operator=(const CollectionOutput&) = delete;

  /// For the collection, as long as this lives.
  const PartRequest& request() const { return request_; }
  const std::string& path() const { return file_.path(); }
  void write(const StatisticsSet& statistics);
  /// Whether what was interrupted is kept for the same command, instead of being written: there are
  /// checkpoints, and it is no part, which is a file of its own.
  bool keeps_interrupted() const { return every_.any() && !request_.shard; }
  void keep(const StatisticsSet& statistics);

 private:
  bool is_due(int64_t samples);

  CheckpointEvery every_;
  ClaimedFile file_;
  std::optional<StatisticsSet> begun_;
  PartRequest request_;
  std::chrono::steady_clock::time_point kept_ = std::chrono::steady_clock::now();
};

/// What a collection says of its part: a line, and a member "part"; "" and null without one.
/// `before`: samples that had been finished before.
std::string part_text(const StatisticsSet& statistics, int64_t before);
Json part_json(const StatisticsSet& statistics);

/// What to say of statistics that were interrupted and are in `file`: the same command goes on.
std::string part_interrupted(const std::string& file, const StatisticsSet& statistics);

/// Warns when statistics that are about to be used are of one part.
void warn_of_part(const StatisticsSet& statistics, const std::string& file);

/// Says that there was nothing to do; `file` is the finished part.
void say_complete(Output& out, bool json, const std::string& file, const StatisticsSet& statistics);

}  // namespace scute::cli
