// scute merge: statistics files into one, as if collected at once.
#include <fmt/format.h>

#include <filesystem>

#include "cli/collecting.h"
#include "cli/form.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/options.h"
#include "cli/terminal/outputs.h"
#include "cli/terminal/words.h"
#include "scute/io/file.h"
#include "scute/language/hessian_parts.h"
#include "scute/recipe/part_folder.h"
#include "scute/recipe/statistics_io.h"

namespace scute::cli {

namespace {

namespace fs = std::filesystem;

struct MergeRequest {
  std::vector<std::string> files;
  std::string target;
  MergeLimits limits;
  bool force = false, json = false;

  void declare(Options& options) {
    options.texts("STATS", files, "FILE...|DIR",
                  "statistics files of one model and one kind, or the folder that scute collect "
                  "--shard wrote the parts of one collection into",
                  Options::Need::required);
    options.last_reads();
    options.text("--out", target, "FILE", "a name ending in .safetensors or .pt",
                 Options::Need::required);
    options.force(force);
    options.integer("--fan-in", limits.fan_in, {2, 1 << 16},
                    "of a folder: parts and sums in memory at once");
    options.threads(limits.threads);
    options.json(json);
    options.only_with({"--fan-in", "--threads"}, "a folder of parts",
                      [this] { return of_parts(); });
  }
  bool of_parts() const { return files.size() == 1 && fs::is_directory(files.front()); }
  void check() const {
    check_ending("--out", target, {".safetensors", ".pt"});
    refuse_same_files({target}, files);
    for (const std::string& file : files) {
      if (of_parts() || !fs::is_directory(file)) continue;
      throw UsageError(fmt::format(
          "STATS: expected files, or one folder of parts alone, found the folder {} among others",
          file));
    }
  }
};

/// --sites of the collection.
std::string sites_asked(const StatisticsSet& all) {
  const Json* sites = all.meta.find("sites");
  return sites != nullptr && sites->is_string() ? sites->as_string("meta") : "";
}

/// The parts of quantize --gptq --shard.
int merge_hessians(const MergeRequest& request, const Call& call, Output& out) {
  if (call.gives("--fan-in")) {
    throw UsageError("--fan-in: expected parts of statistics, found Hessians, added sum by sum");
  }
  check_ending("--out", request.target, {".safetensors"});
  ClaimedFile file(request.target, request.force, request.files);
  const Hessians all = merge_hessian_parts(request.files.front());
  const HoldInterrupts hold;
  write_hessians(file.written(), all);
  file.publish();
  const int64_t windows = all.meta.at("windows", request.target).as_int(request.target);
  if (request.json) {
    Json result;
    result["file"] = request.target;
    result["bytes"] = file_size(request.target);
    result["windows"] = windows;
    result["sites"] = std::ssize(all.sites);
    out.write_json(result);
  } else {
    out.write(fmt::format("merged     Hessians of {}, {}\nfile       {}, {}\n",
                          count_of(windows, "window"), count_of(std::ssize(all.sites), "site"),
                          request.target, bytes_text(file_size(request.target))));
  }
  return kDone;
}

int run(MergeRequest& request, const Call& call, Output& out) {
  if (request.of_parts() && holds_hessian_parts(request.files.front())) {
    return merge_hessians(request, call, out);
  }
  const std::string& target = request.target;
  ClaimedFile file(target, request.force, request.files);

  const bool of_parts = request.of_parts();
  const MergedParts merged =
      of_parts ? merge_parts(request.files.front(), request.limits)
               : MergedParts{merge_statistics(request.files), std::ssize(request.files), {}};
  const StatisticsSet& all = merged.statistics;
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
    result["files"] = merged.parts;
    result["silent_sites"] = array_of(merged.silent);
    result["samples"] = number("samples");
    result["tokens"] = number("tokens");
    result["sites"] = static_cast<int64_t>(all.sites.size());
    out.write_json(result);
  } else {
    out.write(fmt::format("merged     {}: {}, {}{}\nfile       {}, {}\n",
                          count_of(merged.parts, of_parts ? "part" : "file"),
                          count_of(number("samples"), "sample"),
                          number("tokens") > 0 ? grouped(number("tokens")) + " tokens, " : "",
                          count_of(static_cast<int64_t>(all.sites.size()), "site"), target,
                          bytes_text(file_size(target))));
  }
  refuse_silence(target, missed_sites(merged.silent, sites_asked(all)));
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
           "scute merge part1.safetensors part2.safetensors --out stats.safetensors\n"
           "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --shard 0/2 "
           "--out parts\n"
           "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --shard 1/2 "
           "--out parts\n"
           "scute merge parts --out all.safetensors"});
}

}  // namespace scute::cli
