// scute collect for Cobra: pictures and texts.

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "cli/cobra/memory.h"
#include "cli/collect_part.h"
#include "cli/collecting.h"
#include "cli/described.h"
#include "cli/form.h"
#include "cli/terminal/job.h"
#include "cli/terminal/options.h"
#include "cli/terminal/outputs.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/cobra/collect.h"
#include "scute/cobra/percentile_tables.h"
#include "scute/io/file.h"
#include "scute/recipe/statistics_io.h"

namespace scute::cli {
namespace {

constexpr const char* kConfig = "--config";

struct CobraCollectRequest {
  std::string model, config;
  PercentileOptions pct;
  CobraCollectOptions collect;
  bool no_random_text = false, force = false;
  PartFlags parts;
  Job job;

  void prepare(const Arguments& arguments);
  void declare(Options& options);
  void check();
  std::string part() const { return part_name(parts.launched); }
};

/// The value of a flag before the others are parsed; "" when it is not there.
std::string early_value(const Arguments& arguments, const std::string& flag) {
  std::string out;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == flag && i + 1 < arguments.size()) out = arguments[i + 1];
    if (arguments[i].starts_with(flag + "=")) out = arguments[i].substr(flag.size() + 1);
  }
  return out;
}

/// What holds before the flags: defaults, then the file, then the environment.
PercentileOptions before_flags(const Arguments& arguments) {
  PercentileOptions out;
  if (const std::string file = early_value(arguments, kConfig); !file.empty()) {
    constexpr int64_t kLimit = int64_t{1} << 20;
    out = percentile_options_from_json(Json::parse(read_text(file, kLimit), file), file, out);
  }
  return apply_environment(out, environment);
}

void CobraCollectRequest::prepare(const Arguments& arguments) { pct = before_flags(arguments); }

void declare_data(Options& options, CobraCollectRequest& request) {
  PercentileOptions& pct = request.pct;
  options.images(pct.images);
  options.integer("--batches", pct.batches, {.least = 1}, "batches at most");
  options.integer("--batch-size", pct.batch_size, {.least = 1}, "pictures or windows of a batch");
  options.custom("--targets", "NAMES", joined(pct.targets, ","),
                 "buckets to observe, separated by commas",
                 [&pct](const std::string& given) { pct.targets = parse_targets(given); });
  options.sites(request.collect.sites, "the buckets alone");
  options.prompts(pct.prompts, request.no_random_text, pct.text_len);
  request.collect.text.seed = pct.seed;
  options.custom("--seed", "N", fmt::format("{}", pct.seed), "of random ids and of sampling",
                 [&pct](const std::string& given) {
                   pct.seed = static_cast<uint64_t>(parse_integer("--seed", given, {}));
                 });
  options.integer("--max-samples-per-batch", pct.max_samples_per_batch, {.least = 0},
                  "count only so many values of a batch at each site, seeded; 0: every value");
}

void CobraCollectRequest::declare(Options& options) {
  options.model(model);
  declare_data(options, *this);
  options.statistics_out(pct.stats_out);
  options.force(force);
  parts.declare(options);
  options.text("--export-best-json", pct.overrides_json, "FILE",
               "also what scute decide says of them");
  options.number("--percentile-override", pct.percentile_override, 50, 100,
                 "for --export-best-json: this percentile instead of what the tail's rules pick");
  options.text(kConfig, config, "FILE",
               "the same options as JSON (\"batches\": 8, …); the environment's SCUTE_PCT_BATCHES "
               "and so on count more, flags most");
  options.last_reads();
  options.fine(collect.fine);
  options.per_channel(collect.per_channel);
  options.state_every(collect.state_every);
  options.compute(collect.compute);
  options.text_input(collect.text.input);
  job.declare_memory(options);
  job.declare(options);
  options.only_with({"--percentile-override"}, "--export-best-json FILE",
                    [this] { return !pct.overrides_json.empty(); });
  options.only_with({"--tokenizer"}, "--prompts FILE", [this] { return !pct.prompts.empty(); });
  options.only_with({"--state-every"}, "--sites of llm", [this] { return !collect.sites.empty(); });
  options.only_with({"--seed"}, "random ids, or --max-samples-per-batch N,", [this] {
    const bool random = pct.prompts.empty() && pct.random_text && !no_random_text;
    return random || pct.max_samples_per_batch > 0;
  });
  options.note(
      "Buckets are measured beside --sites; the blocks of llm run only for sites inside it. The "
      "folder of --out is made.");
}

