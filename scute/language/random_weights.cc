// Random tensors for every part of a model.
#include <fmt/format.h>

#include <cmath>

#include "scute/base/portable_math.h"
#include "scute/base/random.h"
#include "scute/language/random_model.h"

namespace scute {
namespace {

/// Makes the tensors of one model, all from one random sequence.
class Maker {
 public:
  /// Without `filled` the tensors have shapes and no elements.
  Maker(const RandomTensorSink& sink, uint64_t seed, bool filled)
      : sink_(sink), random_(seed), filled_(filled) {}

  /// bf16, normal. A sum of 12 uniform values would do; 4 uniform 16-bit halves of one 64-bit draw,
  /// centred and scaled to variance 1, are ten times faster than Box-Muller and as good for timing.
  void matrix(const std::string& name, Shape shape, double deviation) {
    if (!filled_) return sink_(name, Tensor(DType::bf16, std::move(shape), nullptr, nullptr));
    Tensor out(DType::bf16, std::move(shape));
    // The variance of one uniform in [0, 1) is 1/12, of four 1/3.
    const double scale = deviation * std::sqrt(3.0) / 65536.0;
    for (bf16& x : out.mutable_values<bf16>()) {
      const uint64_t draw = random_.next();
      const int64_t sum = static_cast<int64_t>((draw & 0xffff) + ((draw >> 16) & 0xffff) +
                                               ((draw >> 32) & 0xffff) + (draw >> 48)) -
                          2 * 65535;
      x = to_bf16(static_cast<float>(scale * static_cast<double>(sum)));
    }
    sink_(name, std::move(out));
  }
  template <class F>
  void vector(const std::string& name, Shape shape, F value) {
    if (!filled_) return sink_(name, Tensor(DType::f32, std::move(shape), nullptr, nullptr));
    Tensor out(DType::f32, std::move(shape));
    int64_t i = 0;
    for (float& x : out.mutable_values<float>()) x = static_cast<float>(value(i++));
    sink_(name, std::move(out));
  }
  void ones(const std::string& name, int64_t size) {
    vector(name, {size}, [](int64_t) { return 1.0; });
  }
  double uniform() { return random_.uniform(); }

