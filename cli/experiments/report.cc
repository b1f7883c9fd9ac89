// scute report: statistics, experiments and a checkpoint as one page.
#include "scute/experiments/report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "cli/collect_part.h"
#include "cli/form.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/launcher.h"
#include "cli/terminal/options.h"
#include "cli/terminal/outputs.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/cobra/trace.h"
#include "scute/experiments/fields.h"
#include "scute/experiments/home_folder.h"
#include "scute/io/file.h"
#include "scute/io/file_contents.h"
#include "scute/recipe/kind.h"
#include "scute/recipe/statistics_io.h"

namespace scute::cli {
namespace {

constexpr int64_t kPlanLimit = int64_t{64} << 20;

constexpr const char* kDefaultLog = "logs/percentile_experiments.jsonl";

struct ReportRequest {
  std::string log, checkpoint, out;
  std::vector<std::string> statistics, plans;
  int64_t last = 200;
  int threads = 0;
  bool force = false, json = false;

  void declare(Options& options);
  void check() const { check_ending("--out", out, {".html"}); }
};

void ReportRequest::declare(Options& options) {
  options.text("--log", log, "FILE",
               fmt::format("experiment log; without --stats and --checkpoint {} when it is there",
                           kDefaultLog));
  options.texts(
      "--stats", statistics, "FILE...",
      "statistics that collect wrote: distributions, heat map, sensitivity; without it those "
      "stored beside the log");
  options.last_reads();
  options.texts("--plan,--overrides", plans, "FILE...",
                "plans that decide wrote, or others of (percentile, lo, hi): drawn beside the "
                "policies' ranges, measured on the statistics");
  options.last_reads();
  options.text("--checkpoint", checkpoint, "DIR",
               "low-bit model that quantize wrote: its scales and ranges");
  options.last_reads();
  options.integer("--last", last, {.least = 1, .most = 2000},
                  "so many of the newest experiments; each pair of them is compared");
  options.text("--out", out, "FILE", "page to write (.html)", Options::Need::required);
  options.force(force);
  options.threads(threads);
  options.json(json);
  options.only_with({"--last"}, "--log FILE",
                    [this] { return !log.empty() || (statistics.empty() && checkpoint.empty()); });
}

/// What was read; the report points into it.
struct Material {
  std::optional<ExperimentLog> log;
  ReportOptions options;
};

/// What people call a statistics file: stored ones, named by a hash, by their model.
std::string shown_name(const std::string& path, const StatisticsSet& set) {
  constexpr size_t kHash = 64;
  const std::string stem = std::filesystem::path(path).stem().string();
  const Json* model = set.meta.find("model");
  const bool hash =
      stem.size() == kHash && stem.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!hash || model == nullptr || !model->is_string()) return base_name(path);
  return fmt::format("{}, {}", model->as_string(""), short_hash(stem));
}

/// Stored statistics of the newest experiments, those of each model and setting once.
std::vector<std::string> statistics_of(const ExperimentLog& log) {
  constexpr size_t kMost = 4;
  std::vector<std::string> out;
  for (auto entry = log.entries.rbegin(); entry != log.entries.rend(); ++entry) {
    const std::string path = path_beside(log.folder(), text_field(entry->files, {"statistics"}));
    const bool known = std::ranges::find(out, path) != out.end();
    if (out.size() < kMost && !known && std::filesystem::is_regular_file(path)) out.push_back(path);
  }
  return out;
}

Material read(const ReportRequest& request) {
  Material out;
  std::string log = request.log;
  const bool nothing_named =
      request.statistics.empty() && request.checkpoint.empty() && request.plans.empty();
  if (log.empty() && nothing_named && std::filesystem::exists(kDefaultLog)) log = kDefaultLog;
  if (log.empty() && nothing_named) {
    throw UsageError(fmt::format(
        "report: expected --log, --stats or --checkpoint, or a log {}, found none", kDefaultLog));
  }
  if (!log.empty()) {
    out.log = read_log(log);
    home_as_tilde(*out.log, environment("HOME").value_or(""));
  }
  const bool stored = out.log && request.statistics.empty();
  for (const std::string& path : stored ? statistics_of(*out.log) : request.statistics) {
    try {
      StatisticsSet set = read_statistics(path);
      warn_of_part(set, path);
      std::string name = shown_name(path, set);
      out.options.statistics.push_back({std::move(name), std::move(set)});
    } catch (const Error& error) {
      if (!stored) throw;  // nobody asked for this file: the experiments are shown without it
      warn(fmt::format("{}; left out", error.what()));
    }
  }
  for (const std::string& path : request.plans) {
    out.options.plans.push_back(
        {base_name(path),
         Plan::from_json(read_json(path, kPlanLimit, "a plan that scute decide wrote"), path)});
  }
  if (!request.checkpoint.empty()) {
    const bool cobra = kind_of(request.checkpoint) == ModelKind::cobra;
    out.options.checkpoint =
        cobra ? trace_cobra(request.checkpoint) : trace_scales(request.checkpoint);
    const auto recipe = (std::filesystem::path(request.checkpoint) / "recipe.json").string();
    if (std::filesystem::exists(recipe)) {
      out.options.checkpoint_recipe = Json::parse(read_text(recipe), recipe);
    }
  }
  out.options.most_experiments = request.last;
  out.options.threads = request.threads;
  return out;
}

int64_t shown_experiments(const Material& material) {
  const auto all = static_cast<int64_t>(material.log->entries.size());
  return std::min(all, material.options.most_experiments);
}

std::string as_text(const ReportRequest& request, const Material& material, int64_t bytes) {
  std::string out;
  for (const ReportStatistics& one : material.options.statistics) {
    out += fmt::format("statistics   {}, {}\n", one.name,
                       count_of(static_cast<int64_t>(one.set.sites.size()), "site"));
  }
  for (const ReportPlan& one : material.options.plans) {
    out += fmt::format("plan         {}, {}\n", one.name,
                       count_of(static_cast<int64_t>(one.plan.sites.size()), "range"));
  }
  if (material.log) {
    const auto all = static_cast<int64_t>(material.log->entries.size());
    const int64_t shown = shown_experiments(material);
    out +=
        fmt::format("experiments  {}, {}\n", material.log->path,
                    shown < all ? fmt::format("the newest {} of {}", grouped(shown), grouped(all))
                                : grouped(all));
    for (const std::string& remark : material.log->remarks) out += "remark: " + remark + "\n";
  }
  if (material.options.checkpoint) out += fmt::format("checkpoint   {}\n", request.checkpoint);
  return out + fmt::format("wrote {}, {}\n", request.out, bytes_text(bytes));
}

Json as_json(const ReportRequest& request, const Material& material, int64_t bytes) {
  Json out;
  out["file"] = request.out;
  out["bytes"] = bytes;
  out["statistics"] = Json::object();
  for (const ReportStatistics& one : material.options.statistics) {
    out["statistics"].append_member(one.name, static_cast<int64_t>(one.set.sites.size()));
  }
  out["plans"] = Json::object();
  for (const ReportPlan& one : material.options.plans) {
    out["plans"].append_member(one.name, static_cast<int64_t>(one.plan.sites.size()));
  }
  out["experiments"] = material.log ? shown_experiments(material) : int64_t{0};
  out["log"] = material.log ? Json(material.log->path) : Json();
  out["checkpoint"] = request.checkpoint.empty() ? Json() : Json(request.checkpoint);
  return out;
}

int run(ReportRequest& request, const Call&, Output& out) {
  std::vector<std::string> inputs = request.statistics;
  inputs.insert(inputs.end(), request.plans.begin(), request.plans.end());
  inputs.push_back(request.checkpoint);
  refuse_same_files({request.out}, {request.log});  // which others may add to meanwhile
  ClaimedFile file(request.out, request.force, inputs);
  Material material = read(request);
  if (material.log) material.options.log = &*material.log;
  const std::string page = make_report(material.options);
  {
    const HoldInterrupts hold;
    file.publish(page);
  }
  const auto bytes = static_cast<int64_t>(page.size());
  if (request.json) {
    out.write_json(as_json(request, material, bytes));
  } else {
    out.write(as_text(request, material, bytes));
  }
  return kDone;
}

}  // namespace

Form report_form() {
  return form<ReportRequest>(
      {.example = "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl "
                  "--samples 32 --out stats.safetensors\n"
                  "scute report --stats stats.safetensors --out report.html"});
}

}  // namespace scute::cli
