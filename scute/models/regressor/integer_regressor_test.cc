#include "scute/models/regressor/integer_regressor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <ostream>

#include "scute/kernels/reference_fixed_point.h"
#include "scute/models/regressor/predict.h"
#include "scute/models/regressor/test_regressors.h"

namespace scute::integer_regressor_test {
namespace {

using namespace testing_regressors;
using Pool = RegressorConfig::Pool;
using Variant = RegressorConfig::Variant;
using reference::rounded_quotient;
using reference::saturate;

/// Rows of codes.
using Codes = std::vector<std::vector<int64_t>>;

int64_t round_even(double x) { return static_cast<int64_t>(std::nearbyint(x)); }

/// A slim network of whole numbers, window by window, as integer_regressor.h describes it: plain
/// loops over the tensors as stored, no code of the one under test.
class Oracle {
 public:
  Oracle(const RegressorConfig& config, const RegressorFormats& formats)
      : c_(config), f_(formats), weights_(random_weights(config)) {}

  std::vector<float> operator()(MatView<const float> frames) const {
    Codes projected;
    for (int64_t t = 0; t < c_.window; ++t) {
      std::vector<int64_t> x;
      for (int64_t d = 0; d < c_.features; ++d) {
        const Grid& grid = f_.layers.at("proj").input;
        x.push_back(
            saturate(round_even(double{frames.row(t)[d]} / double{grid.scale}), grid.spec.bits));
      }
      projected.push_back(product("proj", "proj", x, input("patch_embedding")));
    }
    Codes x;
    for (int64_t l = 0; l < c_.patches(); ++l) x.push_back(patch(projected, l));
    for (int64_t i = 0; i < c_.layers; ++i) block(fmt::format("blocks.{}.", i), x);
    return position(x);
  }

 private:
  const Grid& input(const std::string& layer) const { return f_.layers.at(layer).input; }
  const Grid& value(const std::string& name) const { return f_.values.at(name); }
  std::vector<float> floats(const std::string& name) const {
    const auto all = weights_.at(name).values<float>();
    return {all.begin(), all.end()};
  }

  /// One output of a layer: exact sum, bias, one factor.
  int64_t output(const std::string& layer, int64_t o, const std::vector<int64_t>& x,
                 const std::vector<float>& w, float bias, const Grid& to) const {
    const RegressorFormats::Layer& format = f_.layers.at(layer);
    const auto row = static_cast<size_t>(o);
    const float scale = format.weight.size() == 1 ? format.weight[0] : format.weight[row];
    int64_t sum = 0;
    for (size_t k = 0; k < x.size(); ++k) {
      // f32 division, as Grid::code says.
      const int64_t code = saturate(round_even(double{w[k] / scale}), format.input.spec.bits);
      sum += code * x[k];
    }
    const double unit = double{format.input.scale} * double{scale};
    if (format.bias == 0) {
      sum += round_even(double{bias} / unit);
    } else {
      sum += saturate(round_even(double{bias / format.bias}), 16) *
             round_even(double{format.bias} / unit);
    }
    return saturate(round_even(static_cast<double>(sum) * (unit / double{to.scale})), to.spec.bits);
  }

  /// 1 × 1: `layer` names formats, `name` the tensors; the second half of the outputs goes to
  /// another grid if `second` says so.
  std::vector<int64_t> product(const std::string& layer, const std::string& name,
                               const std::vector<int64_t>& x, const Grid& to,
                               const Grid* second = nullptr) const {
    const auto w = floats(name + ".weight");
    const auto outputs = static_cast<int64_t>(w.size() / x.size());
    const auto bias = weights_.contains(name + ".bias") ? floats(name + ".bias")
                                                        : std::vector<float>(w.size(), 0.0F);
    std::vector<int64_t> y;
    for (int64_t o = 0; o < outputs; ++o) {
      const auto begin = w.begin() + o * std::ssize(x);
      const Grid& grid = second != nullptr && o >= outputs / 2 ? *second : to;
      y.push_back(
          output(layer, o, x, {begin, begin + std::ssize(x)}, bias[static_cast<size_t>(o)], grid));
    }
    return y;
  }

  /// Kernel (outputs, channels, taps) over rows first … first + taps − 1.
  std::vector<int64_t> convolve(const std::string& layer, const std::string& name,
                                const Codes& rows, int64_t first, const Grid& to) const {
    const Tensor& kernel = weights_.at(name + ".weight");
    const auto w = kernel.values<float>();
    const auto bias = floats(name + ".bias");
    std::vector<int64_t> y;
    for (int64_t o = 0; o < kernel.dim(0); ++o) {
      std::vector<int64_t> x;
      std::vector<float> own;
      for (int64_t channel = 0; channel < kernel.dim(1); ++channel) {
        for (int64_t tap = 0; tap < kernel.dim(2); ++tap) {
          x.push_back(rows[static_cast<size_t>(first + tap)][static_cast<size_t>(channel)]);
          own.push_back(
              w[static_cast<size_t>((o * kernel.dim(1) + channel) * kernel.dim(2) + tap)]);
        }
      }
      y.push_back(output(layer, o, x, own, bias[static_cast<size_t>(o)], to));
    }
    return y;
  }

