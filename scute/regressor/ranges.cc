#include "scute/regressor/ranges.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/decide/policy.h"
#include "scute/models/regressor/blocks.h"
#include "scute/models/regressor/regressor.h"

namespace scute {
namespace {

using Mode = RegressorQuantization::Mode;
using Variant = RegressorConfig::Variant;

constexpr std::array kMethods{std::pair{std::string_view("maxabs"), RegressorMethod::maxabs},
                              std::pair{std::string_view("p99"), RegressorMethod::p99},
                              std::pair{std::string_view("mse"), RegressorMethod::mse}};

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

/// Decides grids; one for each question, so that both kinds of quantization ask the same.
class Ranges {
 public:
  Ranges(const RegressorConfig& config, const RegressorQuantization& how,
         const RegressorStatistics& statistics, const RegressorRangeOptions& options)
      : config_(config), how_(how), statistics_(statistics), options_(options) {
    if (how.mode == Mode::fixed && how.bits != 16) {
      fail("fixed88", "16 bits: its codes are Q8.8", fmt::format("{}", how.bits));
    }
  }

  bool fixed() const { return how_.mode == Mode::fixed; }
  const Statistic& statistic(const std::string& site) const {
    const auto found = statistics_.find(site);
    if (found == statistics_.end() || found->second.finite() == 0) {
      fail(site, "values seen during calibration", "none");
    }
    return found->second;
  }
  double magnitude(const std::string& site, int bits) const {
    const Statistic& seen = statistic(site);
    return margin(bits) * std::max(std::abs(double{seen.min}), std::abs(double{seen.max}));
  }
  /// 16-bit codes have room to spare: four times the headroom's margin, 2 instead of 1.25, costs
  /// them one bit of 16, and nothing seen in training so far was exceeded by a factor of 2.
  double margin(int bits) const {
    return bits == 16 ? 1 + 4 * (options_.headroom - 1) : options_.headroom;
  }

  /// The grid that keeps `magnitude` on each side.
  Grid grid(double magnitude, int bits) const {
    const GridSpec spec{bits, true};
    if (fixed()) return {spec, 0x1p-8F, 0};
    if (how_.mode == Mode::per_layer) return {spec, power_of_two(magnitude, spec.highest()), 0};
    return make_grid(-magnitude, magnitude, spec);
  }

  /// Of a layer's input, by the method asked for.
  Grid input(const std::string& site) const {
    if (fixed()) return grid(0, 16);
    if (options_.method == RegressorMethod::maxabs)
      return grid(magnitude(site, how_.bits), how_.bits);
    const bool p99 = options_.method == RegressorMethod::p99;
    const Decision decided = decide(Policy::parse(p99 ? "percentile:0.99" : "mse"), site,
                                    statistic(site), {how_.bits, true});
    const double kept = std::max(std::abs(decided.lo), std::abs(decided.hi));
    return grid(margin(how_.bits) * kept, how_.bits);
  }

  /// 16-bit values that are no layer's input.
  Grid value(const std::string& site) const {
    return fixed() ? grid(0, 16) : grid(magnitude(site, 16), 16);
  }

