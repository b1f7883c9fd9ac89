#include "scute/models/regressor/integer_steps.h"

#include <fmt/format.h>

#include <cmath>

#include "scute/base/error.h"
#include "scute/models/scale_tensors.h"
#include "scute/tensor/tensor.h"

namespace scute {

void CodeSite::show(Run& run, MatView<const int16_t> codes) const {
  if (!run.wants(site)) return;
  const Arena::Scope scope(run.arena());
  const auto values = run.matrix(codes.rows, codes.cols);
  for (int64_t r = 0; r < codes.rows; ++r) {
    for (int64_t c = 0; c < codes.cols; ++c) values.row(r)[c] = grid.value(codes.row(r)[c]);
  }
  run.pass(site, values);
}

std::vector<int32_t> codes_of(std::span<const float> values, const Grid& grid,
                              std::string_view name) {
  std::vector<int32_t> out;
  for (const float value : values) {
    const double code =
        std::nearbyint(static_cast<double>(value) / static_cast<double>(grid.scale));
    if (!(std::abs(code) < 0x1p31)) {
      fail(name, fmt::format("numbers below 2^31 times the scale {}", grid.scale),
           fmt::format("{}", value));
    }
    out.push_back(static_cast<int32_t>(code));
  }
  return out;
}

double whole_bias(float bias, float format, double sum, std::string_view name) {
  double out = std::nearbyint(static_cast<double>(bias) / sum);
  if (format != 0) {
    const double units = static_cast<double>(format) / sum;
    if (!(units >= 1 && units <= 0x1p31 && units == std::nearbyint(units))) {
      fail(name, fmt::format("a scale of biases that is a multiple of that of the sums, {}", sum),
           fmt::format("{}", format));
    }
    out = Grid{{16, true}, format, 0}.code(bias) * units;
  }
  // A sum of 2^17 products of 16-bit codes is below 2^47.
  if (!(std::abs(out) < 0x1p52)) {
    fail(name, fmt::format("a bias below 2^52 times the scale {} of the sums", sum),
         fmt::format("{}", bias));
  }
  return out;
}

IntegerProduct::IntegerProduct(const Tensor& weight, const Tensor& bias,
                               const RegressorFormats::Layer& format,
                               std::initializer_list<Grid> outputs, std::string_view name)
    : matrix_(weight, spread_scales(format.weight, weight.dim(0), name), format.input.spec.bits),
      bias_(static_cast<size_t>(weight.dim(0)), 0.0),
      output_bits_(outputs.begin()->spec.bits) {
  const std::vector<float> biases = to_vector(bias);
  const int64_t part = weight.dim(0) / std::ssize(outputs);
  for (int64_t o = 0; o < weight.dim(0); ++o) {
    const auto i = static_cast<size_t>(o);
    const Grid& output = outputs.begin()[o / part];
    const double scale =
        static_cast<double>(format.input.scale) * static_cast<double>(matrix_.scales()[i]);
    factor_.push_back(scale / static_cast<double>(output.scale));
    if (!biases.empty()) bias_[i] = whole_bias(biases[i], format.bias, scale, name);
  }
}

void IntegerProduct::operator()(Run& run, MatView<const int16_t> x, MatView<int16_t> y) const {
  matrix_.multiply(run, x, [&](const auto& sums) {
    fixed_requantize(sums, factor_.data(), bias_.data(), output_bits_, y);
  });
}

int64_t IntegerProduct::bytes() const {
  return matrix_.bytes() + static_cast<int64_t>(factor_.size() * 2 * sizeof(double));
}

IntegerNorm::IntegerNorm(std::span<const float> weight, const Grid& input, const Grid& output,
                         std::string_view name)
    : bits_(output.spec.bits) {
  // x·g / √(Σx²/D + ε) in units of the output, x = code · input.scale, is
  // code · g·√D/output.scale / √(Σcode² + ε·D/input.scale²).
  const auto D = static_cast<double>(weight.size());
  const auto in = static_cast<double>(input.scale);
  const double units =
      std::sqrt(D) * std::ldexp(1.0, FixedNorm::kRootBits) / static_cast<double>(output.scale);
  for (const float g : weight) {
    const double gain = std::nearbyint(static_cast<double>(g) * units);
    if (!(std::abs(gain) <= 0x1p36)) {
      fail(name, "a norm whose outputs have a scale above 2^-30 of its weights",
           fmt::format("weight {}, scale {}", g, output.scale));
    }
    gain_.push_back(static_cast<int64_t>(gain));
  }
  const double epsilon =
      std::nearbyint(static_cast<double>(RegressorConfig::norm_eps) * D / (in * in));
  // Larger than any sum of squares: whatever is added, the outputs are all but zero.
  epsilon_ = static_cast<int64_t>(std::min(epsilon, 0x1p40));
}

void IntegerNorm::operator()(MatView<const int16_t> x, MatView<int16_t> y) const noexcept {
  fixed_rms_norm(x, {gain_.data(), epsilon_}, bits_, y);
}

}  // namespace scute
