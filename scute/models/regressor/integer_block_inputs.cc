#include "scute/models/regressor/integer_block_inputs.h"

#include <fmt/format.h>

#include <cmath>

#include "scute/base/error.h"
#include "scute/models/regressor/blocks.h"
#include "scute/models/scale_tensors.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

/// The logit's scale must be a power of two: the sigmoid's table is entered with its fractional
/// bits (fraction_of refuses others). What leaves may have any scale.
IntegerSilu silu(const RegressorFormats& formats, const std::string& name, int64_t width,
                 SiteList& sites) {
  IntegerSilu out;
  out.logit = value_site(formats, name + ":input", width, sites);
  out.value = value_site(formats, name + ":output", width, sites);
  out.fraction = fraction_of(out.logit.grid, out.logit.site.name);
  // x·σ has the fraction of x and the table's 16 bits.
  out.factor = std::ldexp(1.0, -16 - out.fraction) / out.value.scale();
  return out;
}

}  // namespace

CodeSite value_site(const RegressorFormats& formats, const std::string& name, int64_t width,
                    SiteList& sites) {
  return {sites.add(name, {width}), formats.value(name)};
}

CodeSite input_site(const RegressorFormats& formats, const std::string& layer, int64_t width,
                    SiteList& sites) {
  return {sites.add(layer + ":input", {width}), formats.layer(layer).input};
}

IntegerConvolution::IntegerConvolution(const Tensor& kernel, const Tensor& biases,
                                       int64_t before_taps, const RegressorFormats::Layer& format,
                                       const Grid& output, std::string_view name)
    : taps(kernel.dim(2)), before(before_taps) {
  if (format.input.spec.bits != 16) {
    fail(name, "16 bits", fmt::format("{}", format.input.spec.bits));
  }
  // At most 5 taps: nothing is gained by fewer bits, and 16-bit weights lose nothing that counts.
  // One scale a channel at most, since a channel's sum is over its own taps alone.
  const int64_t channels = kernel.dim(0);
  const auto scales = spread_scales(format.weight, channels, name);
  const std::vector<float> values = to_vector(channels_last(kernel.reshaped({1, channels, taps})));
  for (size_t i = 0; i < values.size(); ++i) {
    const Grid grid{{16, true}, scales[i % scales.size()], 0};
    weight.push_back(static_cast<int16_t>(grid.code(values[i])));
  }
  const std::vector<float> offsets = to_vector(biases);
  for (size_t c = 0; c < scales.size(); ++c) {
    const double sum = static_cast<double>(format.input.scale) * static_cast<double>(scales[c]);
    // In double: the sum is an exact integer, this factor the only rounding on its way to a code.
    factor.push_back(sum / static_cast<double>(output.scale));
    bias.push_back(whole_bias(offsets[c], format.bias, sum, name));
  }
}

void IntegerSilu::operator()(Run& run, MatView<const int16_t> x, MatView<int16_t> y) const {
  logit.show(run, x);
  fixed_silu(x, fraction, factor, y);
  value.show(run, y);
}

template <class Tensors>
IntegerBlockInputs::IntegerBlockInputs(const Tensors& tensors, const RegressorConfig& config,
                                       const RegressorFormats& formats, const std::string& block,
                                       SiteList& sites)
    : gate_(config.gate) {
  const int64_t D = config.width, I = config.inner();
  const bool slim = config.variant == RegressorConfig::Variant::slim;
  const std::string in_proj = block + "in_proj", norm = block + "norm";
  const std::string conv = block + (slim ? "dw_conv" : "conv1d");
  // One format for the residual stream of all blocks, that of the last norm's input: blocks add to
  // it code by code, which needs no rounding when both have the same scale.
  residual_ = {sites.add(norm + ":input", {D}), formats.value("norm_f:input")};
  in_proj_site_ = input_site(formats, in_proj, D, sites);
  norm_ = IntegerNorm(to_vector(tensors.norm), residual_.grid, in_proj_site_.grid, norm);
  const bool convolves = tensors.convolution.size() > 0;
  if (convolves) convolution_site_ = input_site(formats, conv, I, sites);
  u_ = silu(formats, block + "u_act", I, sites);
  if (gate_) z_ = silu(formats, block + "z_act", I, sites);
  // in_proj rounds once, straight to the format of whoever reads each half.
  const Grid u = convolves ? convolution_site_.grid : u_.logit.grid;
  // Without a gate nobody looks at z: any format does.
  in_proj_ = IntegerProduct(tensors.in_proj.weight, {}, formats.layer(in_proj),
                            {u, gate_ ? z_.logit.grid : u}, in_proj);
  if (convolves) {
    // Slim sees the neighbours on both sides of a patch, origin is causal as Mamba is: the last tap
    // is the patch itself.
    const int64_t before = slim ? (config.taps() - 1) / 2 : config.taps() - 1;
    convolution_ = IntegerConvolution(tensors.convolution, tensors.convolution_bias, before,
                                      formats.layer(conv), u_.logit.grid, conv);
  }
}

template IntegerBlockInputs::IntegerBlockInputs(const SlimBlockTensors&, const RegressorConfig&,
                                                const RegressorFormats&, const std::string&,
                                                SiteList&);
template IntegerBlockInputs::IntegerBlockInputs(const OriginBlockTensors&, const RegressorConfig&,
                                                const RegressorFormats&, const std::string&,
                                                SiteList&);

void IntegerBlockInputs::operator()(Run& run, MatView<const int16_t> x, int64_t length,
                                    MatView<int16_t> uz, MatView<int16_t> u) const {
  const int64_t I = u.cols;
  const Arena::Scope scope(run.arena());
  const auto normed = run.codes<int16_t>(x.rows, x.cols);
  residual_.show(run, x);
  norm_(x, normed);
  in_proj_site_.show(run, normed);
  in_proj_(run, normed, uz);

  const auto before = uz.columns(0, I), z = uz.columns(I, I);
  if (gate_) z_(run, z, z);  // in place: its logits are not needed again
  // Without a convolution u goes from scratch to u; with one it is convolved there, then activated
  // in place: a convolution cannot be in place, its taps read what it has written.
  if (convolution_.taps == 0) return u_(run, before, u);
  convolution_site_.show(run, before);
  fixed_window_conv({convolution_.weight.data(), convolution_.factor.data(),
                     convolution_.bias.data(), convolution_.taps, convolution_.before},
                    before, length, u);
  u_(run, u, u);
}

int64_t IntegerBlockInputs::bytes() const {
  return in_proj_.bytes() + static_cast<int64_t>(norm_.gain().size() * sizeof(int64_t) +
                                                 convolution_.weight.size() * sizeof(int16_t) +
                                                 convolution_.factor.size() * 2 * sizeof(double));
}

}  // namespace scute