  /// Positions: where calibration has been is not where evaluation goes (parity_2100_K32 predicts
  /// positions beyond twice the largest of the train role), and what is cut here is lost. Another
  /// factor of 2: 4 at a headroom of 1.25, which makes a step of 0.15 mm of a range of 1.25 m.
  Grid output(const std::string& site) const {
    if (fixed()) return grid(0, 16);
    const double outer = 1 + 12 * (options_.headroom - 1);
    return grid(magnitude(site, 16) / margin(16) * outer, 16);
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
  const RegressorConfig& config_;
  const RegressorQuantization& how_;
  const RegressorStatistics& statistics_;
  const RegressorRangeOptions& options_;
};

double silu(double x) { return x / (1 + std::exp(-x)); }

template <class Tensors>
void add_block_formats(const Ranges& ranges, const std::string& block, const Tensors& tensors,
                       RegressorFormats& out) {
  const bool slim = ranges.config().variant == Variant::slim;
  const std::string dt = block + "ssm.dt_proj";
  const std::string u = slim ? dt + ":input" : block + "x_proj:input";
  // u after SiLU is all but u where it is large.
  const double most = ranges.fixed() ? 0 : ranges.magnitude(u, 16);
  out.values[block + "u_act:input"] = ranges.logit(most);
  out.values[block + "u_act:output"] = ranges.value(u);
  if (slim) out.values[dt + ":output"] = ranges.logit(0);
  if (ranges.config().gate) {
    const double z = ranges.fixed() ? 0 : ranges.magnitude(block + "z_act:input", 16);
    out.values[block + "z_act:input"] = ranges.logit(z);
    // SiLU is never below −0.2785.
    out.values[block + "z_act:output"] = ranges.grid(std::max(silu(z), 0.2785), 16);
  }
  const Tensor& convolution = tensors.convolution;
  if (convolution.size() == 0) return;
  const std::string name = block + (slim ? "dw_conv" : "conv1d");
  const Tensor kernel = convolution.reshaped({convolution.dim(0), convolution.dim(2)});
  out.layers[name] = ranges.layer(ranges.value(name + ":input"), kernel, tensors.convolution_bias);
}

/// Zero point and scale of the extension's 8-bit inputs: 0 … 255 over [lo, hi].
void make_asymmetric(const Statistic& seen, double headroom, LayerRounding& out) {
  const double lo = headroom * std::min(0.0, double{seen.min});
  const double hi = headroom * std::max(0.0, double{seen.max});
  const double scale = std::max((hi - lo) / 255, 1e-8);
  out.input = {static_cast<float>(scale)};
  out.input_zero = static_cast<float>(std::clamp(std::nearbyint(-lo / scale), 0.0, 255.0));
}

}  // namespace

RegressorMethod parse_regressor_method(std::string_view text) {
  const auto found = std::ranges::find(kMethods, text, &decltype(kMethods)::value_type::first);
  if (found == kMethods.end()) {
    fail("calibration method", "maxabs, p99 or mse", fmt::format("\"{}\"", text));
  }
  return found->second;
}

std::string_view name_of(RegressorMethod method) {
  return std::ranges::find(kMethods, method, &decltype(kMethods)::value_type::second)->first;
}

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
                                  const RegressorQuantization& how,
                                  const RegressorStatistics& statistics,
                                  const RegressorRangeOptions& options) {
  const Ranges ranges(config, how, statistics, options);
  const std::vector<std::string> chosen = rounded_layers(config, how);
  RegressorRounding out;
  for (const RegressorProduct& product : regressor_products(config, tensors)) {
    const std::string& name = product.layer;
    if (std::ranges::find(chosen, name) == chosen.end()) continue;
    LayerRounding layer{
        how.backend, ranges.bits(), {}, ranges.weights(product.weight, ranges.bits())};
    const std::string site = name + ":input";
    if (how.backend == RegressorBackend::extension && how.bits == 8 && name != "patch_embedding") {
      make_asymmetric(ranges.statistic(site), options.headroom, layer);
    } else {
      layer.input = {ranges.input(site).scale};
    }
    out.emplace(name, std::move(layer));
  }
  return out;
}

RegressorFormats decide_formats(const RegressorConfig& config, const RegressorTensors& tensors,
                                const RegressorQuantization& how,
                                const RegressorStatistics& statistics,
                                const RegressorRangeOptions& options) {
  const Ranges ranges(config, how, statistics, options);
  RegressorFormats out;
  for (const RegressorProduct& product : regressor_products(config, tensors)) {
    out.layers[product.layer] =
        ranges.layer(ranges.input(product.layer + ":input"), product.weight, product.bias);
  }
  double residual = 0;
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string block = fmt::format("blocks.{}.", i);
    std::visit([&](const auto& b) { add_block_formats(ranges, block, b, out); },
               tensors.blocks[static_cast<size_t>(i)]);
    if (!ranges.fixed()) residual = std::max(residual, ranges.magnitude(block + "norm:input", 16));
  }
  if (!ranges.fixed()) residual = std::max(residual, ranges.magnitude("norm_f:input", 16));
  out.values["norm_f:input"] = ranges.grid(residual, 16);
  if (config.pool != RegressorConfig::Pool::flat) {
    // |x_c| ≤ √D · rms(x), so the norm's outputs are within √D · |g|.
    const Tensor g = tensors.norm_f.to_f32();
    const double root = std::sqrt(static_cast<double>(config.width));
    out.values["norm_f:output"] = ranges.grid(root * largest(g.values<float>()), 16);
  }
  out.values["head:output"] = ranges.output("head:output");
  return out;
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
