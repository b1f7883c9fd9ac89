// For tests: random attention layers, and their equations in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "scute/base/random.h"
#include "scute/models/language/attention.h"

namespace scute {

struct AttentionCase {
  std::string name;
  AttentionConfig attention;
  int64_t width = 20;   // of the model
  int64_t inputs = 20;  // of q, k and v
};

inline void PrintTo(const AttentionCase& c, std::ostream* out) { *out << c.name; }

inline AttentionConfig heads_of(int64_t heads, int64_t key_heads, int64_t width) {
  AttentionConfig c;
  c.heads = heads;
  c.key_heads = key_heads;
  c.head_width = width;
  c.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(width)));
  return c;
}

/// Random weights under `a.`, and the numbers they hold.
struct RandomAttention {
  MambaConfig config;
  int64_t inputs;
  std::map<std::string, std::vector<float>> values;
  Weights weights{"model.safetensors"};

  explicit RandomAttention(const AttentionCase& c) : inputs(c.inputs) {
    config.width = c.width;
    config.attention = c.attention;
    const int64_t d = c.attention.head_width;
    const int64_t q = c.attention.heads * d, k = c.attention.key_heads * d;
    add("q_proj.weight", {q, inputs}, 0.15);
    add("k_proj.weight", {k, inputs}, 0.15);
    add("v_proj.weight", {k, inputs}, 0.3);
    add("o_proj.weight", {c.width, q}, 0.3);
    if (c.attention.qkv_bias) {
      add("q_proj.bias", {q}, 0.5);
      add("k_proj.bias", {k}, 0.5);
      add("v_proj.bias", {k}, 0.5);
    }
    if (c.attention.out_bias) add("o_proj.bias", {c.width}, 0.5);
    if (c.attention.taps == 0) return;
    add("conv1d.weight", {q + 2 * k, 1, c.attention.taps}, 0.3);
    add("conv1d.bias", {q + 2 * k}, 0.5);
  }
  void add(const std::string& name, const Shape& shape, double scale) {
    Tensor t(DType::f32, shape);
    Random random(values.size() + 1);
    for (float& x : t.mutable_values<float>()) x = static_cast<float>(scale * random.normal());
    values[name] = to_vector(t);
    weights.add("a." + name, std::move(t));
  }
  Attention build() const {
    Weights copy = weights;
    WeightReader reader(copy);
    const Attention::Raw raw(reader, "a.", config, inputs);
    reader.finish();
    SiteList sites;
    return {raw, config, Execution{}, AttentionSites(config, "layer_3.", sites)};
  }
};

inline Tensor random_rows(int64_t rows, int64_t cols) {
  Tensor out(DType::f32, {rows, cols});
  Random random(99);
  for (float& x : out.mutable_values<float>()) x = static_cast<float>(random.normal());
  return out;
}

using Rows = std::vector<std::vector<double>>;

/// The equations of spec §3.4 in double, with the largest sums of magnitudes, to which errors are
/// relative.
class PlainAttention {
 public:
  PlainAttention(const RandomAttention& random, const Tensor& u)
      : random_(random), c_(random.config.attention) {
    Rows x(static_cast<size_t>(u.dim(0)));
    for (int64_t t = 0; t < u.dim(0); ++t) {
      const float* row = u.matrix<float>().row(t);
      x[static_cast<size_t>(t)].assign(row, row + u.dim(1));
    }
    q = product("q_proj", x, q_size);
    k = product("k_proj", x, k_size);
    v = product("v_proj", x, v_size);
    for (auto& row : k) {
      for (double& value : row) value *= static_cast<double>(c_.key_factor);
    }
    projected = q;
    for (size_t t = 0; t < q.size(); ++t) {
      projected[t].insert(projected[t].end(), k[t].begin(), k[t].end());
      projected[t].insert(projected[t].end(), v[t].begin(), v[t].end());
    }
    projected_size = std::max({q_size, k_size * std::max(1.0, double{c_.key_factor}), v_size});
    if (c_.taps > 0) convolve();
    for (Rows* rows : {&q, &k}) {
      for (size_t t = 0; t < rows->size(); ++t) turn((*rows)[t], static_cast<double>(t));
    }
    attend();
    out = product("o_proj", attended, out_size);
  }
  Rows projected, q, k, v, attended, out;  ///< [q; k; v] before the convolution; as attended
  double projected_size = 0, q_size = 0, k_size = 0, v_size = 0, out_size = 0;

