#include "scute/regressor/export/steps.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>

#include "scute/base/error.h"

namespace scute {
namespace {

using Layer = RegressorFormats::Layer;

/// The one shift of factors[first … first + count).
int common_shift(const std::vector<double>& factors, size_t first, size_t count,
                 std::string_view name) {
  for (size_t i = first; i < first + count; ++i) {
    if (factors[i] == factors[first]) continue;
    fail(name, "one scale for all weights of a layer (quantize with --per-layer or --q8.8)",
         "scales that differ between outputs");
  }
  return shift_of(factors[first], name);
}

/// Whole numbers of sums as codes of the stored format, 2^shift sums each.
std::vector<int16_t> bias_codes(const std::vector<double>& whole, int shift) {
  std::vector<int16_t> out;
  for (const double bias : whole) out.push_back(static_cast<int16_t>(std::ldexp(bias, -shift)));
  return out;
}

/// How far codes of the biases are above the sums; Error when the biases have no format of theirs.
int bias_shift(const Layer& layer, const ShiftFormat& input, const ShiftFormat& weights,
               std::string_view name) {
  if (layer.bias == 0) {
    fail(name, "biases of 16 bits with a power of two as their scale", "whole numbers of sums");
  }
  const ShiftFormat biases = shift_format({{16, true}, layer.bias, 0}, name);
  return input.fraction + weights.fraction - biases.fraction;
}

/// Sign and bits of the largest sum that any codes of the input can give. Each step of the
/// accumulation is within it too when the bias comes last.
int sum_bits(const ShiftProduct& product) {
  const auto rows = product.weight.matrix<int16_t>();
  uint64_t most = 0;
  for (int64_t o = 0; o < rows.rows; ++o) {
    uint64_t sum = 0;
    for (int64_t k = 0; k < rows.cols; ++k) {
      sum += static_cast<uint64_t>(std::abs(int{rows.row(o)[k]})) << (product.input.bits - 1);
    }
    if (!product.bias.empty()) {
      const int bias = std::abs(int{product.bias[static_cast<size_t>(o)]});
      sum += static_cast<uint64_t>(bias) << product.bias_shift;
    }
    most = std::max(most, sum);
  }
  return static_cast<int>(std::bit_width(most)) + 1;
}

ShiftProduct product_of(const IntegerProduct& product, const Layer& layer, std::string name,
                        std::vector<ShiftFormat> outputs) {
  ShiftProduct out;
  out.weight = product.matrix().codes();
  out.input = shift_format(layer.input, name);
  const int bits = product.matrix().bits();
  out.weights = shift_format({{bits, true}, product.matrix().scales()[0], 0}, name);
  const size_t part = product.factor().size() / outputs.size();
  for (size_t i = 0; i < outputs.size(); ++i) {
    out.shifts.push_back(common_shift(product.factor(), i * part, part, name));
  }
  bool biased = false;
  for (const double bias : product.bias()) biased |= bias != 0;
  if (biased) {
    out.bias_shift = bias_shift(layer, out.input, out.weights, name);
    out.biases = {16, out.input.fraction + out.weights.fraction - out.bias_shift};
    out.bias = bias_codes(product.bias(), out.bias_shift);
  }
  out.outputs = std::move(outputs);
  out.name = std::move(name);
  out.sum_bits = sum_bits(out);
  return out;
}

ShiftConvolution convolution_of(const IntegerConvolution& convolution, const Layer& layer,
                                std::string name, ShiftFormat output) {
  ShiftConvolution out;
  out.weight = convolution.weight;
  out.taps = convolution.taps;
  out.before = convolution.before;
  out.input = shift_format(layer.input, name);
  out.weights = shift_format({{16, true}, layer.weight[0], 0}, name);
  out.shift = common_shift(convolution.factor, 0, convolution.factor.size(), name);
  out.bias_shift = bias_shift(layer, out.input, out.weights, name);
  out.biases = {16, out.input.fraction + out.weights.fraction - out.bias_shift};
  out.bias = bias_codes(convolution.bias, out.bias_shift);
  out.output = output;
  out.name = std::move(name);
  return out;
}

ShiftSilu silu_of(const IntegerSilu& silu) {
  return {shift_format(silu.logit.grid, silu.logit.site.name),
          shift_format(silu.value.grid, silu.value.site.name),
          shift_of(silu.factor, silu.value.site.name)};
}

ShiftNorm norm_of(const IntegerNorm& norm, std::string name, ShiftFormat input,
                  ShiftFormat output) {
  return {std::move(name), norm.gain(), norm.epsilon(), input, output};
}

ShiftBlock block_of(const IntegerSlimBlock& block, const RegressorFormats& formats,
                    std::string name, ShiftFormat residual) {
  const IntegerBlockInputs& inputs = block.inputs();
  ShiftBlock out;
  const Layer& in_proj = formats.layer(name + "in_proj");
  out.u = silu_of(inputs.u());
  ShiftFormat before = out.u.input;
  if (inputs.convolution().taps > 0) {
    const std::string conv = name + "dw_conv";
    out.convolution = convolution_of(inputs.convolution(), formats.layer(conv), conv, out.u.input);
    before = out.convolution.input;
  }
  if (inputs.gate()) out.z = silu_of(inputs.z());
  out.in_proj = product_of(inputs.in_proj(), in_proj, name + "in_proj",
                           {before, inputs.gate() ? out.z.input : before});
  out.norm = norm_of(inputs.norm(), name + "norm", residual, out.in_proj.input);
  const std::string dt = name + "ssm.dt_proj", out_proj = name + "out_proj";
  out.dt_proj = product_of(block.dt_proj(), formats.layer(dt), dt,
                           {shift_format(block.leak().grid, block.leak().site.name)});
  out.out_proj = product_of(block.out_proj(), formats.layer(out_proj), out_proj, {residual});
  out.dt_shift = shift_of(block.dt_factor(), dt);
  out.out_shift = shift_of(block.out_factor(), out_proj);
  out.name = std::move(name);
  return out;
}

bool is_power_of_two(double factor) {
  int exponent = 0;
  return factor > 0 && std::frexp(factor, &exponent) == 0.5;
}

const IntegerSlimBlock& slim(const IntegerBlock& block) {
  if (const auto* found = std::get_if<IntegerSlimBlock>(&block)) return *found;
  fail("blocks", "those of a slim model, which integers alone compute",
       "an origin model's, whose scan needs floats");
}

}  // namespace

int shift_of(double factor, std::string_view name) {
  if (!is_power_of_two(factor)) {
    fail(name, "a factor that is a power of two, so that it is a shift", fmt::format("{}", factor));
  }
  return -std::ilogb(factor);
}

ShiftFormat shift_format(const Grid& grid, std::string_view name) {
  return {grid.spec.bits, shift_of(static_cast<double>(grid.scale), name)};
}

bool all_powers_of_two(const RegressorFormats& formats) {
  const auto fits = [](float scale) { return is_power_of_two(double{scale}); };
  for (const auto& [name, layer] : formats.layers) {
    if (!fits(layer.input.scale) || layer.weight.empty() || !fits(layer.weight[0])) return false;
    if (std::ranges::count(layer.weight, layer.weight[0]) != std::ssize(layer.weight)) return false;
  }
  return std::ranges::all_of(formats.values,
                             [&](const auto& value) { return fits(value.second.scale); });
}

ShiftRegressor as_shifts(const IntegerRegressor& model) {
  const RegressorFormats& formats = model.formats();
  const auto input = [&](const char* layer) {
    return shift_format(formats.layer(layer).input, layer);
  };
  ShiftRegressor out;
  out.config = model.config();
  out.position_table = model.position_table();
  out.residual = shift_format(formats.value("norm_f:input"), "norm_f:input");
  out.position = shift_format(model.position_grid(), "head:output");
  for (size_t i = 0; i < model.blocks().size(); ++i) {
    out.blocks.push_back(
        block_of(slim(model.blocks()[i]), formats, fmt::format("blocks.{}.", i), out.residual));
  }
  out.proj = product_of(model.proj(), formats.layer("proj"), "proj", {input("patch_embedding")});
  out.patch_embedding = product_of(model.patch_embedding(), formats.layer("patch_embedding"),
                                   "patch_embedding", {out.residual});
  out.output_layer = product_of(model.output_layer(), formats.layer("output_layer"), "output_layer",
                                {input("head")});
  out.head = product_of(model.head(), formats.layer("head"), "head", {out.position});
  ShiftFormat normed = out.output_layer.input;
  if (out.config.pool != RegressorConfig::Pool::flat) {
    normed = shift_format(formats.value("norm_f:output"), "norm_f:output");
    const double patches = out.config.pool == RegressorConfig::Pool::average
                               ? static_cast<double>(out.config.patches())
                               : 1.0;
    const int fraction = normed.fraction - out.output_layer.input.fraction;
    out.pool_shift = shift_of(std::ldexp(1.0, -fraction) / patches, "pooling");
  }
  out.norm_f = norm_of(model.norm_f(), "norm_f", out.residual, normed);
  return out;
}

ShiftFormat format_of_site(const ShiftRegressor& model, std::string_view site) {
  const auto is = [&](std::string_view prefix, std::string_view name) {
    return site.starts_with(prefix) && site.substr(prefix.size()) == name;
  };
  for (const ShiftBlock& block : model.blocks) {
    if (is(block.name, "norm:input")) return block.norm.input;
    if (is(block.name, "in_proj:input")) return block.in_proj.input;
    if (is(block.name, "dw_conv:input")) return block.convolution.input;
    if (is(block.name, "u_act:input")) return block.u.input;
    if (is(block.name, "u_act:output")) return block.u.output;
    if (is(block.name, "z_act:input")) return block.z.input;
    if (is(block.name, "z_act:output")) return block.z.output;
    if (is(block.name, "ssm.dt_proj:input")) return block.dt_proj.input;
    if (is(block.name, "ssm.dt_proj:output")) return block.dt_proj.outputs[0];
    if (is(block.name, "ssm:output")) return block.u.output;
    if (is(block.name, "out_proj:input")) return block.out_proj.input;
  }
  for (const ShiftProduct* product :
       {&model.proj, &model.patch_embedding, &model.output_layer, &model.head}) {
    if (is(product->name, ":input")) return product->input;
  }
  if (site == "norm_f:input") return model.residual;
  if (site == "norm_f:output") return model.norm_f.output;
  if (site == "head:output") return model.position;
  fail(site, "a site of a slim regressor in integers", "another");
}

}  // namespace scute
