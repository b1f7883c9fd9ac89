#include "scute/kernels/reference_fixed_point.h"

#include <algorithm>
#include <cmath>

namespace scute::reference {
namespace {

/// Half to even, from the floor up; cut to ±2^40.
int64_t rounded(double v) {
  v = std::clamp(v, -0x1p40, 0x1p40);
  const double floor = std::floor(v), rest = v - floor;
  const auto whole = static_cast<int64_t>(floor);
  return whole + (rest > 0.5 || (rest == 0.5 && whole % 2 != 0) ? 1 : 0);
}

int16_t to_code(int64_t value, int bits) { return static_cast<int16_t>(saturate(value, bits)); }

/// y[r, c] = f(r, c).
template <class T, class F>
void fill(MatView<T> y, const F& f) {
  for (int64_t r = 0; r < y.rows; ++r) {
    for (int64_t c = 0; c < y.cols; ++c) y.row(r)[c] = f(r, c);
  }
}

/// ⌊√v⌋, at least 1, a bit at a time.
int64_t floor_root(int64_t v) {
  int64_t root = 0;
  for (int64_t bit = int64_t{1} << 30; bit > 0; bit /= 2) {
    if ((root + bit) * (root + bit) <= v) root += bit;
  }
  return std::max<int64_t>(root, 1);
}

}  // namespace

int64_t rounded_quotient(int64_t numerator, int64_t denominator) {
  int64_t floor = numerator / denominator;
  if (floor * denominator > numerator) --floor;
  const int64_t twice = 2 * (numerator - floor * denominator);
  return floor + (twice > denominator || (twice == denominator && floor % 2 != 0) ? 1 : 0);
}

int64_t saturate(int64_t value, int bits) {
  const int64_t ends = int64_t{1} << (bits - 1);
  return std::clamp(value, -ends, ends - 1);
}

void fixed_quantize(MatView<const float> x, double scale, int bits, MatView<int16_t> y) {
  fill(y, [&](int64_t r, int64_t c) {
    const float v = x.row(r)[c];
    return to_code(std::isnan(v) ? 0 : rounded(double{v} / scale), bits);
  });
}

void fixed_requantize(MatView<const int64_t> sums, const double* factor, const double* bias,
                      int bits, MatView<int16_t> y) {
  fill(y, [&](int64_t r, int64_t c) {
    const auto sum = static_cast<double>(sums.row(r)[c] + static_cast<int64_t>(bias[c]));
    return to_code(rounded(sum * factor[c]), bits);
  });
}

void fixed_rescale(MatView<const int16_t> x, double factor, int bits, MatView<int16_t> y) {
  fill(y, [&](int64_t r, int64_t c) { return to_code(rounded(x.row(r)[c] * factor), bits); });
}

void fixed_narrow(MatView<const int16_t> x, MatView<int8_t> y) {
  fill(y, [&](int64_t r, int64_t c) { return static_cast<int8_t>(saturate(x.row(r)[c], 8)); });
}

void fixed_add(MatView<int16_t> x, MatView<const int16_t> y) {
  fill(x, [&](int64_t r, int64_t c) { return to_code(x.row(r)[c] + y.row(r)[c], 16); });
}

void fixed_rms_norm(MatView<const int16_t> x, const FixedNorm& norm, int bits, MatView<int16_t> y) {
  for (int64_t r = 0; r < x.rows; ++r) {
    int64_t sum = norm.epsilon;
    for (int64_t c = 0; c < x.cols; ++c) sum += int64_t{x.row(r)[c]} * x.row(r)[c];
    const int64_t root = floor_root(sum << (2 * FixedNorm::kRootBits));
    for (int64_t c = 0; c < x.cols; ++c) {
      y.row(r)[c] = to_code(rounded_quotient(x.row(r)[c] * norm.gain[c], root), bits);
    }
  }
}

void fixed_window_conv(const FixedConv& conv, MatView<const int16_t> x, int64_t length,
                       MatView<int16_t> y) {
  fill(y, [&](int64_t r, int64_t c) {
    const int64_t first = r / length * length, l = r - first;
    auto sum = static_cast<int64_t>(conv.bias[c]);
    for (int64_t k = 0; k < conv.taps; ++k) {
      const int64_t from = l + k - conv.before;
      if (from < 0 || from >= length) continue;
      sum += int64_t{conv.weight[k * x.cols + c]} * x.row(first + from)[c];
    }
    return to_code(rounded(conv.factor[c] * static_cast<double>(sum)), 16);
  });
}

uint16_t fixed_sigmoid(int16_t code, int fraction) {
  const SigmoidTable& table = sigmoid_table();
  const int64_t one = int64_t{1} << fraction;
  if (code <= -8 * one) return table.front();
  if (code >= 8 * one) return table.back();
  // code + 8 in steps of 1/256, times `one`.
  const int64_t place = (code + 8 * one) * 256, i = place / one, rest = place % one;
  const int64_t value = table[static_cast<size_t>(i)];
  if (rest == 0) return static_cast<uint16_t>(value);
  const int64_t rise = (table[static_cast<size_t>(i + 1)] - value) * rest;
  return static_cast<uint16_t>(value + (rise + one / 2) / one);
}

void fixed_silu(MatView<const int16_t> x, int fraction, double factor, MatView<int16_t> y) {
  fill(y, [&](int64_t r, int64_t c) {
    const int64_t product = int64_t{x.row(r)[c]} * fixed_sigmoid(x.row(r)[c], fraction);
    return to_code(rounded(static_cast<double>(product) * factor), 16);
  });
}

void fixed_window_mean_scan(MatView<const int16_t> x, MatView<const int16_t> logit, int fraction,
                            int64_t length, MatView<int16_t> y) {
  fill(y, [&](int64_t r, int64_t c) {
    const int64_t leak = fixed_sigmoid(logit.row(r)[c], fraction);
    const int64_t before = r % length == 0 ? 0 : y.row(r - 1)[c];
    const int64_t sum = leak * before + (65536 - leak) * x.row(r)[c];
    return static_cast<int16_t>(rounded_quotient(sum, 65536));
  });
}

void fixed_gate(MatView<const int16_t> x, MatView<const int16_t> gate, double factor, int bits,
                MatView<int16_t> y) {
  fill(y, [&](int64_t r, int64_t c) {
    const int64_t product = int64_t{x.row(r)[c]} * gate.row(r)[c];
    return to_code(rounded(static_cast<double>(product) * factor), bits);
  });
}

}  // namespace scute::reference
