// Evaluations in parts, and those that go on after a run that died.
#pragma once

#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>

#include "cli/collect_part.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/options.h"
#include "cli/verbs.h"
#include "scute/recipe/kept_items_folder.h"

namespace scute::cli {

/// --shard, --parts and --checkpoint-every of an evaluation.
struct EvalPartFlags {
  std::optional<Launched> launched;
  std::string folder;
  CheckpointEvery every;

  void declare(Options& options);
  /// UsageError where a share of the items is scored and one of these is asked for, which is of
  /// all.
  void check_whole(std::initializer_list<std::pair<const char*, bool>> asked_for) const;
};

/// The items of an evaluation that are known or scored here.
class EvalParts {
 public:
  /// `key`: everything that decides the scores; asked for only with --parts.
  EvalParts(const EvalPartFlags& flags, const std::function<Json()>& key, const Call& call);

  const KeptItems& items() const;
  /// After scoring. Whether this was one part of several, and said so: then nothing else is shown.
  bool finish(Output& out, bool json, double seconds);

 private:
  std::optional<KeptItemsFolder> parts_;
  std::optional<ForsakenClaim> end_;
  KeptItems none_;
};

}  // namespace scute::cli
