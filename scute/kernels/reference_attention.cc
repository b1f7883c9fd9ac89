#include "scute/kernels/reference_attention.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace scute::reference {

void layer_norm(MatView<const float> x, const float* weight, const float* bias, float eps,
                MatView<double> y) {
  for (int64_t r = 0; r < x.rows; ++r) {
    double sum = 0, squares = 0;
    for (int64_t c = 0; c < x.cols; ++c) sum += static_cast<double>(x.row(r)[c]);
    const double mean = sum / static_cast<double>(x.cols);
    for (int64_t c = 0; c < x.cols; ++c) {
      const double off = static_cast<double>(x.row(r)[c]) - mean;
      squares += off * off;
    }
    const double variance = squares / static_cast<double>(x.cols);
    for (int64_t c = 0; c < x.cols; ++c) {
      const double normal = (static_cast<double>(x.row(r)[c]) - mean) /
                            std::sqrt(variance + static_cast<double>(eps));
      y.row(r)[c] = normal * static_cast<double>(weight[c]) + static_cast<double>(bias[c]);
    }
  }
}

double gelu(double x) { return x * 0.5 * std::erfc(-x / std::sqrt(2.0)); }

void add_row(MatView<const float> x, const float* bias, MatView<double> y) {
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; ++c) {
      y.row(r)[c] = static_cast<double>(x.row(r)[c]) + static_cast<double>(bias[c]);
    }
  }
}

void add_scaled(MatView<const float> x, MatView<const float> y, const float* factors,
                MatView<double> sum) {
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; ++c) {
      const double factor = factors == nullptr ? 1.0 : static_cast<double>(factors[c]);
      sum.row(r)[c] = static_cast<double>(x.row(r)[c]) + static_cast<double>(y.row(r)[c]) * factor;
    }
  }
}

void attention(MatView<const float> q, MatView<const float> k, MatView<const float> v, float scale,
               MatView<double> y) {
  std::vector<double> weights(static_cast<size_t>(k.rows));
  for (int64_t r = 0; r < q.rows; ++r) {
    for (int64_t key = 0; key < k.rows; ++key) {
      double score = 0;
      for (int64_t c = 0; c < q.cols; ++c) {
        score += static_cast<double>(q.row(r)[c]) * static_cast<double>(k.row(key)[c]);
      }
      weights[static_cast<size_t>(key)] = score * static_cast<double>(scale);
    }
    const double most = *std::max_element(weights.begin(), weights.end());
    double sum = 0;
    for (double& weight : weights) sum += weight = std::exp(weight - most);
    for (int64_t c = 0; c < v.cols; ++c) {
      double mean = 0;
      for (int64_t key = 0; key < k.rows; ++key) {
        mean += weights[static_cast<size_t>(key)] / sum * static_cast<double>(v.row(key)[c]);
      }
      y.row(r)[c] = mean;
    }
  }
}

}  // namespace scute::reference
