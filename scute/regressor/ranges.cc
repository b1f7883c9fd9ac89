#include "scute/regressor/ranges.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "scute/base/error.h"
#include "scute/base/portable_math.h"
#include "scute/models/regressor/blocks.h"
#include "scute/models/regressor/regressor.h"

namespace scute {
namespace {

using Mode = RegressorQuantization::Mode;
using Variant = RegressorConfig::Variant;

/// The smallest power of two that leaves `magnitude` within `most` codes.
float power_of_two(double magnitude, int32_t most) {
  if (!(magnitude > 0)) return 1.0F / static_cast<float>(most + 1);
  int exponent = 0;
  const double mantissa = std::frexp(magnitude / most, &exponent);
  return static_cast<float>(std::ldexp(1.0, mantissa == 0.5 ? exponent - 1 : exponent));
}

float largest(std::span<const float> values) {
  float out = 0;
  for (const float x : values) out = std::max(out, std::abs(x));
  return out;
}

/// Grids from the plan's ranges; one for each question, so that both kinds of quantization ask the
/// same.
class FormatRules {
 public:
  FormatRules(const RegressorConfig& config, const RegressorQuantization& how, ModelRanges& ranges)
      : config_(config), how_(how), ranges_(ranges) {
    if (how.mode == Mode::fixed && how.bits != 16) {
      fail("fixed88", "16 bits: its codes are Q8.8", fmt::format("{}", how.bits));
    }
  }

  bool fixed() const { return how_.mode == Mode::fixed; }
  /// The range of a layer's input, checked; null, and noted, where the plan has none that fits.
  const Decision* input_range(const std::string& site, bool symmetric = true) const {
    const std::string reason =
        fmt::format("the inputs of layers are to have {0}{1} (scute decide --bits {0})", how_.bits,
                    symmetric ? ", symmetric," : "");
    return range(site, {how_.bits, symmetric, reason, {}});
  }
  /// Of a value that is no layer's input.
  double magnitude(const std::string& site) const {
    const Decision* found =
        range(site, {16, true, "values between layers have 16 (\"bits\": 16 in the plan)", {}});
    return found == nullptr ? 1 : magnitude_of(*found);
  }
  /// Of a value that is a layer's input too: what was measured there, with a value's margin.
  double measured(const std::string& site) const {
    const Decision* found = input_range(site);
    if (found == nullptr) return 1;
    return value_margin(*found) * std::max(std::abs(found->before_lo), std::abs(found->before_hi));
  }

  /// The grid that keeps `magnitude` on each side.
  Grid grid(double magnitude, int bits) const {
    const GridSpec spec{bits, true};
    if (fixed()) return {spec, 0x1p-8F, 0};
    if (how_.mode == Mode::per_layer) return {spec, power_of_two(magnitude, spec.highest()), 0};
    return make_grid(-magnitude, magnitude, spec);
  }

  Grid input(const std::string& site) const {
    if (fixed()) return grid(0, 16);
    const Decision* found = input_range(site);
    return grid(found == nullptr ? 1 : magnitude_of(*found), how_.bits);
  }

  /// 16-bit values that are no layer's input.
  Grid value(const std::string& site) const {
    return fixed() ? grid(0, 16) : grid(magnitude(site), 16);
  }

  /// What goes into a sigmoid, −8 … `highest` at least: below −8 x·σ(x) is all but 0, and σ's table
  /// ends there.
  Grid logit(double highest) const {
    const float scale = power_of_two(std::max(8.0, highest), 1 << 15);
    return {{16, true}, fixed() ? 0x1p-8F : std::clamp(scale, 0x1p-14F, 1.0F), 0};
  }

  /// Scales of a matrix: one per output, or one for all.
  std::vector<float> weights(const Tensor& weight, int bits) const {
    if (fixed()) return {0x1p-8F};
    const Tensor floats = weight.to_f32();
    if (how_.mode == Mode::per_layer) {
      return {power_of_two(largest(floats.values<float>()), GridSpec{bits, true}.highest())};
    }
    const auto rows = floats.matrix<float>();
    std::vector<float> out;
    for (int64_t o = 0; o < rows.rows; ++o) {
      const double most = largest({rows.row(o), static_cast<size_t>(rows.cols)});
      out.push_back(make_grid(-most, most, {bits, true}).scale);
    }
    return out;
  }

