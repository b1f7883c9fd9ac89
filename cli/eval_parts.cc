#include "cli/eval_parts.h"

#include <fmt/format.h>

#include <limits>

#include "cli/terminal/output.h"
#include "cli/terminal/words.h"

namespace scute::cli {

void EvalPartFlags::declare(Options& options) {
  options.text("--parts", folder, "DIR",
               "keep the score of each item there as it is found: after a run that died the same "
               "command goes on, and the parts of --shard are added up");
  declare_shard(options, launched,
                "score part I of N of the items, from 0, into the folder of --parts; the same "
                "command without --shard then gives the scores of all");
  declare_checkpoint_every(options, every,
                           "how long the score of an item may wait to be kept; 1s without");
  options.only_with({"--shard", "--checkpoint-every"}, "--parts DIR");
}

void EvalPartFlags::check_whole(
    std::initializer_list<std::pair<const char*, bool>> asked_for) const {
  if (!launched) return;
  for (const auto& [flag, given] : asked_for) {
    if (!given) continue;
    throw UsageError(fmt::format(
        "{}: expected no --shard beside it: a part has not all items; give it with --parts {} when "
        "all parts are there",
        flag, folder));
  }
}

EvalParts::EvalParts(const EvalPartFlags& flags, const std::function<Json()>& key,
                     const Call& call) {
  if (flags.folder.empty()) return;
  say_launched(flags.launched);
  const auto shard = flags.launched ? std::optional(flags.launched->shard) : std::nullopt;
  parts_.emplace(flags.folder, key(), call.command(), shard, job_before(environment));
  if (parts_->claim() != nullptr) end_.emplace(*parts_->claim());
  constexpr double kNever = 1e18;
  if (flags.every.any()) {
    parts_->write_every(flags.every.seconds.value_or(kNever),
                        flags.every.samples.value_or(std::numeric_limits<int64_t>::max()));
  }
}

const KeptItems& EvalParts::items() const { return parts_ ? parts_->items() : none_; }

bool EvalParts::finish(Output& out, bool json, double seconds) {
  if (!parts_) return false;
  parts_->finish();
  const auto& shard = parts_->shard();
  if (!shard || shard->of == 1) return false;
  if (json) {
    Json answer;
    answer["file"] = parts_->file();
    answer["part"]["index"] = shard->index;
    answer["part"]["of"] = shard->of;
    answer["items_before"] = parts_->known();
    answer["seconds"] = seconds;
    out.write_json(answer);
  } else {
    out.write(fmt::format(
        "part       {}, finished{}\ntime       {}\nfile       {}\n", shard->text(),
        parts_->known() > 0 ? fmt::format("; {} scored before", count_of(parts_->known(), "item"))
                            : "",
        duration_text(seconds), parts_->file()));
  }
  return true;
}

}  // namespace scute::cli
