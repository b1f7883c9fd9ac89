#include "cli/language/hessian_part.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "cli/language/kept_work.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/outputs.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/language/hessian_parts.h"
#include "scute/recipe/part_folder.h"

namespace scute::cli {

void refuse_rounding_flags(const Call& call) {
  const std::set<std::string> read{"MODEL",       "--gptq",
                                   "--data",      "--samples",
                                   "--seqlen",    "--seed",
                                   "--tokenizer", "--special-tokens",
                                   "--out",       "--bad-lines",
                                   "--raw-ids",   "--force",
                                   "--shard",     "--checkpoint-every",
                                   "--threads",   "--device",
                                   "--quiet",     "--json"};
  std::vector<std::string> unread;
  for (const FlagInfo& flag : call.form->flags()) {
    const bool is_read = std::ranges::any_of(
        flag.names, [&](const std::string& name) { return read.contains(name); });
    if (!is_read && flag.names.front().starts_with("--")) unread.push_back(flag.names.front());
  }
  not_with(call, unread, "--shard, whose parts are Hessians of the float model,");
}

int run_hessian_part(const ModelDescription& model, const CalibrationOptions& calibration,
                     const Launched& launched, const CheckpointEvery& every,
                     const std::string& folder, bool force, Job& job, Output& out) {
  say_launched(launched);
  const std::string path = new_part_file(folder, launched.shard);
  std::vector<std::string> inputs = calibration.data;
  inputs.push_back(model.path);
  const Json meta = hessian_meta(model, calibration, job.threads);
  const auto is_there = [&] {
    try {
      return has_hessian_part(folder, launched.shard, meta);
    } catch (const Error& error) {
      throw Error(fmt::format("{} (--force measures this part anew)", error.what()));
    }
  };
  if (!force && is_there()) {
    job.answer(
        out,
        [&] {
          Json answer;
          answer["file"] = path;
          answer["was_complete"] = true;
          return answer;
        },
        [&] { return fmt::format("file       {}, there already and complete\n", path); });
    return kDone;
  }
  ClaimedFile file(path, force, inputs, job_before(environment), {}, Claim::Kept::gone_on);
  KeptWork kept(every, file.claim(), force);
  const auto measured = kept.go_on(job, KeptWork::kWindows, [&](const HessianRun& run) {
    return measure_hessian_part(model, calibration, run, launched.shard);
  });
  if (!measured) return kept.exit_code();
  const HessianPart& part = *measured;
  const HoldInterrupts hold;
  write_hessian_part(file.written(), part);
  file.publish();
  const double seconds = job.seconds();
  job.answer(
      out,
      [&] {
        Json answer;
        answer["file"] = path;
        answer["bytes"] = file_size(path);
        answer["part"]["index"] = launched.shard.index;
        answer["part"]["of"] = launched.shard.of;
        answer["sums"] = std::ssize(part.sums);
        answer["seconds"] = seconds;
        return answer;
      },
      [&] {
        return fmt::format("part       {}, {} of the Hessians\ntime       {}\nfile       {}, {}\n",
                           launched.shard.text(), count_of(std::ssize(part.sums), "sum"),
                           duration_text(seconds), path, bytes_text(file_size(path)));
      });
  return kDone;
}

}  // namespace scute::cli