void CobraCollectRequest::check() {
  if (no_random_text) pct.random_text = false;
  if (!pct.enabled) {
    throw UsageError(config + ": expected \"enabled\": true to collect, found false");
  }
  if (pct.percentile_override && pct.overrides_json.empty()) {
    throw UsageError(
        "percentile_override: expected overrides_json (--export-best-json FILE) beside it, found "
        "none; add that, or leave it out");
  }
  if (pct.images.empty()) {
    throw UsageError("--images: expected a folder with pictures, found none given");
  }
  check_ending("--export-best-json", pct.overrides_json, {".json"});
  if (parts.shard() && !pct.overrides_json.empty()) {
    throw UsageError(
        "--export-best-json: expected no --shard beside it, found both; decide from what scute "
        "merge makes of the parts");
  }
  check_statistics_name(pct.stats_out, parts);
}

void use(const PercentileOptions& pct, CobraCollectOptions& collect) {
  collect.images = pct.images;
  collect.targets = pct.targets;
  collect.batches = pct.batches;
  collect.batch_size = pct.batch_size;
  collect.max_samples_per_batch = pct.max_samples_per_batch;
  collect.text.prompts = pct.prompts;
  collect.text.random = pct.random_text;
  collect.text.length = pct.text_len;
  collect.text.seed = pct.seed;
}

void check_image_size(const CobraCollectRequest& request, const CobraDescription& model) {
  const int64_t image = model.config.towers.front().image;
  if (request.pct.img_size && *request.pct.img_size != image) {
    fail("img_size", fmt::format("{}, the pictures of {}", image, model.name),
         fmt::format("{}", *request.pct.img_size));
  }
}

std::string text_words(const Json& text) {
  const std::string source = text.at("source", "text").as_string("text");
  if (source == "random") {
    return fmt::format("random ids below {}, {} a picture, seed {}",
                       text.at("vocabulary", "").as_int(""), text.at("length", "").as_int(""),
                       text.at("seed", "").as_int(""));
  }
  if (source == "none") return "none";
  return fmt::format("{}, {} rows", text.at("file", "").as_string(""),
                     text.at("rows", "").as_int(""));
}

std::string bucket_table(const StatisticsSet& statistics) {
  Table table(
      {{"bucket", Table::Align::left}, {"values"}, {"min"}, {"p99.9"}, {"max"}, {"NaN, infinite"}});
  for (const std::string& bucket : bucket_names()) {
    const auto found = statistics.sites.find(bucket);
    if (found == statistics.sites.end()) continue;
    const Statistic& s = found->second;
    const std::string p999 =
        s.finite() > 0 ? significant(Distribution(s).quantile(0.999)) : std::string("-");
    table.add({bucket, grouped(static_cast<int64_t>(s.count)),
               significant(static_cast<double>(s.min)), p999,
               significant(static_cast<double>(s.max)),
               s.nans + s.infs == 0 ? "none" : fmt::format("{}, {}", s.nans, s.infs)});
  }
  return table.text();
}

Json as_json(const CobraCollectRequest& request, const CobraCollectResult& result, double seconds) {
  Json out;
  out["file"] = request.pct.stats_out;
  out["bytes"] = file_size(request.pct.stats_out);
  out["pictures"] = result.pictures;
  out["pictures_listed"] = result.listed;
  out["pictures_unused"] = result.unused;
  out["corrupt"] = array_of(result.corrupt);
  out["text"] = result.statistics.meta.at("text", "");
  out["text_tokens"] = result.text_tokens;
  out["sites"] = std::ssize(result.statistics.sites);
  out["silent_sites"] = array_of(result.silent_sites);
  out["nonfinite_sites"] = array_of(nonfinite_sites(result.statistics));
  if (!request.pct.overrides_json.empty()) out["overrides"] = request.pct.overrides_json;
  out["seconds"] = seconds;
  out["interrupted"] = result.interrupted;
  if (request.parts.shard()) out["part"] = part_json(result.statistics);
  if (result.before > 0) out["samples_before"] = result.before;
  return out;
}