  /// Formats of a product in integers. Power-of-two biases have as many fractional bits as 16 bits
  /// and the sums allow.
  RegressorFormats::Layer layer(const Grid& input, const Tensor& weight, const Tensor& bias) const {
    RegressorFormats::Layer out{input, weights(weight, input.spec.bits)};
    if (fixed()) out.bias = 0x1p-8F;
    if (how_.mode == Mode::per_layer && bias.size() > 0) {
      const Tensor floats = bias.to_f32();
      const float most = power_of_two(largest(floats.values<float>()), 32767);
      out.bias = std::max(most, input.scale * out.weight[0]);
    }
    return out;
  }

  const RegressorConfig& config() const { return config_; }
  int bits() const { return how_.bits; }

 private:
  const Decision* range(const std::string& site, const RangeNeed& need) const {
    const Decision* found = ranges_.planned(site);
    if (found == nullptr) {
      ranges_.note("missing " + site);
      return nullptr;
    }
    if (!ranges_.magnitude(site, *found, need)) return nullptr;
    ranges_.use(site, *found);
    return found;
  }

  const RegressorConfig& config_;
  const RegressorQuantization& how_;
  ModelRanges& ranges_;
};

double silu(double x) { return x / (1 + portable::exp(-x)); }

template <class Tensors>
void add_block_formats(const FormatRules& rules, const std::string& block, const Tensors& tensors,
                       RegressorFormats& out) {
  const bool slim = rules.config().variant == Variant::slim;
  const std::string dt = block + "ssm.dt_proj";
  const std::string u = slim ? dt + ":input" : block + "x_proj:input";
  // u after SiLU is all but u where it is large.
  const double most = rules.fixed() ? 0 : rules.measured(u);
  out.values[block + "u_act:input"] = rules.logit(most);
  out.values[block + "u_act:output"] = rules.grid(most, 16);
  if (slim) out.values[dt + ":output"] = rules.logit(0);
  if (rules.config().gate) {
    const double z = rules.fixed() ? 0 : rules.magnitude(block + "z_act:input");
    out.values[block + "z_act:input"] = rules.logit(z);
    // SiLU is never below −0.2785.
    out.values[block + "z_act:output"] = rules.grid(std::max(silu(z), 0.2785), 16);
  }
  const Tensor& convolution = tensors.convolution;
  if (convolution.size() == 0) return;
  const std::string name = block + (slim ? "dw_conv" : "conv1d");
  const Tensor kernel = convolution.reshaped({convolution.dim(0), convolution.dim(2)});
  out.layers[name] = rules.layer(rules.value(name + ":input"), kernel, tensors.convolution_bias);
}

/// Zero point and scale of the extension's 8-bit inputs: 0 … 255 over [lo, hi].
void make_asymmetric(const Decision& kept, LayerRounding& out) {
  const double lo = std::min(0.0, kept.lo), hi = std::max(0.0, kept.hi);
  const double scale = std::max((hi - lo) / 255, 1e-8);
  out.input = {static_cast<float>(scale)};
  out.input_zero = static_cast<float>(std::clamp(std::nearbyint(-lo / scale), 0.0, 255.0));
}

constexpr std::string_view kEverySite = "a range for every site that this quantization rounds";
constexpr size_t kAll = std::numeric_limits<size_t>::max();

/// A plan decided from statistics, ready to be asked.
ModelRanges decided(const RegressorConfig& config, const RegressorQuantization& how,
                    const RegressorStatistics& statistics, const RegressorRangeOptions& options) {
  Plan plan;
  if (how.mode != Mode::fixed) plan = decide_regressor(statistics, how, options);
  return {"the network", RegressorSites(config).list, plan};
}

}  // namespace

std::vector<std::string> rounded_layers(const RegressorConfig& config,
                                        const RegressorQuantization& how) {
  const bool every = how.all && how.backend == RegressorBackend::integer;
  std::vector<std::string> out;
  if (how.all || how.proj) out.push_back("proj");
  if (how.all || how.backbone_linear) out.push_back("patch_embedding");
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string block = fmt::format("blocks.{}.", i);
    if (how.all || how.block_linear) out.push_back(block + "in_proj");
    if (every && config.variant == Variant::slim) out.push_back(block + "ssm.dt_proj");
    if (every && config.variant == Variant::origin) {
      out.push_back(block + "x_proj");
      out.push_back(block + "dt_proj");
    }
    if (how.all || how.block_linear) out.push_back(block + "out_proj");
  }
  const bool pooled = config.pool != RegressorConfig::Pool::flat;
  if (every || (pooled && (how.all || how.backbone_linear))) out.push_back("output_layer");
  if (how.all || how.head) out.push_back("head");
  return out;
}

