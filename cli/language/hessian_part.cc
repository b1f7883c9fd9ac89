#include "cli/language/hessian_part.h"

#include <fmt/format.h>

#include "cli/collect_part.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/outputs.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/words.h"
#include "scute/io/file.h"
#include "scute/language/hessian_parts.h"
#include "scute/recipe/part_names.h"

namespace scute::cli {

int run_hessian_part(const ModelDescription& model, const CalibrationOptions& calibration,
                     const Launched& launched, const std::string& folder, bool force, Job& job,
                     Output& out) {
  say_launched(launched);
  make_folder(folder);
  const std::string path = part_file(folder, launched.shard, ".safetensors");
  std::vector<std::string> inputs = calibration.data;
  inputs.push_back(model.path);
  const Json meta = hessian_meta(model, calibration, job.threads);
  if (!force && has_hessian_part(folder, launched.shard, meta)) {
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
  ClaimedFile file(path, force, inputs, job_before(environment));
  Progress progress("hessians", "windows", job.quiet);
  const HessianPart part = measure_hessian_part(
      model, calibration,
      {.threads = job.threads,
       .progress = [&](int64_t done, int64_t total) { progress.update(done, total); }},
      launched.shard);
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