std::string as_text(const CobraCollectRequest& request, const CobraCollectResult& result,
                    double seconds) {
  std::string out = bucket_table(result.statistics) + "\n";
  out += fmt::format("pictures   {} {} of {} in {}; {} unused, {} could not be read\n",
                     result.pictures, request.parts.shard() ? "in all parts" : "measured",
                     result.listed, request.pct.images, result.unused, result.corrupt.size());
  out += part_text(result.statistics, result.before);
  for (const std::string& problem : result.corrupt) out += fmt::format("WARNING    {}\n", problem);
  if (result.unused > 0) {
    out += fmt::format("           --batches {} measures them all\n",
                       (result.listed + request.pct.batch_size - 1) / request.pct.batch_size);
  }
  out += fmt::format("text       {}; {}\n", text_words(result.statistics.meta.at("text", "")),
                     count_of(result.text_tokens, "token"));
  if (request.pct.max_samples_per_batch > 0) {
    out += fmt::format(
        "sampled    {} values of a batch at each site, seed {}; both extremes of every picture are "
        "among them, so far percentiles of few values lean outward\n",
        grouped(request.pct.max_samples_per_batch), request.pct.seed);
  }
  out += fmt::format("sites      {}\n", result.statistics.sites.size());
  out += fmt::format("time       {}, {} pictures a second\n", duration_text(seconds),
                     significant(static_cast<double>(result.measured) / seconds, 3));
  out += fmt::format("file       {}, {}\n", request.pct.stats_out,
                     bytes_text(file_size(request.pct.stats_out)));
  if (!request.pct.overrides_json.empty())
    out += fmt::format("overrides  {}\n", request.pct.overrides_json);
  return out + nonfinite_text(result.statistics);
}

int run(CobraCollectRequest& request, const Call&, Output& out) {
  const CobraDescription model = described_cobra(request.model, request.job.quiet);
  check_image_size(request, model);
  use(request.pct, request.collect);
  const std::vector<std::string> inputs{request.pct.prompts, request.config, request.model,
                                        request.pct.images, request.collect.text.input.tokenizer};
  refuse_same_files({request.pct.stats_out, request.pct.overrides_json}, inputs);
  for (const std::string& file : {request.pct.stats_out, request.pct.overrides_json}) {
    if (file.empty()) continue;
    make_folder(std::filesystem::path(file).parent_path().string());
  }
  CollectionOutput file(request.parts, request.pct.stats_out, request.force, inputs);
  request.pct.stats_out = file.path();
  std::optional<ClaimedFile> overrides;
  claim_if_named(overrides, request.pct.overrides_json, request.force, {});

  const MemoryPlan memory =
      planned_cobra_collection(request.job, model,
                               {.execution = request.collect.compute,
                                .pictures = request.pct.batches * request.pct.batch_size,
                                .tokens = request.pct.text_len,
                                .sites = std::ssize(cobra_collection_sites(model, request.collect)),
                                .fine = request.collect.fine,
                                .kept = request.parts.every.any()},
                               file.path());
  request.job.threads = memory.threads;
  Collecting collecting(request.job, "pictures");
  const auto measured = collecting.measure([&](PassControl how) {
    how.by_layers = memory.by_layers;
    return collect_cobra(model, request.collect, how, file.request());
  });
  if (!measured) return collecting.exit_code();
  const CobraCollectResult& result = *measured;
  warn_of(result.bad_lines);

  return file.end(result, collecting.exit_code(), request.job, out,
                  {.json = [&] { return as_json(request, result, collecting.seconds()); },
                   .text = [&] { return as_text(request, result, collecting.seconds()); },
                   .sites = request.collect.sites,
                   .about_silence = "look with scute sites, or leave it out of --targets",
                   .interrupted =
                       [&] {
                         return fmt::format("scute: interrupted after {}; {} holds those, in order",
                                            count_of(result.measured, "picture"), file.path());
                       },
                   .beside =
                       [&] {
                         if (!overrides) return;
                         const Plan plan = default_plan(result.statistics, hash_file(file.path()),
                                                        request.pct.percentile_override);
                         overrides->publish(plan.to_json().dump(1) + "\n");
                       }});
}

}  // namespace

Form cobra_collect_form() {
  return form<CobraCollectRequest>(
      {.kind = ModelKind::cobra,
       .summary =
           "run pictures and texts through a Cobra once, keep exact statistics of its buckets",
       .example = "scute collect tests/golden/cobra/model --images tests/golden/cobra/pictures "
                  "--out outputs/percentile_stats.pt"});
}

}  // namespace scute::cli