  std::vector<int64_t> patch(const Codes& projected, int64_t l) const {
    const Grid& residual = value("norm_f:input");
    auto x =
        convolve("patch_embedding", "backbone.patch_embedding", projected, l * c_.stride, residual);
    for (int64_t m = 0; c_.positions && m < c_.width; ++m) {
      const double angle =
          static_cast<double>(l) * std::pow(10000.0, -double(m / 2) / (double(c_.width) / 2));
      const auto entry =
          static_cast<float>(c_.position_scale * (m % 2 == 0 ? std::sin(angle) : std::cos(angle)));
      auto& code = x[static_cast<size_t>(m)];
      code = saturate(code + saturate(round_even(double{entry} / double{residual.scale}), 16), 16);
    }
    return x;
  }

  std::vector<int64_t> norm(const std::string& name, const std::vector<int64_t>& x,
                            const Grid& to) const {
    const auto g = floats(name + ".weight");
    const double D = static_cast<double>(c_.width), in = double{value("norm_f:input").scale};
    int64_t sum = std::min(round_even(double{1e-5F} * D / (in * in)), int64_t{1} << 40);
    for (const int64_t code : x) sum += code * code;
    int64_t root = static_cast<int64_t>(std::sqrt(static_cast<double>(sum * 4096)));
    while (root * root > sum * 4096) --root;
    while ((root + 1) * (root + 1) <= sum * 4096) ++root;
    std::vector<int64_t> y;
    for (size_t m = 0; m < x.size(); ++m) {
      const int64_t gain = round_even(double{g[m]} * (std::sqrt(D) * 64 / double{to.scale}));
      y.push_back(
          saturate(rounded_quotient(x[m] * gain, std::max<int64_t>(root, 1)), to.spec.bits));
    }
    return y;
  }

  static int64_t sigmoid(int64_t code, const Grid& grid) {
    const int fraction = -std::ilogb(grid.scale);
    return reference::fixed_sigmoid(static_cast<int16_t>(code), fraction);
  }
  static int64_t silu(int64_t code, const Grid& from, const Grid& to) {
    const double unit = double{from.scale} / 65536 / double{to.scale};
    return saturate(round_even(static_cast<double>(code * sigmoid(code, from)) * unit), 16);
  }

  /// x is updated, row by row of one window.
  void block(const std::string& b, Codes& x) const {
    const std::string tensors = "backbone." + b, dt = b + "ssm.dt_proj", out = b + "out_proj";
    const auto I = static_cast<size_t>(c_.inner());
    const Grid u_logit = value(b + "u_act:input"), u_value = value(b + "u_act:output");
    const Grid z_logit = c_.gate ? value(b + "z_act:input") : u_logit;
    const Grid conv = c_.convolution ? input(b + "dw_conv") : u_logit;
    Codes u, z;
    for (const auto& row : x) {
      const auto normed = norm(tensors + "norm", row, input(b + "in_proj"));
      const auto uz =
          product(b + "in_proj", tensors + "in_proj", normed, conv, c_.gate ? &z_logit : nullptr);
      u.emplace_back(uz.begin(), uz.begin() + c_.inner());
      z.emplace_back(uz.begin() + c_.inner(), uz.end());
    }
    if (c_.convolution) u = depthwise(b, tensors, u, u_logit);
    std::vector<int64_t> state(I, 0);
    for (size_t l = 0; l < x.size(); ++l) {
      std::vector<int64_t> narrow;
      for (size_t i = 0; i < I; ++i) {
        u[l][i] = silu(u[l][i], u_logit, u_value);
        narrow.push_back(rescale(u[l][i], double{u_value.scale}, input(dt)));
      }
      const Grid& leak = value(dt + ":output");
      const auto logits = product(dt, tensors + "ssm.dt_proj", narrow, leak);
      std::vector<int64_t> y;
      for (size_t i = 0; i < I; ++i) {
        const int64_t lambda = sigmoid(logits[i], leak);
        state[i] = rounded_quotient(lambda * state[i] + (65536 - lambda) * u[l][i], 65536);
        const int64_t gate = c_.gate ? silu(z[l][i], z_logit, value(b + "z_act:output")) : 1;
        const double unit = c_.gate ? double{value(b + "z_act:output").scale} : 1.0;
        y.push_back(rescale(state[i] * gate, double{u_value.scale} * unit, input(out)));
      }
      const auto more = product(out, tensors + "out_proj", y, value("norm_f:input"));
      for (size_t m = 0; m < more.size(); ++m) x[l][m] = saturate(x[l][m] + more[m], 16);
    }
  }

  static int64_t rescale(int64_t code, double scale, const Grid& to) {
    return saturate(round_even(static_cast<double>(code) * (scale / double{to.scale})),
                    to.spec.bits);
  }

