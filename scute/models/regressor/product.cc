#include "scute/models/regressor/product.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "scute/base/error.h"
#include "scute/kernels/elementwise.h"

namespace scute {
namespace {

/// The largest number of products summed in one go.
constexpr int64_t kColumns = 256;

/// W in pieces of up to kColumns columns, all but the last equally wide.
std::vector<Gemm> split(const Tensor& weight, Compute compute) {
  const int64_t inputs = weight.dim(1);
  const int64_t count = std::max<int64_t>(1, (inputs + kColumns - 1) / kColumns);
  if (count == 1) return {Gemm(weight, compute)};
  const int64_t wide = (inputs + count - 1) / count;
  const Tensor floats = weight.to_f32();
  std::vector<Gemm> out;
  for (int64_t first = 0; first < inputs; first += wide) {
    const int64_t columns = std::min(wide, inputs - first);
    Tensor part(DType::f32, {weight.dim(0), columns});
    copy_rows(floats.matrix<float>().columns(first, columns), part.mutable_matrix<float>());
    out.emplace_back(part, compute);
  }
  return out;
}

/// Nearest whole number, halves to even; exact for |x| < 2^51.
double whole(double x) { return (x + 0x1.8p52) - 0x1.8p52; }

// The extension saturates after rounding; cut to ±2^40 first, where whole() is exact.
double saturated(double x, double lowest, double highest) {
  return std::clamp(whole(std::clamp(x, -0x1p40, 0x1p40)), lowest, highest);
}

/// What the extension makes of a stored scale: 1e-8 more, in floats; never as good as zero.
float extension_scale(float stored) {
  const float scale = std::abs(stored) + 1e-8F;
  return scale < 1e-12F ? 1e-8F : scale;
}

/// x = round(x, scale) with the scale of each column: of c that of c % scales.size(). Without that
/// remainder, and with one loop for one scale, compilers make vectors of it.
template <class Round>
void round_each(MatView<float> x, std::span<const float> scales, const Round& round) noexcept {
  const int64_t period = std::ssize(scales);
  for (int64_t r = 0; r < x.rows; ++r) {
    float* row = x.row(r);
    if (period == 1) {
      const float scale = scales[0];
      for (int64_t c = 0; c < x.cols; ++c) row[c] = round(row[c], scale);
      continue;
    }
    for (int64_t first = 0; first < x.cols; first += period) {
      const int64_t count = std::min(period, x.cols - first);
      for (int64_t c = 0; c < count; ++c) row[first + c] = round(row[first + c], scales.data()[c]);
    }
  }
}

/// Each row of `weight` rounded with its scale.
Tensor round_rows(const Tensor& weight, const LayerRounding& rounding, std::string_view name) {
  const Tensor floats = weight.to_f32();
  Tensor out(DType::f32, weight.shape());
  const auto to = out.mutable_matrix<float>();
  copy_rows(floats.matrix<float>(), to);
  const auto scales = spread_scales(rounding.weight, weight.dim(0), name);
  const bool lsq = rounding.backend == RegressorBackend::lsq;
  for (int64_t o = 0; o < to.rows; ++o) {
    const std::span scale(&scales[static_cast<size_t>(o)], 1);
    (lsq ? round_lsq : round_extension)(to.slice_rows(o, 1), scale, rounding.bits);
  }
  return out;
}

GridSpec spec_of(const LayerRounding& rounding, std::string_view name) {
  if (rounding.bits != 8 && rounding.bits != 16) {
    fail(name, "8 or 16 bits", fmt::format("{}", rounding.bits));
  }
  return {rounding.bits, true};
}

/// Error unless the inputs have one scale or one for each channel, all of them above 0.
void check_inputs(const LayerRounding& rounding, int64_t inputs, std::string_view name) {
  const int64_t count = std::ssize(rounding.input);
  // The channels of patch_embedding repeat with each frame of a patch.
  const bool repeat = name == "patch_embedding" && count > 0 && inputs % count == 0;
  if (count != 1 && count != inputs && !repeat) {
    fail(name, fmt::format("one input scale, or one for each channel of {} inputs", inputs),
         fmt::format("{}", count));
  }
  spread_scales(rounding.input, count, name);
}

}  // namespace

FloatProduct::FloatProduct(const Tensor& weight, Compute compute)
    : parts_(split(weight, compute)) {}

void FloatProduct::operator()(Run& run, MatView<const float> x, MatView<float> y) const {
  int64_t first = 0;
  for (const Gemm& part : parts_) {
    const auto own = x.columns(first, part.inputs());
    if (first == 0) {
      part(own, y);
    } else {
      const Arena::Scope scope(run.arena());
      const auto more = run.matrix(y.rows, y.cols);
      part(own, more);
      add_into(y, more);
    }
    first += part.inputs();
  }
}

int64_t FloatProduct::bytes() const {
  return std::accumulate(parts_.begin(), parts_.end(), int64_t{0},
                         [](int64_t sum, const Gemm& part) { return sum + part.bytes(); });
}

void round_lsq(MatView<float> x, std::span<const float> scales, int bits) noexcept {
  const GridSpec spec{bits, true};
  const auto lowest = static_cast<float>(spec.lowest());
  const auto highest = static_cast<float>(spec.highest());
  round_each(x, scales, [=](float value, float scale) {
    const float code = std::clamp(value / scale, lowest, highest);
    return ((code + 0x1.8p23F) - 0x1.8p23F) * scale;
  });
}

void round_extension(MatView<float> x, std::span<const float> scales, int bits) noexcept {
  const GridSpec spec{bits, true};
  const double lowest = spec.lowest(), highest = spec.highest();
  round_each(x, scales, [=](float value, float stored) {
    const float scale = extension_scale(stored);
    const double times = static_cast<double>(value) * (1.0 / static_cast<double>(scale));
    return static_cast<float>(saturated(times, lowest, highest)) * scale;
  });
}

void round_wrapping(MatView<float> x, float scale, int32_t zero) noexcept {
  for (int64_t r = 0; r < x.rows; ++r) {
    float* row = x.row(r);
    for (int64_t c = 0; c < x.cols; ++c) {
      const double times = static_cast<double>(row[c]) * (1.0 / static_cast<double>(scale));
      // A NaN has no code; 0 is what it would be had it been cut to a number.
      const double finite = std::isnan(times) ? 0.0 : std::clamp(times, -0x1p30, 0x1p30);
      const auto code = static_cast<int32_t>(std::clamp(whole(finite) + zero, 0.0, 255.0));
      const int32_t kept = code > 127 ? code - 256 : code;
      row[c] = static_cast<float>(kept - zero) * scale;
    }
  }
}

float wrapping_scale(std::span<const float> scales) noexcept {
  const double sum = std::accumulate(scales.begin(), scales.end(), 0.0);
  return static_cast<float>(sum / static_cast<double>(scales.size()));
}

RoundedProduct::RoundedProduct(const Tensor& weight, const LayerRounding& rounding, Compute compute,
                               std::string_view name)
    : rounding_(rounding),
      asymmetric_(rounding.backend == RegressorBackend::extension && rounding.bits == 8 &&
                  name != "patch_embedding") {
  spec_of(rounding, name);
  check_inputs(rounding, weight.dim(1), name);
  if (asymmetric_) {
    if (!(rounding.input_zero >= 0 && rounding.input_zero <= 255)) {
      fail(name, "a zero point from 0 to 255", fmt::format("{}", rounding.input_zero));
    }
    rounding_.input = {wrapping_scale(rounding.input)};
  }
  product_ = FloatProduct(round_rows(weight, rounding, name), compute);
}

void RoundedProduct::round_inputs(MatView<float> x) const {
  if (asymmetric_) {
    round_wrapping(x, rounding_.input[0], static_cast<int32_t>(rounding_.input_zero));
  } else if (rounding_.backend == RegressorBackend::lsq) {
    round_lsq(x, rounding_.input, rounding_.bits);
  } else {
    round_extension(x, rounding_.input, rounding_.bits);
  }
}

void RoundedProduct::operator()(Run& run, MatView<const float> x, MatView<float> y) const {
  const Arena::Scope scope(run.arena());
  const auto rounded = run.matrix(x.rows, x.cols);
  copy_rows(x, rounded);
  round_inputs(rounded);
  product_(run, rounded, y);
}

CodeProduct::CodeProduct(const Tensor& weight, const LayerRounding& rounding, std::string_view name)
    : input_scale_(spread_scales(rounding.input, 1, name)[0]),
      matrix_(weight, spread_scales(rounding.weight, weight.dim(0), name),
              spec_of(rounding, name).bits) {}

void CodeProduct::operator()(Run& run, MatView<const float> x, MatView<float> y) const {
  const Arena::Scope scope(run.arena());
  const auto codes = run.codes<int16_t>(x.rows, x.cols);
  fixed_quantize(x, static_cast<double>(input_scale_), matrix_.bits(), codes);
  matrix_.multiply(run, codes, [&](const auto& sums) {
    for (int64_t r = 0; r < y.rows; ++r) {
      for (int64_t o = 0; o < y.cols; ++o) {
        const double scale = static_cast<double>(input_scale_) *
                             static_cast<double>(matrix_.scales()[static_cast<size_t>(o)]);
        y.row(r)[o] = static_cast<float>(static_cast<double>(sums.row(r)[o]) * scale);
      }
    }
  });
}

}  // namespace scute
