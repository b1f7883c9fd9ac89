#include "scute/regressor/quantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "scute/base/error.h"
#include "scute/recipe/ranges.h"
#include "scute/regressor/diagnosis.h"
#include "scute/regressor/ranges.h"

namespace scute {
namespace {

using Mode = RegressorQuantization::Mode;

std::string_view backend_name(RegressorBackend backend) {
  if (backend == RegressorBackend::lsq) return "lsq";
  return backend == RegressorBackend::extension ? "extension" : "integer";
}

std::string layers_text(const RegressorQuantization& how) {
  if (how.all) return "all layers";
  std::string out;
  const auto add = [&](bool chosen, std::string_view name) {
    if (chosen) out += (out.empty() ? "" : " + ") + std::string(name);
  };
  add(how.proj, "proj");
  add(how.head, "head");
  add(how.block_linear, "in_proj and out_proj");
  add(how.backbone_linear, "patch_embedding and the pooled output layer");
  return out;
}

std::string start_of(const RegressorQuantization& how) {
  return fmt::format("{}, {} bits", backend_name(how.backend), how.bits);
}

std::string text_at(const Json& meta, const char* key) {
  const Json* found = meta.find(key);
  return found != nullptr && found->is_string() ? found->as_string(key) : "";
}

/// Stored ones are repeated for every channel.
bool same_scales(const std::vector<float>& stored, const std::vector<float>& planned) {
  if (planned.size() != 1) return stored == planned;
  return std::ranges::all_of(stored, [&](float scale) { return scale == planned.front(); });
}

}  // namespace

CalibratedRegressor quantize_regressor(const RegressorCheckpoint& checkpoint,
                                       const RegressorQuantization& how, const Plan& plan,
                                       const StatisticsSet* statistics) {
  const std::string name = std::filesystem::path(checkpoint.path).filename().string();
  const std::string hash = hash_regressor(checkpoint);
  check_recorded_model(plan.meta, "plan", name, hash);
  if (statistics != nullptr) check_recorded_model(statistics->meta, "statistics", name, hash);

  CalibratedRegressor out;
  out.how = how;
  ModelRanges ranges(name, RegressorSites(checkpoint.config).list, plan);
  const RegressorTensors tensors(checkpoint.config, checkpoint.weights);
  if (how.backend == RegressorBackend::integer && how.all) {
    out.formats = decide_formats(checkpoint.config, tensors, how, ranges);
  } else {
    out.rounding = decide_rounding(checkpoint.config, tensors, how, ranges);
  }
  if (how.mode != Mode::fixed) out.plan = ranges.used();
  if (statistics != nullptr) out.statistics = *statistics;
  out.provenance = {{"tool", "scute " SCUTE_VERSION},
                    {"plan", describe(how, describe_ranges(plan))},
                    {"source_sha256", hash},
                    {"calibration_sha256", text_at(plan.meta, "features_sha256")}};
  return out;
}

void check_scales_of_plan(const RegressorCheckpoint& checkpoint) {
  const CalibratedRegressor made =
      quantize_regressor(checkpoint, checkpoint.quantization, *checkpoint.plan, nullptr);
  const auto refuse = [&](const std::string& layer) {
    fail(checkpoint.path + ": " + layer, "the scales of its plan",
         "others: changed since by another tool; scute quantize --plan writes them anew");
  };
  if (made.formats != checkpoint.formats) refuse("formats of layers");
  const RegressorRounding planned = made.formats ? rounding_of(*made.formats) : made.rounding;
  for (const auto& [name, stored] : stored_rounding(checkpoint)) {
    const auto found = planned.find(name);
    if (found == planned.end() || !same_scales(stored.input, found->second.input) ||
        !same_scales(stored.weight, found->second.weight)) {
      refuse(name);
    }
  }
}

int input_bits(const RegressorConfig& config, const Plan& plan, int otherwise) {
  RegressorQuantization every;
  every.backend = RegressorBackend::integer;
  every.all = true;
  for (const std::string& layer : rounded_layers(config, every)) {
    const auto found = plan.sites.find(layer + ":input");
    if (found != plan.sites.end()) return found->second.grid.bits;
  }
  return otherwise;
}

AnyRegressor build_calibrated(const RegressorCheckpoint& checkpoint,
                              const CalibratedRegressor& calibrated) {
  if (!calibrated.formats) return build_regressor(checkpoint, calibrated.rounding);
  return IntegerRegressor(checkpoint.config,
                          RegressorTensors(checkpoint.config, checkpoint.weights),
                          *calibrated.formats);
}

std::string describe(const RegressorQuantization& how, const std::string& ranges) {
  std::string out = start_of(how);
  if (how.mode == Mode::fixed) {
    out += ", Q8.8";
  } else {
    out += how.mode == Mode::per_layer ? ", Qm.n per layer" : ", dynamic";
    out += ", " + ranges;
  }
  return out + ", " + layers_text(how);
}

std::string describe_stored(const RegressorQuantization& how) {
  return start_of(how) + ", scales as stored";
}

std::string describe_ranges(const Plan& plan) {
  const std::string policy = text_at(plan.meta, "policy");
  if (policy.empty()) return "ranges of a plan";
  const Json* headroom = plan.meta.find("headroom");
  const double factor = headroom != nullptr && headroom->is_number() ? headroom->as_double("") : 1;
  return fmt::format("{} x {}", policy, factor);
}

}  // namespace scute
