// A small vision-language model with random weights, for tests.
#pragma once

#include <string>
#include <utility>

#include "scute/base/random.h"
#include "scute/models/vision/cobra.h"

namespace scute::test {

/// `scale` · standard normal + `offset`.
inline Tensor random_tensor(Shape shape, uint64_t seed, double scale = 1, double offset = 0) {
  Tensor out(DType::f32, std::move(shape));
  Random random(seed);
  for (float& x : out.mutable_values<float>()) {
    x = static_cast<float>(offset + scale * random.normal());
  }
  return out;
}

/// 4 × 4 patches of 3 pixels with 2 rows and columns left over, a class token and 2 registers.
inline VisionConfig small_dino() {
  VisionConfig c;
  c.bucket = "vision.dino";
  c.image = 14;
  c.patch = 3;
  c.width = 12;
  c.depth = 3;
  c.heads = 3;
  c.hidden = 20;
  c.classes = 1;
  c.registers = 2;
  c.layer_scale = true;
  return c;
}

inline VisionConfig small_siglip() {
  VisionConfig c;
  c.bucket = "vision.siglip";
  c.image = 8;
  c.patch = 2;
  c.width = 10;
  c.depth = 2;
  c.heads = 2;
  c.hidden = 17;
  return c;
}

inline Weights tower_weights(const VisionConfig& c, uint64_t seed = 1) {
  Weights out(c.bucket + ".safetensors");
  const auto add = [&](const std::string& name, Shape shape, double scale, double offset = 0) {
    out.add(name, random_tensor(std::move(shape), ++seed, scale, offset));
  };
  const int64_t D = c.width;
  add("patch_embed.proj.weight", {D, 3, c.patch, c.patch}, 0.3);
  add("patch_embed.proj.bias", {D}, 0.2);
  add("pos_embed", {1, c.patches(), D}, 0.5);
  if (c.classes > 0) add("cls_token", {1, c.classes, D}, 1);
  if (c.registers > 0) add("reg_token", {1, c.registers, D}, 1);
  for (int64_t i = 0; i < c.blocks(); ++i) {
    const std::string b = "blocks." + std::to_string(i) + ".";
    const auto affine = [&](const std::string& name, int64_t outputs, int64_t inputs) {
      add(b + name + ".weight", {outputs, inputs}, 0.4);
      add(b + name + ".bias", {outputs}, 0.2);
    };
    for (const char* norm : {"norm1", "norm2"}) {
      add(b + norm + ".weight", {D}, 0.2, 1);
      add(b + norm + ".bias", {D}, 0.2);
    }
    affine("attn.qkv", 3 * D, D);
    affine("attn.proj", D, D);
    affine("mlp.fc1", c.hidden, D);
    affine("mlp.fc2", D, c.hidden);
    if (c.layer_scale) {
      add(b + "ls1.gamma", {D}, 0.3, 0.5);
      add(b + "ls2.gamma", {D}, 0.3, 0.5);
    }
  }
  return out;
}

inline Weights projector_weights(const ProjectorConfig& c, uint64_t seed = 100) {
  Weights out("projector.pt");
  const auto affine = [&](const std::string& name, int64_t outputs, int64_t inputs) {
    out.add(name + ".weight", random_tensor({outputs, inputs}, ++seed, 0.3));
    out.add(name + ".bias", random_tensor({outputs}, ++seed, 0.2));
  };
  const int64_t V = c.vision, D = c.language;
  switch (c.kind) {
    case ProjectorKind::linear:
      affine("projector", D, V);
      break;
    case ProjectorKind::gelu_mlp:
      affine("projector.0", D, V);
      affine("projector.2", D, D);
      break;
    case ProjectorKind::fused_gelu_mlp:
      affine("projector.0", 4 * V, V);
      affine("projector.2", D, 4 * V);
      affine("projector.4", D, D);
      break;
    case ProjectorKind::fused_ldpnet:
      affine("projector.0", 4 * V, V);
      affine("projector.2", D, 4 * V);
      out.add("projector.4.peg.0.weight", random_tensor({D, 1, 3, 3}, ++seed, 0.3));
      out.add("projector.4.peg.0.bias", random_tensor({D}, ++seed, 0.2));
  }
  return out;
}

inline MambaConfig small_language() {
  MambaConfig c;
  c.layers = 2;
  c.width = 16;
  c.vocabulary = 20;
  c.inner = 32;
  c.state = 4;
  c.dt_rank = 2;
  return c;
}

inline Weights language_weights(const MambaConfig& c, uint64_t seed = 200) {
  Weights out("llm.pt");
  const auto add = [&](const std::string& name, Shape shape, double scale, double offset = 0) {
    out.add(name, random_tensor(std::move(shape), ++seed, scale, offset));
  };
  add("backbone.embedding.weight", {c.vocabulary, c.width}, 1);
  for (int64_t i = 0; i < c.layers; ++i) {
    const std::string layer = "backbone.layers." + std::to_string(i) + ".";
    const std::string mixer = layer + "mixer.";
    add(layer + "norm.weight", {c.width}, 0.1, 1);
    add(mixer + "in_proj.weight", {c.projected(), c.width}, 0.2);
    add(mixer + "conv1d.weight", {c.conv_channels(), 1, c.taps}, 0.4);
    add(mixer + "conv1d.bias", {c.conv_channels()}, 0.1);
    add(mixer + "x_proj.weight", {c.dt_rank + 2 * c.state, c.inner}, 0.2);
    add(mixer + "dt_proj.weight", {c.inner, c.dt_rank}, 0.2);
    add(mixer + "dt_proj.bias", {c.inner}, 0.2, -2);
    add(mixer + "A_log", {c.inner, c.state}, 0.3);
    add(mixer + "D", {c.inner}, 0.1, 1);
    add(mixer + "out_proj.weight", {c.width, c.inner}, 0.2);
  }
  add("backbone.norm_f.weight", {c.width}, 0.1, 1);
  return out;
}

inline CobraConfig small_cobra() {
  CobraConfig c;
  c.towers = {small_dino(), small_siglip()};
  c.language = small_language();
  return c;
}

inline CobraWeights cobra_weights(const CobraConfig& c) {
  CobraWeights out;
  for (size_t i = 0; i < c.towers.size(); ++i) {
    out.towers.push_back(tower_weights(c.towers[i], 1 + 1000 * i));
  }
  out.projector = projector_weights(c.projector_config());
  out.language = language_weights(c.language);
  return out;
}

/// A matrix as 8-bit codes with a scale an output, and the grid of its input.
inline void make_eight_bit(Weights& weights, const std::string& name, float input_scale) {
  const Tensor plain = weights.take(name + ".weight");
  const Tensor flat = plain.reshaped({plain.dim(0), plain.size() / plain.dim(0)});
  const QuantizedWeight codes = quantize_nearest(flat, WeightFormat{}, name);
  weights.add(name + ".weight", codes.codes);
  weights.add(name + ".weight_scale", codes.scales);
  weights.add(name + ".input_scale", Tensor::of<float>({1}, std::span(&input_scale, 1)));
}

/// Every matrix of a tower that way.
inline void make_eight_bit(Weights& weights, const VisionConfig& config, float input_scale) {
  make_eight_bit(weights, "patch_embed.proj", input_scale);
  for (int64_t i = 0; i < config.blocks(); ++i) {
    for (const char* name : {"attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"}) {
      make_eight_bit(weights, "blocks." + std::to_string(i) + "." + name, input_scale);
    }
  }
}

}  // namespace scute::test
