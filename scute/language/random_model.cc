#include "scute/language/random_model.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/base/random.h"

namespace scute {
namespace {

struct Size {
  std::string_view name;
  MixerKind mixer;
  int64_t layers, width, vocabulary;
};
constexpr std::array<Size, 12> kSizes{{
    {"mamba-tiny", MixerKind::mamba1, 2, 64, 256},
    {"mamba-130m", MixerKind::mamba1, 24, 768, 50280},
    {"mamba-370m", MixerKind::mamba1, 48, 1024, 50280},
    {"mamba-790m", MixerKind::mamba1, 48, 1536, 50280},
    {"mamba-1.4b", MixerKind::mamba1, 48, 2048, 50280},
    {"mamba-2.8b", MixerKind::mamba1, 64, 2560, 50280},
    {"mamba2-tiny", MixerKind::mamba2, 2, 64, 256},
    {"mamba2-130m", MixerKind::mamba2, 24, 768, 50288},
    {"mamba2-370m", MixerKind::mamba2, 48, 1024, 50288},
    {"mamba2-780m", MixerKind::mamba2, 48, 1536, 50288},
    {"mamba2-1.3b", MixerKind::mamba2, 48, 2048, 50288},
    {"mamba2-2.7b", MixerKind::mamba2, 64, 2560, 50288},
}};

/// Adds tensors of one model, all from one random sequence.
class Maker {
 public:
  Maker(Weights& weights, uint64_t seed) : weights_(weights), random_(seed) {}

  /// bf16, normal. A sum of 12 uniform values would do; 4 uniform 16-bit halves of one 64-bit draw,
  /// centred and scaled to variance 1, are ten times faster than Box-Muller and as good for timing.
  void matrix(const std::string& name, Shape shape, double deviation) {
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
    weights_.add(name, std::move(out));
  }
  template <class F>
  void vector(const std::string& name, Shape shape, F value) {
    Tensor out(DType::f32, std::move(shape));
    int64_t i = 0;
    for (float& x : out.mutable_values<float>()) x = static_cast<float>(value(i++));
    weights_.add(name, std::move(out));
  }
  double uniform() { return random_.uniform(); }

 private:
  Weights& weights_;
  Random random_;
};

/// The inverse softplus of a time step log-uniform in [0.001, 0.1], as Mamba draws dt's bias.
double dt_bias(double u) {
  const double dt = std::exp(std::log(0.001) + u * (std::log(0.1) - std::log(0.001)));
  return std::log(std::expm1(dt));
}

void add_layer(Maker& make, const MambaConfig& c, const std::string& layer) {
  const std::string mixer = layer + "mixer.";
  const auto fan_in = [](int64_t n) { return 1 / std::sqrt(3.0 * static_cast<double>(n)); };
  make.vector(layer + "norm.weight", {c.width}, [](int64_t) { return 1.0; });
  make.matrix(mixer + "in_proj.weight", {c.projected(), c.width}, fan_in(c.width));
  make.matrix(mixer + "conv1d.weight", {c.conv_channels(), 1, c.taps}, fan_in(c.taps));
  make.vector(mixer + "conv1d.bias", {c.conv_channels()},
              [&](int64_t) { return make.uniform() - 0.5; });
  make.matrix(mixer + "out_proj.weight", {c.width, c.inner}, fan_in(c.inner));
  if (c.mixer == MixerKind::mamba1) {
    make.matrix(mixer + "x_proj.weight", {c.dt_rank + 2 * c.state, c.inner}, fan_in(c.inner));
    make.matrix(mixer + "dt_proj.weight", {c.inner, c.dt_rank}, fan_in(c.dt_rank));
    make.vector(mixer + "dt_proj.bias", {c.inner},
                [&](int64_t) { return dt_bias(make.uniform()); });
    make.vector(mixer + "A_log", {c.inner, c.state},
                [&](int64_t i) { return std::log(static_cast<double>(i % c.state + 1)); });
    make.vector(mixer + "D", {c.inner}, [](int64_t) { return 1.0; });
    return;
  }
  make.vector(mixer + "dt_bias", {c.heads}, [&](int64_t) { return dt_bias(make.uniform()); });
  make.vector(mixer + "A_log", {c.heads},
              [&](int64_t) { return std::log(1 + 15 * make.uniform()); });
  make.vector(mixer + "D", {c.heads}, [](int64_t) { return 1.0; });
  make.vector(mixer + "norm.weight", {c.inner}, [](int64_t) { return 1.0; });
}

}  // namespace

std::vector<std::string> named_sizes() {
  std::vector<std::string> out;
  for (const Size& size : kSizes) out.emplace_back(size.name);
  return out;
}

MambaConfig named_config(std::string_view name) {
  for (const Size& size : kSizes) {
    if (size.name != name) continue;
    MambaConfig c;
    c.mixer = size.mixer;
    c.layers = size.layers;
    c.width = size.width;
    c.vocabulary = size.vocabulary;
    c.inner = 2 * size.width;
    c.dt_rank = (size.width + 15) / 16;
    if (size.mixer == MixerKind::mamba2) {
      c.state = 128;
      c.heads = c.inner / c.head_width;
    }
    return c;
  }
  fail("--random", fmt::format("one of {}", joined(named_sizes(), ", ")),
       fmt::format("\"{}\"{}", name, did_you_mean(name, named_sizes())));
}

Weights random_weights(const MambaConfig& config, uint64_t seed) {
  config.check("random weights");
  Weights weights("random weights");
  Maker make(weights, seed);
  make.matrix("backbone.embedding.weight", {config.vocabulary, config.width}, 0.02);
  for (int64_t i = 0; i < config.layers; ++i) {
    add_layer(make, config, fmt::format("backbone.layers.{}.", i));
  }
  make.vector("backbone.norm_f.weight", {config.width}, [](int64_t) { return 1.0; });
  return weights;
}

}  // namespace scute