  Codes depthwise(const std::string& b, const std::string& tensors, const Codes& u,
                  const Grid& to) const {
    const auto w = floats(tensors + "dw_conv.weight"), bias = floats(tensors + "dw_conv.bias");
    Codes y = u;
    for (int64_t l = 0; l < std::ssize(u); ++l) {
      for (int64_t i = 0; i < c_.inner(); ++i) {
        std::vector<int64_t> x;
        for (int64_t k = 0; k < 5; ++k) {
          const int64_t from = l + k - 2;
          const bool inside = from >= 0 && from < std::ssize(u);
          x.push_back(inside ? u[static_cast<size_t>(from)][static_cast<size_t>(i)] : 0);
        }
        const auto begin = w.begin() + i * 5;
        y[static_cast<size_t>(l)][static_cast<size_t>(i)] =
            output(b + "dw_conv", i, x, {begin, begin + 5}, bias[static_cast<size_t>(i)], to);
      }
    }
    return y;
  }

  std::vector<float> position(const Codes& x) const {
    const bool flat = c_.pool == Pool::flat;
    const Grid normed_grid = flat ? input("output_layer") : value("norm_f:output");
    Codes normed;
    for (const auto& row : x) normed.push_back(norm("backbone.norm_f", row, normed_grid));
    std::vector<int64_t> features;
    if (flat) {
      features = convolve("output_layer", "backbone.output_layer_flat", normed, 0, input("head"));
    } else {
      std::vector<int64_t> pooled;
      const bool mean = c_.pool == Pool::average;
      for (size_t m = 0; m < normed[0].size(); ++m) {
        int64_t value = normed[0][m];
        for (size_t l = 1; l < normed.size(); ++l) {
          value = mean ? value + normed[l][m] : std::max(value, normed[l][m]);
        }
        // As documented of the network: scale by scale, then the number of patches.
        const Grid& to = input("output_layer");
        const double factor = double{normed_grid.scale} / double{to.scale} /
                              (mean ? static_cast<double>(normed.size()) : 1.0);
        pooled.push_back(saturate(round_even(static_cast<double>(value) * factor), to.spec.bits));
      }
      features = product("output_layer", "backbone.output_layer_pool", pooled, input("head"));
    }
    const Grid& grid = value("head:output");
    std::vector<float> out;
    for (const int64_t code : product("head", "head", features, grid)) {
      out.push_back(static_cast<float>(code) * grid.scale);
    }
    return out;
  }

  const RegressorConfig& c_;
  const RegressorFormats& f_;
  Weights weights_;
};

struct Case {
  std::string name;
  std::function<void(RegressorConfig&)> change;
};
void PrintTo(const Case& tested, std::ostream* out) { *out << tested.name; }

std::vector<Case> slim_cases() {
  return {{"whole", [](RegressorConfig&) {}},
          {"no_convolution", [](RegressorConfig& c) { c.convolution = false; }},
          {"no_positions", [](RegressorConfig& c) { c.positions = false; }},
          {"positions_scaled", [](RegressorConfig& c) { c.position_scale = -3.5; }},
          {"no_gate", [](RegressorConfig& c) { c.gate = false; }},
          {"average", [](RegressorConfig& c) { c.pool = Pool::average; }},
          {"maximum", [](RegressorConfig& c) { c.pool = Pool::maximum; }},
          {"one_frame", [](RegressorConfig& c) { c.window = c.patch = c.stride = 1; }}};
}

class IntegerSlim : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(, IntegerSlim, testing::ValuesIn(slim_cases()),
                         [](const auto& tested) { return tested.param.name; });

TEST_P(IntegerSlim, EveryBitIsThatOfPlainLoopsOverWholeNumbers) {
  RegressorConfig config = small(Variant::slim);
  GetParam().change(config);
  const Tensor windows = random_floats({9, config.window, config.features}, 3);
  for (const FormatKind kind : {FormatKind::fixed, FormatKind::powers, FormatKind::dynamic}) {
    for (const int bits : {8, 16}) {
      if (kind == FormatKind::fixed && bits == 8) continue;
      const RegressorFormats formats = formats_of(config, kind, bits);
      const IntegerRegressor model(config, tensors_of(config), formats);
      const Tensor got = predict_windows(model, windows, Threads(1));
      const Oracle oracle(config, formats);
      std::map<float, int> distinct;
      for (int64_t w = 0; w < windows.dim(0); ++w) {
        const float* first = windows.values<float>().data() + w * config.window * config.features;
        const auto expected = oracle({first, config.window, config.features});
        for (size_t axis = 0; axis < 2; ++axis) {
          EXPECT_EQ(got.matrix<float>().row(w)[axis], expected[axis])
              << "format kind " << static_cast<int>(kind) << ", bits " << bits << ", window " << w;
          ++distinct[expected[axis]];
        }
      }
      EXPECT_GE(distinct.size(), 16U) << "not just the ends of the range";
    }
  }
}

}  // namespace
}  // namespace scute::integer_regressor_test
