// Collections in parts, and what is kept of those that were not finished.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/terminal/job.h"
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

/// What a collection of one kind says at its end.
struct CollectionWords {
  std::function<Json()> json;
  std::function<std::string()> text;
  std::string sites;  ///< --sites
  /// What to do about a site that saw nothing; may be empty.
  std::string about_silence = "";
  /// What was interrupted without checkpoints, and how to do the rest.
  std::function<std::string()> interrupted;
  /// Writes what lies beside the statistics, when they are written. May be empty.
  std::function<void()> beside = {};
};

/// Where the statistics of one collection go: a file, or in a folder of parts the file of one.
class CollectionOutput {
 public:
  /// Claims it. With a shard the folder is made, and of what is there only an unfinished part is
  /// gone on with. So is what a run that died kept, whether or not checkpoints are asked for: by
  /// request(), which makes what another command kept an Error. `force` drops that, and has a
  /// finished part measured anew.
  CollectionOutput(const PartFlags& flags, const std::string& out, bool force,
                   const std::vector<std::string>& inputs);
  CollectionOutput(const CollectionOutput&) = delete;
  CollectionOutput& operator=(const CollectionOutput&) = delete;

  /// For the collection, as long as this lives.
  const PartRequest& request() const { return request_; }
  const std::string& path() const { return file_.path(); }
  /// Writes what was collected, or keeps it for the same command where it was interrupted and there
  /// are checkpoints, and says so; the exit code. `interrupted`: the code of an interruption. Error
  /// about sites that saw nothing, of a whole collection.
  int end(const Collected& result, int interrupted, const Job& job, Output& out,
          const CollectionWords& words);

 private:
  bool is_due(int64_t samples);
  void write(const StatisticsSet& statistics);
  /// Whether it is on disk.
  bool keep(const StatisticsSet& statistics);

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

/// Warns when statistics that are about to be used are of one part.
void warn_of_part(const StatisticsSet& statistics, const std::string& file);

}  // namespace scute::cli
