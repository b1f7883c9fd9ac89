#include "scute/kernels/reference_round.h"

#include <algorithm>
#include <cmath>

#include "scute/base/random.h"
#include "scute/kernels/reference.h"

namespace scute::reference {

float scale_at(MatView<const float> scales, int64_t r, int64_t c) {
  return scales.row(scales.rows == 1 ? 0 : r)[scales.cols == 1 ? 0 : c];
}

int8_t code(float x, float scale) {
  const float quotient = x / scale;
  if (std::isnan(quotient)) return 0;
  // The default rounding mode takes halves to even.
  return static_cast<int8_t>(std::clamp(std::nearbyint(quotient), -128.0f, 127.0f));
}

uint32_t uniform_bits(uint64_t key, uint32_t i) {
  const uint64_t mixed = Random(key).next();
  uint32_t h = i ^ static_cast<uint32_t>(mixed);
  h = (h ^ (h >> 16)) * 0x85ebca6bu + static_cast<uint32_t>(mixed >> 32);
  h = (h ^ (h >> 13)) * 0xc2b2ae35u;
  return (h ^ (h >> 16)) >> 8;
}

int8_t stochastic_code(float x, float scale, uint32_t uniform) {
  const float quotient = x / scale;
  if (std::isnan(quotient)) return 0;
  // The sum in double: where it has to be rounded it stays on its side of a whole number.
  const double sum = static_cast<double>(quotient) + uniform * 0x1p-24;
  return static_cast<int8_t>(std::clamp(std::floor(sum), -128.0, 127.0));
}

int64_t convolution_sum(MatView<const int8_t> x, const int8_t* weight, int64_t taps, int64_t t,
                        int64_t c) {
  int64_t sum = 0;
  for (int64_t k = 0; k < taps; ++k) sum += int64_t{weight[k * x.cols + c]} * x.row(t + k)[c];
  return sum;
}

void causal_conv_silu_int8(MatView<const int8_t> x, const int8_t* weight, const float* scale,
                           const float* bias, int64_t taps, MatView<double> y) {
  for (int64_t t = 0; t < y.rows; ++t) {
    for (int64_t c = 0; c < y.cols; ++c) {
      const double offset = bias == nullptr ? 0.0 : static_cast<double>(bias[c]);
      const auto sum = static_cast<double>(convolution_sum(x, weight, taps, t, c));
      y.row(t)[c] = silu(offset + static_cast<double>(scale[c]) * sum);
    }
  }
}

}  // namespace scute::reference
