// scute quantize on a regressor: a checkpoint and a plan to a quantized checkpoint.
#include "scute/regressor/quantize.h"

#include <fmt/format.h>

#include <filesystem>

#include "cli/collect_part.h"
#include "cli/described.h"
#include "cli/form.h"
#include "cli/regressor/calibration_flags.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/outputs.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/base/random.h"
#include "scute/io/file.h"
#include "scute/io/file_contents.h"
#include "scute/recipe/statistics_io.h"

namespace scute::cli {
namespace {

constexpr int64_t kPlanLimit = int64_t{64} << 20;

struct RegressorQuantizeRequest {
  std::string model, plan, statistics, out;
  RegressorFlags flags;
  bool force = false, json = false;

  void declare(Options& options);
  void check() const;
  bool fixed() const { return flags.mode == RegressorQuantization::Mode::fixed; }
};

void RegressorQuantizeRequest::declare(Options& options) {
  options.model(model);
  options.plan(plan);
  options.statistics_in(statistics);
  declare_formats(options, flags);
  options.text("--out,--output", out, "FILE", "the checkpoint to write (.pt)",
               Options::Need::required);
  options.force(force);
  options.json(json);
  options.only_with({"--stats"}, "--plan FILE");
  options.note(
      "A plan is needed but for --quant-mode fixed88, which measures nothing; statistics are those "
      "that it was decided from.");
  options.note("Bits are those of the plan: scute decide --bits 8 or 16.");
}

void RegressorQuantizeRequest::check() const {
  if (plan.empty() == !fixed()) {
    throw UsageError(fixed() ? "--plan: expected none beside --quant-mode fixed88, whose codes are "
                               "Q8.8 whatever was measured"
                             : "expected --plan FILE (scute decide), or --quant-mode fixed88");
  }
  check_ending("--out", out, {".pt"});
  refuse_same_files({out}, {model, plan, statistics});
}

/// What flags and plan say together; never the checkpoint's own scales.
RegressorQuantization format_of(const RegressorQuantizeRequest& request,
                                const RegressorCheckpoint& checkpoint, const Plan& plan) {
  RegressorFlags flags = request.flags;
  flags.bits = request.fixed() ? 16 : input_bits(checkpoint.config, plan, 8);
  return plan_regressor(checkpoint, flags).how;
}

/// Positions of random windows, the same for both.
Tensor probe(const RegressorCheckpoint& checkpoint, const AnyRegressor& network) {
  constexpr int64_t kWindows = 8;
  const RegressorConfig& config = checkpoint.config;
  Tensor frames(DType::f32, {config.window + kWindows, config.features});
  Random random(7);
  for (float& x : frames.mutable_values<float>()) x = static_cast<float>(random.normal());
  std::vector<int64_t> ends;
  for (int64_t w = 1; w <= kWindows; ++w) ends.push_back(config.window + w);
  return std::visit(
      [&](const auto& model) { return predict(model, frames.matrix<float>(), ends, Threads(1)); },
      network);
}

/// Windows whose positions were compared; Error when the file is not the network that was made.
int64_t check_written(const std::string& path, const RegressorCheckpoint& checkpoint,
                      const CalibratedRegressor& made) {
  const RegressorCheckpoint again = read_regressor_checkpoint(path);
  const Tensor wanted = probe(checkpoint, build_calibrated(checkpoint, made));
  const Tensor got = probe(again, build_stored_regressor(again));
  if (!std::ranges::equal(wanted.values<float>(), got.values<float>())) {
    fail(path, "the network that was quantized, when loaded again", "other positions");
  }
  return wanted.dim(0);
}

struct RegressorQuantizeAnswer {
  RegressorQuantization how;
  std::string description;
  size_t layers = 0, sites = 0;
  std::vector<std::string> remarks;
  int64_t checked = 0;
};

/// "2 ranges … not used".
std::string unused_text(const Plan& plan, const Plan& used) {
  std::vector<std::string> unused;
  for (const auto& [site, decision] : plan.sites) {
    if (!used.sites.contains(site)) unused.push_back(site);
  }
  if (unused.empty()) return "";
  return fmt::format("{} of the plan not used, because what passes there is not rounded: {}",
                     count_of(std::ssize(unused), "range"), first_few(unused));
}

std::string as_text(const RegressorQuantizeRequest& request,
                    const RegressorQuantizeAnswer& answer) {
  std::string out = fmt::format("format      {}\n", answer.description);
  out +=
      fmt::format("rounded     {}, by {}\n", count_of(static_cast<int64_t>(answer.layers), "layer"),
                  count_of(static_cast<int64_t>(answer.sites), "range"));
  for (const std::string& sentence : answer.remarks) out += "remark: " + sentence + "\n";
  out += fmt::format("checked     loaded again: the same bits in the positions of {}\n",
                     count_of(answer.checked, "window"));
  return out + fmt::format("wrote {}, {}\n", request.out, bytes_text(file_size(request.out)));
}

Json as_json(const RegressorQuantizeRequest& request, const RegressorQuantizeAnswer& answer) {
  Json out;
  out["file"] = request.out;
  out["format"] = answer.description;
  out["bits"] = answer.how.bits;
  out["layers"] = static_cast<int64_t>(answer.layers);
  out["ranges"] = static_cast<int64_t>(answer.sites);
  out["bytes"] = file_size(request.out);
  out["checked_windows"] = answer.checked;
  out["remarks"] = array_of(answer.remarks);
  return out;
}

int run(RegressorQuantizeRequest& request, const Call&, Output& out) {
  ClaimedFile file(request.out, request.force, {request.model, request.plan, request.statistics});
  const RegressorCheckpoint checkpoint = described_regressor(request.model, false);
  Plan plan;
  if (!request.plan.empty()) {
    plan = Plan::from_json(read_json(request.plan, kPlanLimit, "a plan that scute decide wrote"),
                           request.plan);
  }
  std::optional<StatisticsSet> statistics;
  if (!request.statistics.empty()) {
    statistics = read_statistics(request.statistics);
    warn_of_part(*statistics, request.statistics);
  }
  const RegressorQuantization how = format_of(request, checkpoint, plan);
  const CalibratedRegressor made =
      quantize_regressor(checkpoint, how, plan, statistics ? &*statistics : nullptr);

  RegressorQuantizeAnswer answer{
      .how = how,
      .description = describe(how, describe_ranges(plan)),
      .layers = made.formats ? made.formats->layers.size() : made.rounding.size(),
      .sites = made.plan.sites.size(),
      .remarks = {},
      .checked = 0};
  if (!plan.sites.empty() && plan.meta.find("model_sha256") == nullptr) {
    answer.remarks.push_back("model not recorded in the plan: it was taken for one of " +
                             request.model);
  }
  if (const std::string text = unused_text(plan, made.plan); !text.empty()) {
    answer.remarks.push_back(text);
  }
  {
    const HoldInterrupts hold;
    write_calibrated_regressor(file.written(), checkpoint, made);
    answer.checked = check_written(file.written(), checkpoint, made);
    file.publish();
  }
  if (request.json) {
    out.write_json(as_json(request, answer));
  } else {
    out.write(as_text(request, answer));
  }
  return kDone;
}

}  // namespace

Form regressor_quantize_form() {
  return form<RegressorQuantizeRequest>(
      {.kind = ModelKind::regressor,
       .summary = "write a quantized regressor: 8 or 16 bits, measured, Qm.n or Q8.8",
       .example = "scute collect tests/golden/regressor/slim.pt --feat-root "
                  "tests/golden/regressor_features --out slim-stats.safetensors\n"
                  "scute decide slim-stats.safetensors --bits 8 --out slim-plan.json\n"
                  "scute quantize tests/golden/regressor/slim.pt --plan slim-plan.json --stats "
                  "slim-stats.safetensors --out slim-int8.pt\n"
                  "scute eval slim-int8.pt --feat-root tests/golden/regressor_features"});
}

}  // namespace scute::cli
