#include "scute/models/regressor/tensors.h"

#include <fmt/format.h>

namespace scute {
namespace {

enum class Bias { absent, present };

/// The kernel-size dimension of 1 × 1 convolutions is dropped. A tensor that was not found is empty
/// until finish() throws.
RegressorLayerTensors pointwise(WeightReader& reader, const std::string& name, int64_t outputs,
                                int64_t inputs, Bias bias) {
  RegressorLayerTensors out{reader.take(name + ".weight", {outputs, inputs, 1}), {}};
  if (out.weight.size() > 0) out.weight = out.weight.reshaped({outputs, inputs});
  if (bias == Bias::present) out.bias = reader.take(name + ".bias", {outputs});
  return out;
}

RegressorLayerTensors convolution(WeightReader& reader, const std::string& name, Shape shape) {
  const int64_t outputs = shape.front();
  return {reader.take(name + ".weight", shape), reader.take(name + ".bias", {outputs})};
}

SlimBlockTensors slim_block(WeightReader& reader, const std::string& name,
                            const RegressorConfig& c) {
  const int64_t D = c.width, I = c.inner();
  SlimBlockTensors out;
  out.norm = reader.take(name + "norm.weight", {D});
  out.in_proj = pointwise(reader, name + "in_proj", 2 * I, D, Bias::absent);
  out.dt_proj = pointwise(reader, name + "ssm.dt_proj", I, I, Bias::present);
  out.out_proj = pointwise(reader, name + "out_proj", D, I, Bias::absent);
  if (c.convolution) {
    out.convolution = reader.take(name + "dw_conv.weight", {I, 1, c.taps()});
    out.convolution_bias = reader.take(name + "dw_conv.bias", {I});
  }
  return out;
}

OriginBlockTensors origin_block(WeightReader& reader, const std::string& name,
                                const RegressorConfig& c) {
  const int64_t D = c.width, I = c.inner(), N = RegressorConfig::state, R = c.dt_rank();
  OriginBlockTensors out;
  out.norm = reader.take(name + "norm.weight", {D});
  out.in_proj = pointwise(reader, name + "in_proj", 2 * I, D, Bias::absent);
  out.x_proj.weight = reader.take(name + "x_proj.weight", {R + 2 * N, I});
  out.dt_proj.weight = reader.take(name + "dt_proj.weight", {I, R});
  out.dt_proj.bias = reader.take(name + "dt_proj.bias", {I});
  out.out_proj = pointwise(reader, name + "out_proj", D, I, Bias::absent);
  out.convolution = reader.take(name + "conv1d.weight", {I, 1, c.taps()});
  out.convolution_bias = reader.take(name + "conv1d.bias", {I});
  out.A_log = reader.take(name + "A_log", {I, N});
  out.D = reader.take(name + "D", {I});
  return out;
}

}  // namespace

RegressorTensors::RegressorTensors(const RegressorTensors&) = default;
RegressorTensors::RegressorTensors(RegressorTensors&&) noexcept = default;
RegressorTensors& RegressorTensors::operator=(const RegressorTensors&) = default;
RegressorTensors& RegressorTensors::operator=(RegressorTensors&&) noexcept = default;
RegressorTensors::~RegressorTensors() = default;

RegressorTensors::RegressorTensors(const RegressorConfig& config, Weights weights) {
  config.check(weights.source());
  const int64_t C = config.projected, D = config.width;
  WeightReader reader(weights);
  proj = pointwise(reader, "proj", C, config.features, Bias::present);
  patch_embedding = convolution(reader, "backbone.patch_embedding", {D, C, config.patch});
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string name = fmt::format("backbone.blocks.{}.", i);
    if (config.variant == RegressorConfig::Variant::slim) {
      blocks.emplace_back(slim_block(reader, name, config));
    } else {
      blocks.emplace_back(origin_block(reader, name, config));
    }
  }
  norm_f = reader.take("backbone.norm_f.weight", {D});
  flat = convolution(reader, "backbone.output_layer_flat", {C, D, config.patches()});
  pool = pointwise(reader, "backbone.output_layer_pool", C, D, Bias::present);
  head = pointwise(reader, "head", RegressorConfig::outputs, C, Bias::present);
  reader.finish();
}

}  // namespace scute
