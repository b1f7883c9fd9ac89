// scute quantize for Cobra.

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>

#include "cli/cobra/folder_size.h"
#include "cli/cobra/memory.h"
#include "cli/collect_part.h"
#include "cli/decide_text.h"
#include "cli/described.h"
#include "cli/form.h"
#include "cli/language/quantize_flags.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/job.h"
#include "cli/terminal/options.h"
#include "cli/terminal/outputs.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/cobra/overrides.h"
#include "scute/cobra/percentile_tables.h"
#include "scute/cobra/writer.h"
#include "scute/io/file.h"
#include "scute/recipe/plan_meta.h"
#include "scute/recipe/statistics_io.h"

namespace scute::cli {
namespace {

namespace fs = std::filesystem;

struct CobraQuantizeRequest {
  std::string model, statistics, out, w_bits = "8", a_bits = "8", hadamard = "on";
  std::vector<std::string> plans, bucket_formats;
  PolicyFlags rule;
  CobraQuantizeOptions how;
  std::optional<int64_t> group;
  bool force = false;
  Job job;

  void declare(Options& options);
  void check();
};

void declare_formats(Options& options, CobraQuantizeRequest& request) {
  declare_bits(options, QuantizeFlags::Bits::low, request.w_bits, request.a_bits);
  options.texts("--bucket-format", request.bucket_formats, "BUCKET=FORMAT...",
                "another format for vision.dino, vision.siglip, projector or llm: W8A8, W4A8, "
                "W8A16, W4A16 or FP");
  options.texts("--include", request.how.include, "GLOB...",
                "matrices that are rounded, e.g. 'vision.dino.blocks.*', projector.2, 'layer_*'; "
                "without it all");
  options.texts("--exclude", request.how.exclude, "GLOB...",
                "matrices that stay in floats, also of those included");
  declare_group_size(options, request.group);
  declare_hadamard(options, request.hadamard);
}

LayerFormat read_format(const std::string& text, const std::string& where) {
  try {
    return LayerFormat::parse(text, where);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

void read_formats(CobraQuantizeRequest& request) {
  CobraQuantizeOptions& options = request.how;
  options.group = request.group.value_or(options.group);
  options.format =
      read_format(fmt::format("W{}A{}", request.w_bits, request.a_bits), "--w-bits and --a-bits");
  for (const std::string& pair : words_of(request.bucket_formats)) {
    const size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw UsageError(fmt::format(
          "--bucket-format: expected BUCKET=FORMAT, e.g. vision.dino=W4A8, found \"{}\"", pair));
    }
    const std::string bucket = pair.substr(0, equals);
    options.buckets[bucket] = read_format(pair.substr(equals + 1), "--bucket-format " + bucket);
  }
  options.language.hadamard = options.language.fold = request.hadamard == "on";
}

/// Whether any bucket's weights are to have 4 bits.
bool four_bit_weights(const CobraQuantizeOptions& options) {
  const auto four = [](const LayerFormat& format) { return format.weight_bits == 4; };
  return four(options.format) ||
         std::ranges::any_of(options.buckets, [&](const auto& own) { return four(own.second); });
}

/// Whether any bucket's inputs are to be rounded.
bool eight_bit_inputs(const CobraQuantizeOptions& options) {
  const auto eight = [](const LayerFormat& format) {
    return !format.is_float() && format.eight_bit_activations();
  };
  return eight(options.format) ||
         std::ranges::any_of(options.buckets, [&](const auto& own) { return eight(own.second); });
}

void check_together(const CobraQuantizeRequest& request) {
  const auto refuse = [](bool wrong, const char* text) {
    if (wrong) throw UsageError(text);
  };
  const bool planned = !request.plans.empty(), measured = !request.statistics.empty();
  refuse(eight_bit_inputs(request.how) && !planned && !measured,
         "expected --stats FILE or --overrides FILE, the ranges of 8-bit inputs (scute collect "
         "MODEL --images DIR measures them), found neither; --w-bits 4 --a-bits 16 needs none");
}

void CobraQuantizeRequest::declare(Options& options) {
  options.model(model);
  options.texts("--plan,--overrides", plans, "FILE...", kPlanHelp);
  options.last_reads();
  declare_statistics(options, statistics);
  rule.declare(options, "tail for buckets, auto inside them");
  declare_formats(options, *this);
  options.out_folder(out, force);
  job.declare_memory(options);
  job.declare(options);
  const std::vector<std::string> rules{"--policy", "--percentile-alpha"};
  options.only_with(rules, "--stats FILE");
  options.only_with(rules, "8-bit inputs (--a-bits 8 or a --bucket-format)",
                    [this] { return read_formats(*this), eight_bit_inputs(how); });
  options.only_with({"--group-size"}, "4-bit weights (--w-bits 4 or a --bucket-format)",
                    [this] { return read_formats(*this), four_bit_weights(how); });
  options.only_with({"--hadamard"}, "an llm that is rounded",
                    [this] { return read_formats(*this), !how.of_bucket("llm").is_float(); });
  options.note(
      "Of a site in several plans the last counts; what plans lack is decided from --stats. Where "
      "--group-size does not divide a matrix, the nearest that does is taken. --hadamard is "
      "llm's.");
}

void CobraQuantizeRequest::check() {
  read_formats(*this);
  check_together(*this);
  how.policy = rule.parsed();
}

/// The files' ranges as one plan; without files an empty one that says what the statistics say.
MergedPlans get_plan(const CobraQuantizeRequest& request, const CobraDescription& model,
                     const std::optional<StatisticsSet>& statistics) {
  std::vector<PlanFile> files;
  for (const std::string& path : request.plans) files.push_back(read_plan_file(path));
  MergedPlans out = merge_plans(files, CobraSites(model.config).list());
  if (files.empty() && statistics) {
    out.plan.meta = plan_meta(*statistics, model.files->sha256(request.statistics));
    out.plan.meta["policy"] = request.rule.name().value_or(std::string(kDefaultPolicy));
    out.plan.meta["bits"] = 8;
    out.plan.meta["symmetric"] = true;
  }
  return out;
}

/// What the merged plan came from.
void record_files(const CobraQuantizeRequest& request, const std::vector<std::string>& conflicts,
                  LowBitCobra& low) {
  low.recipe["overrides"] = Json::array();
  for (const std::string& path : request.plans) {
    Json file = Json::object();
    file["file"] = fs::path(path).filename().string();
    file["sha256"] = hash_file(path);
    low.recipe["overrides"].push_back(std::move(file));
  }
  low.remarks.insert(low.remarks.begin(), conflicts.begin(), conflicts.end());
  low.recipe["remarks"] = Json::array();
  for (const std::string& sentence : low.remarks) low.recipe["remarks"].push_back(sentence);
}

/// What the matrices of each bucket became.
std::string formats_text(const LowBitCobra& low) {
  const Json& scute = low.description.json.at("scute", "");
  const Json& matrices = scute.at("matrices", "");
  std::string out;
  for (const auto& [bucket, asked] : scute.at("formats", "").as_object("")) {
    std::map<std::string, int64_t> counts;
    for (const auto& [name, format] : matrices.as_object("")) {
      if (name.starts_with(bucket + ".")) ++counts[format.as_string("")];
    }
    std::string stored = low.language ? asked.as_string("") : "FP";  // llm
    if (!counts.empty()) stored.clear();
    for (const auto& [format, count] : counts) {
      stored += fmt::format("{}{} × {}", stored.empty() ? "" : ", ", count, format);
    }
    out += fmt::format("{}{} {}", out.empty() ? "" : "; ", bucket, stored);
  }
  return out;
}

std::string clips_text(const LowBitCobra& low) {
  std::string out;
  for (const auto& [bucket, range] : low.description.ranges) {
    out += fmt::format("{}{} {} .. {}", out.empty() ? "" : ", ", bucket,
                       significant(static_cast<double>(range.first)),
                       significant(static_cast<double>(range.second)));
  }
  return out.empty() ? "nothing" : out;
}

std::string as_text(const CobraQuantizeRequest& request, const LowBitCobra& low,
                    const ProbeComparison& check, double seconds) {
  const int64_t bytes = weight_bytes(request.out);
  std::string out = fmt::format("formats     {}\n", formats_text(low));
  out += fmt::format("clipped     {}\n", clips_text(low));
  for (const std::string& sentence : low.remarks) out += "remark: " + sentence + "\n";
  out += fmt::format("size        {}, {} of the {} in bf16\n", bytes_text(bytes),
                     fixed(static_cast<double>(bytes) / static_cast<double>(low.bytes_bf16), 3),
                     bytes_text(low.bytes_bf16));
  out += fmt::format("checked     loaded again: the same bits in {} of towers, projector and llm\n",
                     count_of(check.values, "output"));
  out += fmt::format("wrote {}, {}\n", request.out, duration_text(seconds));
  return out;
}

Json as_json(const CobraQuantizeRequest& request, const LowBitCobra& low,
             const ProbeComparison& check, double seconds) {
  const Json& scute = low.description.json.at("scute", "");
  Json out;
  out["folder"] = request.out;
  for (const char* key : {"formats", "matrices", "ranges"}) out[key] = scute.at(key, "");
  out["bytes"] = weight_bytes(request.out);
  out["bytes_bf16"] = low.bytes_bf16;
  out["remarks"] = low.recipe.at("remarks", "");
  out["checked_values"] = check.values;
  out["seconds"] = seconds;
  return out;
}

int run(CobraQuantizeRequest& request, const Call&, Output& out) {
  std::vector<std::string> inputs = words_of(request.plans);
  inputs.insert(inputs.end(), {request.model, request.statistics});
  FolderWriter folder(request.out, {.sources = inputs, .replace = request.force});
  const ForsakenClaim end(folder.claim());
  const CobraDescription model = described_cobra(request.model, request.job.quiet);
  request.job.begin();
  std::optional<StatisticsSet> statistics;
  if (!request.statistics.empty()) {
    statistics = read_statistics(model.files->open(request.statistics));
    warn_of_part(*statistics, request.statistics);
  }
  const QuantizePlan memory =
      planned_cobra_quantize(request.job, model, request.how, request.out, {request.statistics});
  request.job.threads = memory.threads;
  const MergedPlans merged = get_plan(request, model, statistics);
  LowBitCobra low = [&] {
    Progress progress("quantize", "matrices", request.job.quiet);
    return quantize_cobra(
        model, merged.plan, statistics ? &*statistics : nullptr, request.how, request.job.threads,
        [&](int64_t done, int64_t total) { progress.update(done, total); }, memory.memory);
  }();
  if (const ThinTails thin = thin_tails(low.plan.sites); thin.sites > 0) warn(thin_text(thin));
  record_files(request, merged.remarks, low);
  ProbeComparison check;
  {
    const HoldInterrupts hold;
    check = write_cobra(low, folder, memory.check);
  }
  const double seconds = request.job.seconds();
  request.job.answer(
      out, [&] { return as_json(request, low, check, seconds); },
      [&] { return as_text(request, low, check, seconds); });
  return kDone;
}

}  // namespace

Form cobra_quantize_form() {
  return form<CobraQuantizeRequest>(
      {.kind = ModelKind::cobra,
       .summary =
           "write a low-bit Cobra: ranges of its buckets and sites, W8A8, W4A8, W8A16 or W4A16",
       .example =
           "scute collect tests/golden/cobra/model --images tests/golden/cobra/pictures --out "
           "outputs/percentile_stats.pt\n"
           "scute decide outputs/percentile_stats.pt --out outputs/percentile_overrides.json\n"
           "scute quantize tests/golden/cobra/model --overrides outputs/percentile_overrides.json "
           "--out outputs/cobra-w8a8"});
}

}  // namespace scute::cli