 private:
  Rows product(const std::string& name, const Rows& x, double& size) const {
    const std::vector<float>& weight = random_.values.at(name + ".weight");
    const auto bias = random_.values.find(name + ".bias");
    const size_t inputs = x[0].size(), outputs = weight.size() / inputs;
    Rows y(x.size(), std::vector<double>(outputs));
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t o = 0; o < outputs; ++o) {
        double sum = bias == random_.values.end() ? 0 : static_cast<double>(bias->second[o]);
        double magnitude = std::abs(sum);
        for (size_t i = 0; i < inputs; ++i) {
          const double term = static_cast<double>(weight[o * inputs + i]) * x[t][i];
          sum += term;
          magnitude += std::abs(term);
        }
        y[t][o] = sum;
        size = std::max(size, magnitude);
      }
    }
    return y;
  }
  void convolve() {
    const std::vector<float>& weight = random_.values.at("conv1d.weight");
    const std::vector<float>& bias = random_.values.at("conv1d.bias");
    size_t channel = 0;
    for (const auto& [rows, size] : {std::pair{&q, &q_size}, {&k, &k_size}, {&v, &v_size}}) {
      const Rows before = *rows;
      const double size_before = *size;
      for (size_t c = 0; c < before[0].size(); ++c, ++channel) {
        for (size_t t = 0; t < before.size(); ++t) {
          double sum = static_cast<double>(bias[channel]);
          for (size_t tap = 0; tap < 4 && tap <= t; ++tap) {
            sum += static_cast<double>(weight[channel * 4 + 3 - tap]) * before[t - tap][c];
          }
          (*rows)[t][c] = sum;
        }
        double gain = 0;
        for (size_t tap = 0; tap < 4; ++tap) {
          gain += std::abs(static_cast<double>(weight[channel * 4 + tap]));
        }
        *size = std::max(*size, gain * size_before + std::abs(static_cast<double>(bias[channel])));
      }
    }
  }
  void turn(std::vector<double>& row, double position) const {
    const auto d = static_cast<size_t>(c_.head_width), half = static_cast<size_t>(c_.rotated / 2);
    for (size_t head = 0; head < row.size(); head += d) {
      for (size_t i = 0; i < half; ++i) {
        const double angle = position * std::pow(c_.theta, -2.0 * static_cast<double>(i) /
                                                               static_cast<double>(c_.rotated));
        const double a = row[head + i], b = row[head + half + i];
        row[head + i] = a * std::cos(angle) - b * std::sin(angle);
        row[head + half + i] = a * std::sin(angle) + b * std::cos(angle);
      }
    }
  }
  void attend() {
    const auto d = static_cast<size_t>(c_.head_width);
    const auto heads = static_cast<size_t>(c_.heads),
               group = heads / static_cast<size_t>(c_.key_heads);
    attended.assign(q.size(), std::vector<double>(heads * d));
    for (size_t t = 0; t < q.size(); ++t) {
      for (size_t h = 0; h < heads; ++h) {
        const size_t from = h / group * d;
        double sum = 0;
        for (size_t key = 0; key <= t; ++key) {
          double score = 0;
          for (size_t i = 0; i < d; ++i) score += q[t][h * d + i] * k[key][from + i];
          const double weight = std::exp(score * static_cast<double>(c_.scale));
          sum += weight;
          for (size_t i = 0; i < d; ++i) attended[t][h * d + i] += weight * v[key][from + i];
        }
        for (size_t i = 0; i < d; ++i) attended[t][h * d + i] /= sum;
      }
    }
  }

  const RandomAttention& random_;
  const AttentionConfig& c_;
};

}  // namespace scute
