// For tests: small regressors with random weights, and number formats for them.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/models/regressor/predict.h"

namespace scute::testing_regressors {

inline RegressorConfig small(RegressorConfig::Variant variant) {
  RegressorConfig c;
  c.variant = variant;
  c.features = 19;
  c.window = 8;
  c.projected = 5;
  c.width = 18;
  c.layers = 2;
  c.patch = 3;
  c.stride = 2;  // 3 patches; the last frame fills none
  c.convolution = variant == RegressorConfig::Variant::slim;
  return c;
}

/// Random tensors of the right shapes and names.
inline Weights random_weights(const RegressorConfig& c) {
  Weights weights("model.pt");
  Random random(5);
  const auto add = [&](const std::string& name, Shape shape, double scale = 0.3, double mean = 0) {
    Tensor t(DType::f32, std::move(shape));
    for (float& x : t.mutable_values<float>()) {
      x = static_cast<float>(mean + scale * random.normal());
    }
    weights.add(name, std::move(t));
  };
  const auto linear = [&](const std::string& name, Shape shape) {
    add(name + ".bias", {shape[0]});
    add(name + ".weight", std::move(shape));
  };
  const int64_t C = c.projected, D = c.width, I = c.inner();
  linear("proj", {C, c.features, 1});
  linear("backbone.patch_embedding", {D, C, c.patch});
  for (int64_t i = 0; i < c.layers; ++i) {
    const std::string block = fmt::format("backbone.blocks.{}.", i);
    add(block + "norm.weight", {D}, 0.1, 1);
    add(block + "in_proj.weight", {2 * I, D, 1});
    add(block + "out_proj.weight", {D, I, 1});
    if (c.variant == RegressorConfig::Variant::origin) {
      add(block + "A_log", {I, 16});
      add(block + "D", {I});
      linear(block + "conv1d", {I, 1, 4});
      add(block + "x_proj.weight", {c.dt_rank() + 32, I});
      linear(block + "dt_proj", {I, c.dt_rank()});
    } else {
      linear(block + "ssm.dt_proj", {I, I, 1});
      if (c.convolution) linear(block + "dw_conv", {I, 1, 5});
    }
  }
  add("backbone.norm_f.weight", {D}, 0.1, 1);
  linear("backbone.output_layer_flat", {C, D, c.patches()});
  linear("backbone.output_layer_pool", {C, D, 1});
  linear("head", {2, C, 1});
  return weights;
}

inline RegressorTensors tensors_of(const RegressorConfig& config) {
  return {config, random_weights(config)};
}

inline Tensor random_floats(Shape shape, uint64_t seed) {
  Tensor out(DType::f32, std::move(shape));
  Random random(seed);
  for (float& x : out.mutable_values<float>()) x = static_cast<float>(random.normal());
  return out;
}

/// Windows that share nothing: (B, K, Din) floats to B × 2.
template <class Model>
Tensor predict_windows(const Model& model, const Tensor& windows, const Threads& threads) {
  std::vector<int64_t> ends;
  for (int64_t b = 1; b <= windows.dim(0); ++b) ends.push_back(b * windows.dim(1));
  const MatView<const float> frames(windows.values<float>().data(), windows.dim(0) * windows.dim(1),
                                    windows.dim(2));
  return predict(model, frames, ends, threads);
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::ranges::equal(a.bytes(), b.bytes());
}

inline std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// fixed: 1/256 everywhere; powers: Qm.n; dynamic: any scale, weights with one per output.
enum class FormatKind { fixed, powers, dynamic };

/// Formats that keep most values of a small random model: normal weights of deviation 0.3, inputs
/// of deviation 1, values of some units in between; a few saturate, which tests want as well.
inline RegressorFormats formats_of(const RegressorConfig& c, FormatKind kind, int bits) {
  RegressorFormats out;
  Random random(9);
  const bool slim = c.variant == RegressorConfig::Variant::slim;
  // Scales at which `range` is the last code, more or less.
  const auto scale = [&](float range, int b) {
    const float power = range / static_cast<float>(1 << (b - 1));
    if (kind == FormatKind::fixed) return 0x1p-8F;
    return kind == FormatKind::powers ? power : power * static_cast<float>(1 + random.uniform());
  };
  const auto add_layer = [&](const std::string& name, int64_t outputs, float range, int b) {
    RegressorFormats::Layer layer{{{b, true}, scale(range, b), 0}, {scale(2, b)}, 0};
    if (kind == FormatKind::dynamic) {
      for (int64_t o = 1; o < outputs; ++o) layer.weight.push_back(scale(2, b));
    }
    if (kind == FormatKind::fixed) layer.bias = 0x1p-8F;
    if (kind == FormatKind::powers) {
      layer.bias = std::max(0x1p-14F, layer.input.scale * layer.weight[0]);
    }
    out.layers[name] = layer;
  };
  const auto add_value = [&](const std::string& name, float range) {
    out.values[name] = {{16, true}, scale(range, 16), 0};
  };
  const auto add_logit = [&](const std::string& name) {
    out.values[name] = {{16, true}, kind == FormatKind::fixed ? 0x1p-8F : 0x1p-11F, 0};
  };
  add_layer("proj", c.projected, 2, bits);
  add_layer("patch_embedding", c.width, 4, bits);
  for (int64_t i = 0; i < c.layers; ++i) {
    const std::string block = fmt::format("blocks.{}.", i);
    add_layer(block + "in_proj", 2 * c.inner(), 4, bits);
    if (slim && c.convolution) add_layer(block + "dw_conv", c.inner(), 8, 16);
    if (!slim) add_layer(block + "conv1d", c.inner(), 8, 16);
    if (slim) add_layer(block + "ssm.dt_proj", c.inner(), 4, bits);
    if (!slim) add_layer(block + "x_proj", c.dt_rank() + 32, 8, bits);
    if (!slim) add_layer(block + "dt_proj", c.inner(), 8, bits);
    add_layer(block + "out_proj", c.width, slim ? 4 : 64, bits);
    add_logit(block + "u_act:input");
    add_value(block + "u_act:output", 8);
    if (slim) add_logit(block + "ssm.dt_proj:output");
    if (c.gate) add_logit(block + "z_act:input");
    if (c.gate) add_value(block + "z_act:output", 8);
  }
  add_layer("output_layer", c.projected, 4, bits);
  add_layer("head", 2, 16, bits);
  add_value("norm_f:input", 16);
  if (c.pool != RegressorConfig::Pool::flat) add_value("norm_f:output", 8);
  add_value("head:output", 16);
  return out;
}

}  // namespace scute::testing_regressors
