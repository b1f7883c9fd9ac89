// scute merge: statistics files into one, as if collected at once.
#include <fmt/format.h>

#include "cli/form.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/options.h"
#include "cli/terminal/outputs.h"
#include "cli/terminal/words.h"
#include "scute/io/file.h"
#include "scute/recipe/statistics_io.h"

namespace scute::cli {

namespace {

struct MergeRequest {
  std::vector<std::string> files;
  std::string target;
  bool force = false, json = false;

  void declare(Options& options) {
    options.texts("STATS", files, "FILE...", "statistics files of one model and one kind",
                  Options::Need::required);
    options.last_reads();
    options.text("--out", target, "FILE", "a name ending in .safetensors or .pt",
                 Options::Need::required);
    options.force(force);
    options.json(json);
  }
  void check() const {
    check_ending("--out", target, {".safetensors", ".pt"});
    refuse_same_files({target}, files);
  }
};

int run(MergeRequest& request, const Call&, Output& out) {
  const std::string& target = request.target;
  ClaimedFile file(target, request.force, request.files);

  const StatisticsSet all = merge_statistics(request.files);
  const HoldInterrupts hold;
  write_statistics(file.written(), all);
  file.publish();

  const auto number = [&](std::string_view key) {
    const Json* value = all.meta.find(key);
    return value != nullptr && value->is_int() ? value->as_int(target) : int64_t{0};
  };
  if (request.json) {
    Json result;
    result["file"] = target;
    result["bytes"] = file_size(target);
    result["files"] = static_cast<int64_t>(request.files.size());
    result["samples"] = number("samples");
    result["tokens"] = number("tokens");
    result["sites"] = static_cast<int64_t>(all.sites.size());
    out.write_json(result);
  } else {
    out.write(fmt::format("merged     {}: {}, {}{}\nfile       {}, {}\n",
                          count_of(static_cast<int64_t>(request.files.size()), "file"),
                          count_of(number("samples"), "sample"),
                          number("tokens") > 0 ? grouped(number("tokens")) + " tokens, " : "",
                          count_of(static_cast<int64_t>(all.sites.size()), "site"), target,
                          bytes_text(file_size(target))));
  }
  return kDone;
}

}  // namespace

Form merge_form() {
  return form<MergeRequest>(
      {.example =
           "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --take 16 "
           "--out part1.safetensors\n"
           "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --skip 16 "
           "--take 16 --out part2.safetensors\n"
           "scute merge part1.safetensors part2.safetensors --out stats.safetensors"});
}

}  // namespace scute::cli
