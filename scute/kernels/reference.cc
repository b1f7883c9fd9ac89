#include "scute/kernels/reference.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace scute::reference {

void count_buckets(const float* x, int64_t n, int fine, uint32_t* table) {
  for (int64_t i = 0; i < n; ++i) ++table[std::bit_cast<uint32_t>(x[i]) >> (23 - fine)];
}

ValueScan scan_values(const float* x, int64_t n) {
  ValueScan out;
  for (int64_t i = 0; i < n; ++i) {
    out.bits_or |= std::bit_cast<uint32_t>(x[i]);
    if (std::isnan(x[i])) ++out.nans;
    if (std::isinf(x[i])) ++out.infs;
    if (!std::isfinite(x[i])) continue;
    if (x[i] == 0) ++out.zeros;
    if (x[i] != 0) out.smallest_nonzero = std::min(out.smallest_nonzero, std::abs(x[i]));
    out.min = std::min(out.min, x[i]);
    out.max = std::max(out.max, x[i]);
  }
  return out;
}

void column_absmax(const float* x, int64_t rows, int64_t cols, int64_t stride, float* into) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) into[c] = std::fmax(into[c], std::abs(x[r * stride + c]));
  }
}

void column_abssum(const float* x, int64_t rows, int64_t cols, int64_t stride, double* sum) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) sum[c] += static_cast<double>(std::abs(x[r * stride + c]));
  }
}

double softplus(double x) { return x > 20 ? x : std::log1p(std::exp(x)); }

double silu(double x) { return x / (1 + std::exp(-x)); }

void rms_norm(MatView<const float> x, const float* weight, int64_t group, float eps,
              MatView<double> y) {
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t first = 0; first < x.cols; first += group) {
      double squares = 0;
      for (int64_t c = first; c < first + group; ++c) {
        squares += static_cast<double>(x.row(r)[c]) * static_cast<double>(x.row(r)[c]);
      }
      const double mean = squares / static_cast<double>(group);
      for (int64_t c = first; c < first + group; ++c) {
        const double w = weight == nullptr ? 1.0 : static_cast<double>(weight[c]);
        y.row(r)[c] = static_cast<double>(x.row(r)[c]) / std::sqrt(mean + eps) * w;
      }
    }
  }
}

void gate_silu(MatView<const float> x, MatView<const float> z, MatView<double> y) {
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; ++c) {
      y.row(r)[c] = static_cast<double>(x.row(r)[c]) * silu(static_cast<double>(z.row(r)[c]));
    }
  }
}

void clamp(MatView<const float> x, float lo, float hi, MatView<double> y) {
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; ++c) {
      y.row(r)[c] = static_cast<double>(std::clamp(x.row(r)[c], lo, hi));
    }
  }
}

void causal_conv(MatView<const float> x, const float* weight, const float* bias, int64_t taps,
                 MatView<const float> cache, MatView<double> y) {
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t c = 0; c < x.cols; ++c) {
      double sum = bias == nullptr ? 0.0 : static_cast<double>(bias[c]);
      for (int64_t k = 0; k < taps; ++k) {
        const int64_t from = t - (taps - 1) + k;
        const float value = from < 0 ? cache.row(from + taps - 1)[c] : x.row(from)[c];
        sum += static_cast<double>(weight[k * x.cols + c]) * static_cast<double>(value);
      }
      y.row(t)[c] = sum;
    }
  }
}

void causal_conv_silu(MatView<const float> x, const float* weight, const float* bias, int64_t taps,
                      MatView<const float> cache, MatView<double> y) {
  causal_conv(x, weight, bias, taps, cache, y);
  for (int64_t t = 0; t < y.rows; ++t) {
    for (int64_t c = 0; c < y.cols; ++c) y.row(t)[c] = silu(y.row(t)[c]);
  }
}

double log_sum_exp(const float* x, int64_t n) {
  double most = -std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i < n; ++i) most = std::fmax(most, static_cast<double>(x[i]));
  if (!std::isfinite(most)) most = 0;
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(x[i]) - most);
  return most + std::log(sum);
}

int64_t argmax(const float* x, int64_t n) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; ++i) {
    if (x[i] > x[best] || (std::isnan(x[best]) && !std::isnan(x[i]))) best = i;
  }
  return best;
}

void selective_scan(const SelectiveScan& in, MatView<double> state, MatView<double> y) {
  for (int64_t t = 0; t < in.x.rows; ++t) {
    for (int64_t e = 0; e < in.x.cols; ++e) {
      const double x = static_cast<double>(in.x.row(t)[e]);
      const double delta =
          softplus(static_cast<double>(in.dt.row(t)[e]) + static_cast<double>(in.dt_bias[e]));
      double sum = static_cast<double>(in.D[e]) * x;
      for (int64_t n = 0; n < state.cols; ++n) {
        double& h = state.row(e)[n];
        h = std::exp(delta * static_cast<double>(in.A.row(e)[n])) * h +
            delta * static_cast<double>(in.B.row(t)[n]) * x;
        sum += static_cast<double>(in.C.row(t)[n]) * h;
      }
      y.row(t)[e] = sum;
    }
  }
}

void head_scan(const HeadScan& in, MatView<double> state, MatView<double> y) {
  const int64_t P = in.head_width, N = in.state_size;
  for (int64_t t = 0; t < in.x.rows; ++t) {
    for (int64_t row = 0; row < in.heads * P; ++row) {  // row = head · P + p
      const int64_t head = row / P, group = head / (in.heads / in.groups);
      const double x = static_cast<double>(in.x.row(t)[row]);
      double delta =
          softplus(static_cast<double>(in.dt.row(t)[head]) + static_cast<double>(in.dt_bias[head]));
      if (delta < static_cast<double>(in.dt_min)) delta = static_cast<double>(in.dt_min);
      if (delta > static_cast<double>(in.dt_max)) delta = static_cast<double>(in.dt_max);
      double sum = static_cast<double>(in.D[in.D_per_channel ? row : head]) * x;
      for (int64_t n = 0; n < N; ++n) {
        double& h = state.row(row)[n];
        h = std::exp(delta * static_cast<double>(in.A[head])) * h +
            delta * static_cast<double>(in.B.row(t)[group * N + n]) * x;
        sum += static_cast<double>(in.C.row(t)[group * N + n]) * h;
      }
      y.row(t)[row] = sum;
    }
  }
}

}  // namespace scute::reference