RegressorRounding decide_rounding(const RegressorConfig& config, const RegressorTensors& tensors,
                                  const RegressorQuantization& how, ModelRanges& ranges) {
  const FormatRules rules(config, how, ranges);
  const std::vector<std::string> chosen = rounded_layers(config, how);
  RegressorRounding out;
  for (const RegressorProduct& product : regressor_products(config, tensors)) {
    const std::string& name = product.layer;
    if (std::ranges::find(chosen, name) == chosen.end()) continue;
    LayerRounding layer{how.backend, rules.bits(), {}, rules.weights(product.weight, rules.bits())};
    const std::string site = name + ":input";
    if (how.backend == RegressorBackend::extension && how.bits == 8 && name != "patch_embedding") {
      const Decision* kept = rules.input_range(site, false);
      if (kept != nullptr) make_asymmetric(*kept, layer);
    } else {
      layer.input = {rules.input(site).scale};
    }
    out.emplace(name, std::move(layer));
  }
  ranges.finish(kEverySite, kAll);
  return out;
}

RegressorFormats decide_formats(const RegressorConfig& config, const RegressorTensors& tensors,
                                const RegressorQuantization& how, ModelRanges& ranges) {
  const FormatRules rules(config, how, ranges);
  RegressorFormats out;
  for (const RegressorProduct& product : regressor_products(config, tensors)) {
    out.layers[product.layer] =
        rules.layer(rules.input(product.layer + ":input"), product.weight, product.bias);
  }
  double residual = 0;
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string block = fmt::format("blocks.{}.", i);
    std::visit([&](const auto& b) { add_block_formats(rules, block, b, out); },
               tensors.blocks[static_cast<size_t>(i)]);
    if (!rules.fixed()) residual = std::max(residual, rules.magnitude(block + "norm:input"));
  }
  if (!rules.fixed()) residual = std::max(residual, rules.magnitude("norm_f:input"));
  out.values["norm_f:input"] = rules.grid(residual, 16);
  if (config.pool != RegressorConfig::Pool::flat) {
    // |x_c| ≤ √D · rms(x), so the norm's outputs are within √D · |g|.
    const Tensor g = tensors.norm_f.to_f32();
    const double root = std::sqrt(static_cast<double>(config.width));
    out.values["norm_f:output"] = rules.grid(root * largest(g.values<float>()), 16);
  }
  out.values["head:output"] = rules.value("head:output");
  ranges.finish(kEverySite, kAll);
  return out;
}

RegressorRounding decide_rounding(const RegressorConfig& config, const RegressorTensors& tensors,
                                  const RegressorQuantization& how,
                                  const RegressorStatistics& statistics,
                                  const RegressorRangeOptions& options) {
  ModelRanges ranges = decided(config, how, statistics, options);
  return decide_rounding(config, tensors, how, ranges);
}

RegressorFormats decide_formats(const RegressorConfig& config, const RegressorTensors& tensors,
                                const RegressorQuantization& how,
                                const RegressorStatistics& statistics,
                                const RegressorRangeOptions& options) {
  ModelRanges ranges = decided(config, how, statistics, options);
  return decide_formats(config, tensors, how, ranges);
}

RegressorRounding stored_rounding(const RegressorCheckpoint& checkpoint,
                                  std::optional<RegressorBackend> backend) {
  RegressorRounding out;
  for (const RegressorScales& scales : checkpoint.scales) {
    // The pooled layer is stored, and its scales with it, also where the flat one is used.
    const bool pool = scales.layer == "output_layer_pool";
    if (pool && checkpoint.config.pool == RegressorConfig::Pool::flat) continue;
    const bool codes = checkpoint.quantization.backend == RegressorBackend::integer;
    const RegressorBackend stored = codes ? RegressorBackend::integer : scales.backend;
    LayerRounding layer{backend.value_or(stored), checkpoint.quantization.bits, scales.input,
                        scales.weight, scales.input_zero.value_or(0)};
    if (layer.backend == RegressorBackend::integer) {
      const auto [least, most] = std::ranges::minmax(layer.input);
      if (least != most) {
        fail(fmt::format("{}: {}", checkpoint.path, scales.layer),
             "one input scale for all channels, as integer products need (or --quant-bits, to "
             "calibrate anew)",
             fmt::format("{} … {}", least, most));
      }
      layer.input = {most};
    }
    out.emplace(pool ? "output_layer" : scales.layer, std::move(layer));
  }
  return out;
}

}  // namespace scute