 private:
  const RandomTensorSink& sink_;
  Random random_;
  bool filled_;
};

/// The inverse softplus of a time step log-uniform in [0.001, 0.1], as Mamba draws dt's bias.
double dt_bias(double u) {
  const double least = portable::log(0.001), most = portable::log(0.1);
  return portable::log(portable::exp(portable::exp(least + u * (most - least))) - 1);
}

/// The usual deviation of a matrix with n inputs.
double fan_in(int64_t n) { return 1 / std::sqrt(3.0 * static_cast<double>(n)); }

void add_linear(Maker& make, const std::string& name, int64_t outputs, int64_t inputs,
                bool bias = false) {
  make.matrix(name + ".weight", {outputs, inputs}, fan_in(inputs));
  if (bias) make.vector(name + ".bias", {outputs}, [&](int64_t) { return make.uniform() - 0.5; });
}

void add_mixer(Maker& make, const MambaConfig& c, const std::string& mixer) {
  add_linear(make, mixer + "in_proj", c.projected(), c.width, c.in_proj_bias);
  make.matrix(mixer + "conv1d.weight", {c.conv_channels(), 1, c.taps}, fan_in(c.taps));
  if (c.conv_bias) {
    make.vector(mixer + "conv1d.bias", {c.conv_channels()},
                [&](int64_t) { return make.uniform() - 0.5; });
  }
  add_linear(make, mixer + "out_proj", c.width, c.inner, c.out_proj_bias);
  if (c.mixer == MixerKind::mamba1) {
    make.matrix(mixer + "x_proj.weight", {c.dt_rank + 2 * c.state, c.inner}, fan_in(c.inner));
    make.matrix(mixer + "dt_proj.weight", {c.inner, c.dt_rank}, fan_in(c.dt_rank));
    make.vector(mixer + "dt_proj.bias", {c.inner},
                [&](int64_t) { return dt_bias(make.uniform()); });
    make.vector(mixer + "A_log", {c.inner, c.state},
                [&](int64_t i) { return portable::log(static_cast<double>(i % c.state + 1)); });
    make.ones(mixer + "D", c.inner);
    if (c.inner_norms == MambaConfig::InnerNorms::weighted) {
      make.ones(mixer + "dt_norm.weight", c.dt_rank);
      make.ones(mixer + "B_norm.weight", c.state);
      make.ones(mixer + "C_norm.weight", c.state);
    }
    return;
  }
  make.vector(mixer + "dt_bias", {c.heads}, [&](int64_t) { return dt_bias(make.uniform()); });
  make.vector(mixer + "A_log", {c.heads},
              [&](int64_t) { return portable::log(1 + 15 * make.uniform()); });
  make.ones(mixer + "D", c.D_per_channel ? c.inner : c.heads);
  if (c.gated_norm != MambaConfig::GatedNorm::none) make.ones(mixer + "norm.weight", c.inner);
}

void add_attention(Maker& make, const MambaConfig& c, const std::string& name, int64_t inputs) {
  const AttentionConfig& a = c.attention;
  const int64_t queries = a.heads * a.head_width, keys = a.key_heads * a.head_width;
  add_linear(make, name + "q_proj", queries, inputs, a.qkv_bias);
  add_linear(make, name + "k_proj", keys, inputs, a.qkv_bias);
  add_linear(make, name + "v_proj", keys, inputs, a.qkv_bias);
  add_linear(make, name + "o_proj", c.width, queries, a.out_bias);
  if (a.taps == 0) return;
  const int64_t channels = queries + 2 * keys;
  make.matrix(name + "conv1d.weight", {channels, 1, a.taps}, fan_in(a.taps));
  make.vector(name + "conv1d.bias", {channels}, [&](int64_t) { return make.uniform() - 0.5; });
}

void add_feed_forward(Maker& make, const std::string& name, const FeedForwardConfig& form,
                      int64_t width, int64_t inner) {
  if (form.gated()) add_linear(make, name + "gate_proj", inner, width, form.bias);
  add_linear(make, name + "up_proj", inner, width, form.bias);
  add_linear(make, name + "down_proj", width, inner, form.bias);
}

void add_experts(Maker& make, const MambaConfig& c, const std::string& name) {
  const ExpertsConfig& e = c.experts;
  FeedForwardConfig form = c.feed_forward;
  if (e.shared_inner > 0) add_feed_forward(make, name + "shared.", form, c.width, e.shared_inner);
  form.bias = false;
  add_linear(make, name + "router", e.count, c.width);
  if (e.latent > 0) {
    add_linear(make, name + "latent_in", e.latent, c.width, c.feed_forward.bias);
    add_linear(make, name + "latent_out", c.width, e.latent, c.feed_forward.bias);
  }
  for (int64_t i = 0; i < e.count; ++i) {
    add_feed_forward(make, fmt::format("{}experts.{}.", name, i), form,
                     e.latent > 0 ? e.latent : c.width, e.inner);
  }
}

/// Of a block that several layers share.
void add_shared(Maker& make, const MambaConfig& c, const std::string& name) {
  make.ones(name + "norm.weight", 2 * c.width);
  make.ones(name + "norm2.weight", c.width);
  add_attention(make, c, name + "attention.", 2 * c.width);
  add_feed_forward(make, name + "mlp.", c.feed_forward, c.width, c.shared.inner);
}

/// What a layer that uses one has of its own.
void add_use(Maker& make, const MambaConfig& c, const std::string& layer) {
  const AttentionConfig& a = c.attention;
  const int64_t rank = c.shared.adapter_rank;
  add_linear(make, layer + "linear", c.width, c.width);
  add_linear(make, layer + "adapter.mlp.down", rank, c.width);
  add_linear(make, layer + "adapter.gate.up", c.shared.inner, rank);
  add_linear(make, layer + "adapter.up.up", c.shared.inner, rank);
  if (!c.shared.attention_adapters) return;
  for (const char* of : {"q", "k", "v"}) {
    const int64_t heads = of[0] == 'q' ? a.heads : a.key_heads;
    add_linear(make, fmt::format("{}adapter.{}.down", layer, of), rank, 2 * c.width);
    add_linear(make, fmt::format("{}adapter.{}.up", layer, of), heads * a.head_width, rank);
  }
}

void add_part(Maker& make, const MambaConfig& c, const BlockConfig& block, PartKind kind,
              const std::string& layer) {
  switch (kind) {
    case PartKind::mixer:
      return add_mixer(make, c, layer + "mixer.");
    case PartKind::attention:
      return add_attention(make, c, layer + "attention.", c.width);
    case PartKind::feed_forward:
      return add_feed_forward(make, layer + "mlp.", c.feed_forward, c.width, block.inner);
    case PartKind::experts:
      return add_experts(make, c, layer + "mlp.");
  }
}

void make_all(const MambaConfig& config, uint64_t seed, bool filled, const RandomTensorSink& sink) {
  config.check("random weights");
  Maker make(sink, seed, filled);
  make.matrix("backbone.embedding.weight", {config.vocabulary, config.width}, 0.02);
  for (int64_t i = 0; i < config.shared.count; ++i) {
    add_shared(make, config, fmt::format("backbone.shared.{}.", i));
  }
  for (const BlockConfig& block : config.all_blocks()) {
    const std::string layer = fmt::format("backbone.layers.{}.", block.layer);
    make.ones(layer + (block.second ? "norm2.weight" : "norm.weight"), config.width);
    if (block.shared >= 0) add_use(make, config, layer);
    for (const PartKind kind : block.parts) add_part(make, config, block, kind, layer);
  }
  make.ones("backbone.norm_f.weight", config.width);
  if (!config.tied_head) add_linear(make, "lm_head", config.vocabulary, config.width);
}

Weights all_made(const MambaConfig& config, uint64_t seed, bool filled) {
  Weights weights("random weights");
  make_all(config, seed, filled,
           [&](const std::string& name, Tensor tensor) { weights.add(name, std::move(tensor)); });
  return weights;
}

}  // namespace

void make_random_weights(const MambaConfig& config, uint64_t seed, const RandomTensorSink& sink) {
  make_all(config, seed, true, sink);
}

Weights random_weights(const MambaConfig& config, uint64_t seed) {
  return all_made(config, seed, true);
}

Weights random_shapes(const MambaConfig& config) { return all_made(config, 0, false); }

}  // namespace scute
