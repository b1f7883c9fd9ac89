// scute quantize: a float model and a plan to a low-bit checkpoint, checked before it is reported.
#include "scute/language/quantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "cli/collect_part.h"
#include "cli/decide_text.h"
#include "cli/described.h"
#include "cli/form.h"
#include "cli/language/hessian_part.h"
#include "cli/language/kept_work.h"
#include "cli/language/memory.h"
#include "cli/language/quantize_flags.h"
#include "cli/language/quantize_text.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/job.h"
#include "cli/terminal/options.h"
#include "cli/terminal/outputs.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/io/file_contents.h"
#include "scute/language/low_bit_config.h"
#include "scute/language/search.h"
#include "scute/recipe/plan_meta.h"
#include "scute/recipe/statistics_io.h"

namespace scute::cli {
namespace {

namespace fs = std::filesystem;

struct QuantizeRequest {
  std::string model, plan, statistics, out, hybrid, save_hessians;
  QuantizeFlags flags;
  PolicyFlags rule;
  std::optional<double> search;
  int64_t search_samples = 16;
  CalibrationOptions calibration;
  QuantizeOptions how;
  std::optional<Launched> launched;
  CheckpointEvery every;
  bool force = false;
  Job job;

  std::string part() const { return part_name(launched); }
  void declare(Options& options);
  void declare_conditions(Options& options);
  void check();
};

void gptq_flags(Options& options, QuantizeRequest& request) {
  CalibrationOptions& calibration = request.calibration;
  options.texts("--data", calibration.data, "FILE", "GPTQ: .jsonl, .txt or .npy to calibrate on");
  options.last_reads();
  options.integer("--samples,--calib-data-num", calibration.windows.samples, {.least = 1},
                  "GPTQ: windows");
  options.integer("--seqlen,--calib-seqlen", calibration.windows.seqlen, {.least = 1},
                  "GPTQ: tokens of a window");
  options.text("--hessians", calibration.hessians, "FILE",
               "GPTQ: Hessians saved before, instead of --data");
  options.last_reads();
  options.text(
      "--save-hessians", request.save_hessians, "FILE",
      "keep them (.safetensors), so that bits and groups can be decided again without a pass");
  declare_shard(options, request.launched,
                "GPTQ: measure part I of N of the Hessians, from 0, at most 4, and write "
                "DIR/part-I-of-N.safetensors, --out DIR; scute merge DIR --out FILE adds them up "
                "for --hessians FILE");
  declare_checkpoint_every(options, request.every,
                           "GPTQ: keep what is measured of the Hessians every 10min, or every 64 "
                           "windows, beside --out: after a run that died the same command goes on "
                           "there, and rounds anew; layer by layer what is rounded, too");
}

void layer_flags(Options& options, QuantizeRequest& request) {
  options.text(
      "--hybrid-blocks", request.hybrid, "FILE",
      "a JSON list with W8A8, W4A8, W8A16, W4A16 or FP for each layer, or with one for "
      "each of its parts: mixer=W8A8+experts=W4A8 (mixer, attention, feed-forward, experts)");
  options.last_reads();
  options.custom(
      "--search", "BITS", "",
      "find such a list, by part: at most so many bits a weight on average, scales included; "
      "needs --data",
      [&request](const std::string& given) {
        request.search = parse_number("--search", given, 1, 64);
      });
  options.integer("--search-samples", request.search_samples, {.least = 1},
                  "windows of --seqlen tokens that the search measures each part on");
}

/// Options that would be ignored, or that need others, are wrong usage.
void check_together(const QuantizeRequest& request) {
  const QuantizeOptions& q = request.how;
  const auto refuse = [](bool wrong, const char* text) {
    if (wrong) throw UsageError(text);
  };
  const auto rounds = [](const std::optional<LayerFormat>& kind) {
    return kind && kind->eight_bit_activations();
  };
  const bool eight_bit = q.format.eight_bit_activations() || rounds(q.mixers) ||
                         rounds(q.attention) || rounds(q.feed_forwards) || rounds(q.experts);
  const bool data = !q.calibration.data.empty(), saved = !q.calibration.hessians.empty();
  const bool grams = q.gptq || !request.save_hessians.empty();
  refuse(q.gptq && !data && !saved,
         "--gptq: expected --data FILE (texts to calibrate on) or --hessians FILE, found neither");
  refuse(!request.save_hessians.empty() && !data,
         "--save-hessians: expected --data FILE to measure them on, found none");
  refuse(data && saved && !request.search,
         "expected either --data FILE or --hessians FILE, found both");
  refuse((data && !grams && !request.search) || (saved && !q.gptq),
         "--data and --hessians: expected --gptq, which uses them, found none");
  refuse(request.search && !data, "--search: expected --data FILE to measure on, found none");
  refuse(request.search && !request.hybrid.empty(),
         "expected either --search BITS or --hybrid-blocks FILE, found both");
  refuse(request.launched && (!q.gptq || !data),
         "--shard: expected --gptq and --data FILE beside it: Hessians are what is shared out");
  if (request.launched) return;  // what rounding needs does not matter
  refuse(eight_bit && request.hybrid.empty() && request.plan.empty() && request.statistics.empty(),
         "expected --stats FILE or --plan FILE, the ranges of 8-bit activations (scute collect "
         "measures them), found neither; --w-bits 4 --a-bits 16 needs none");
}

void QuantizeRequest::declare(Options& options) {
  options.model(model);
  flags.declare(options, QuantizeFlags::Bits::low);
  gptq_flags(options, *this);
  options.plan(plan);
  declare_statistics(options, statistics);
  rule.declare(options, "auto");
  layer_flags(options, *this);
  options.out_folder(out, force);
  options.text_input(calibration.input);
  job.declare_memory(options);
  job.declare(options);
  declare_conditions(options);
  options.note("--group-heads and scales per state channel need --stats, also beside --plan.");
}

void QuantizeRequest::declare_conditions(Options& options) {
  flags.other_formats = [this] { return !hybrid.empty() || search; };
  const std::vector<std::string> rules{"--policy", "--percentile-alpha"};
  flags.only_with_8_bit_activations(options, rules);
  options.not_with(rules, "--plan, which is decided,", [this] { return !plan.empty(); });
  options.only_with(rules, "--stats FILE");
  options.only_with({"--search-samples"}, "--search BITS");
  options.only_with({"--samples"}, "--gptq or --save-hessians",
                    [this, &options] { return options.given("--gptq") || !save_hessians.empty(); });
  options.only_with(
      {"--checkpoint-every"}, "--data FILE and --gptq or --save-hessians", [this, &options] {
        return options.given("--data") && (options.given("--gptq") || !save_hessians.empty());
      });
  options.only_with({"--seqlen", "--tokenizer"}, "--data FILE");
  options.only_with(
      {"--seed"}, "--data FILE, or 8-bit states that are rounded stochastically",
      [this, &options] { return options.given("--data") || flags.rounds_stochastically(); });
}

void QuantizeRequest::check() {
  check_ending("--save-hessians", save_hessians, {".safetensors"});
  how = flags.read();
  how.calibration = calibration;
  how.calibration.windows.shuffle = how.seed;
  check_together(*this);
}

/// The plan: as given, or decided from the statistics now.
Plan get_plan(const QuantizeRequest& request, const std::optional<StatisticsSet>& statistics) {
  if (!request.plan.empty()) {
    constexpr int64_t kLimit = int64_t{1} << 28;
    return Plan::from_json(read_json(request.plan, kLimit, "a plan that scute decide wrote"),
                           request.plan);
  }
  if (!statistics) return {};
  PlanOptions options;
  options.policy = request.rule.parsed().value_or(Policy{});
  options.threads = request.job.threads;
  Plan plan = make_plan(statistics->sites, options);
  if (const ThinTails thin = thin_tails(plan.sites); thin.sites > 0) warn(thin_text(thin));
  plan.meta = plan_meta(*statistics, request.calibration.input.files->sha256(request.statistics));
  plan.meta["policy"] = request.rule.name().value_or("auto");
  plan.meta["percentile_alpha"] = options.policy.alpha;
  plan.meta["bits"] = 8;
  plan.meta["symmetric"] = true;
  return plan;
}

/// What check_together() can tell without a list's formats.
void check_list(const QuantizeRequest& request, const MambaConfig& config) {
  if (!request.plan.empty() || !request.statistics.empty()) return;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const LayerFormats formats = request.how.of_layer(layer);
    for (const PartKind kind : config.kinds_of_layer(layer)) {
      if (!formats.of(kind).eight_bit_activations()) continue;
      fail(fmt::format("{}: layer {}", request.hybrid, layer),
           "--stats FILE or --plan FILE beside it, the ranges of 8-bit activations (scute collect "
           "measures them), or formats without them",
           fmt::format("{} and neither", formats.of(kind).name()));
    }
  }
}

/// Whether Hessians are measured of all layers at once, and not given.
bool measures(const QuantizeRequest& request, const QuantizePlan& plan) {
  const bool wanted = request.how.gptq || !request.save_hessians.empty();
  return wanted && request.how.calibration.hessians.empty() && !plan.memory.hessians_by_layers;
}

/// Nothing after an interruption.
std::optional<Hessians> measured_hessians(const QuantizeRequest& request,
                                          const ModelDescription& model, KeptWork& kept,
                                          std::optional<ClaimedFile>& saved) {
  std::optional<Hessians> out = kept.go_on(
      request.job, KeptWork::kWindows,
      [&](const HessianRun& run) { return measure_hessians(model, request.how.calibration, run); });
  if (out && saved) {
    const HoldInterrupts hold;
    write_hessians(saved->written(), *out);
    saved->publish();
  }
  return out;
}

SearchResult search(const QuantizeRequest& request, const ModelDescription& model, const Plan& plan,
                    const StatisticsSet* statistics, const Hessians* hessians) {
  Progress progress("search", "models", request.job.quiet);
  SearchOptions options{
      .bits = *request.search,
      .calibration = request.how.calibration,
      .threads = request.job.threads,
      .progress = [&](int64_t done, int64_t total) { progress.update(done, total); }};
  options.calibration.windows.samples = request.search_samples;
  return search_formats(model, plan, statistics, hessians, request.how, options);
}

/// Bytes of model.safetensors against those of the same tensors in bf16.
struct Size {
  int64_t bytes = 0, bf16 = 0;
};

Size size_of(const QuantizeRequest& request, const ModelDescription& model) {
  Size out;
  out.bytes = file_size((fs::path(request.out) / "model.safetensors").string());
  const Weights weights = read_weights(model);
  for (const std::string& name : weights.names()) out.bf16 += 2 * weights.at(name).size();
  return out;
}

Json gptq_json(const LowBitModel& low) {
  const Json* found = low.recipe.find("gptq");
  return found == nullptr ? Json::object() : *found;
}

std::string as_text(const QuantizeRequest& request, const LowBitModel& low, const Size& size,
                    const ProbeComparison& check, double seconds) {
  std::string out = fmt::format("layers      {}\n", formats_text(low)) + gptq_text(low);
  for (const std::string& sentence : low.remarks) out += "remark: " + sentence + "\n";
  out += fmt::format("size        {}, {} of the {} in bf16\n", bytes_text(size.bytes),
                     fixed(static_cast<double>(size.bytes) / static_cast<double>(size.bf16), 3),
                     bytes_text(size.bf16));
  out += fmt::format("checked     loaded again: the same bits in every logit of {}\n",
                     count_of(check.tokens, "token"));
  out += fmt::format("wrote {}, {}\n", request.out, duration_text(seconds));
  return out;
}

Json as_json(const QuantizeRequest& request, const LowBitModel& low,
             const std::optional<SearchResult>& found, const Size& size,
             const ProbeComparison& check, double seconds) {
  Json out;
  out["folder"] = request.out;
  out["layers"] = low.config.at("scute", "").at("layers", "");
  out["bytes"] = size.bytes;
  out["bytes_bf16"] = size.bf16;
  out["gptq"] = gptq_json(low);
  if (found) out["search"] = found->to_json();
  out["remarks"] = low.recipe.at("remarks", "");
  out["checked_tokens"] = check.tokens;
  out["seconds"] = seconds;
  return out;
}

int quantize_whole(QuantizeRequest& request, Output& out) {
  std::vector<std::string> inputs = request.calibration.data;
  inputs.insert(inputs.end(), {request.model, request.plan, request.statistics, request.hybrid,
                               request.calibration.hessians});
  FolderWriter folder(request.out, {.sources = inputs,
                                    .outputs = {request.save_hessians},
                                    .replace = request.force,
                                    .before = job_before(environment),
                                    .kept = Claim::Kept::gone_on});
  const ForsakenClaim end(folder.claim());
  KeptWork kept(request.every, folder.claim(), request.force);
  std::optional<ClaimedFile> saved;
  claim_if_named(saved, request.save_hessians, request.force, inputs);
  const ModelDescription model = described(request.model, request.job.quiet);
  request.job.begin();
  if (!request.hybrid.empty()) {
    request.how.hybrid = read_hybrid(request.hybrid, model.config);
    check_list(request, model.config);
  }
  std::optional<StatisticsSet> statistics;
  if (!request.statistics.empty()) {
    statistics = read_statistics(request.calibration.input.files->open(request.statistics));
    warn_of_part(*statistics, request.statistics);
  }
  const Plan plan = get_plan(request, statistics);
  std::vector<std::string> whole;
  if (request.search) whole.push_back("--search");
  if (!request.save_hessians.empty()) whole.push_back("--save-hessians");
  const QuantizePlan memory = planned_quantize(request.job, model, request.how, request.out,
                                               {request.plan, request.statistics}, whole);
  request.job.threads = memory.threads;
  std::optional<Hessians> hessians;
  if (measures(request, memory)) {
    hessians = measured_hessians(request, model, kept, saved);
    if (!hessians) return kept.exit_code();
  } else {
    if (!memory.memory.hessians_by_layers) kept.require_none();
    const std::string& given = request.how.calibration.hessians;
    if (request.how.gptq && !given.empty()) hessians = read_hessians(given, model);
  }
  const StatisticsSet* seen = statistics ? &*statistics : nullptr;
  const Hessians* grams = hessians ? &*hessians : nullptr;
  std::optional<SearchResult> found;
  if (request.search) {
    found = search(request, model, plan, seen, grams);
    request.how.hybrid = found->layers;
  }
  const auto round = [&](const HessianRun& run) {
    return quantize(model, plan, seen, grams, request.how, run.threads, run.progress, memory.memory,
                    run.keeping);
  };
  std::optional<LowBitModel> rounded;
  if (memory.memory.hessians_by_layers) {
    rounded = kept.go_on(request.job, KeptWork::kMatrices, round);
    if (!rounded) return kept.exit_code();
  } else {
    Progress progress("quantize", "matrices", request.job.quiet);
    rounded = round({.threads = request.job.threads, .progress = [&](int64_t done, int64_t total) {
                       progress.update(done, total);
                     }});
  }
  LowBitModel& low = *rounded;
  if (found) low.recipe["search"] = found->to_json();
  ProbeComparison check;
  {
    const HoldInterrupts hold;
    check = write_low_bit(low, folder, memory.check);
  }
  const Size size = size_of(request, model);
  const double seconds = request.job.seconds();
  request.job.answer(
      out, [&] { return as_json(request, low, found, size, check, seconds); },
      [&] {
        return (found ? search_text(*found) : "") + as_text(request, low, size, check, seconds);
      });
  return kDone;
}

int run(QuantizeRequest& request, const Call& call, Output& out) {
  if (request.launched) {
    refuse_rounding_flags(call);
    const ModelDescription model = described(request.model, request.job.quiet);
    request.job.begin();
    return run_hessian_part(model, request.how.calibration, *request.launched, request.every,
                            request.out, request.force, request.job, out);
  }
  return quantize_whole(request, out);
}

}  // namespace

Form language_quantize_form() {
  return form<QuantizeRequest>(
      {.kind = ModelKind::language,
       .summary = "write a low-bit language model: W8A8, W4A8, W8A16 or W4A16, by layer",
       .example =
           "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 32 "
           "--out stats.safetensors\n"
           "scute quantize examples/tiny-mamba1 --stats stats.safetensors --out tiny-mamba1-w8a8"});
}

}  // namespace scute::cli
