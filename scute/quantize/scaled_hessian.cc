#include "scute/quantize/scaled_hessian.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "scute/base/error.h"
#include "scute/kernels/lane_products.h"

namespace scute {
namespace {

constexpr int64_t kSquaredAtOnce = 128;  // inputs, whose products stay in the second cache

/// Per output d of `differences`: d·H·dᵀ from the upper triangle of H, 128 inputs at a time, into
/// `squares`.
class WeightedSquares {
 public:
  WeightedSquares(const OutputTile& differences, const ScaledHessian& hessian)
      : d_(differences),
        hessian_(hessian),
        corner_(static_cast<size_t>(kSquaredAtOnce * kSquaredAtOnce)),
        right_(kSquaredAtOnce),
        squares_(1) {
    const int64_t n = hessian.size();
    for (int64_t begin = 0; begin < n; begin += kSquaredAtOnce) {
      const int64_t end = std::min(begin + kSquaredAtOnce, n);
      for (int64_t first = 0; first < begin; first += kSquaredAtOnce) {
        add(first, {hessian.row(first) + begin, kSquaredAtOnce, end - begin, n}, begin, end);
      }
      add(begin, corner(begin, end), begin, end);
    }
  }
  double operator[](int64_t lane) const { return squares_.row(0)[lane]; }

 private:
  /// Above the diagonal; zeroes on it and below, which change no sum.
  MatView<const double> corner(int64_t begin, int64_t end) {
    std::ranges::fill(corner_, 0.0);
    for (int64_t i = begin; i < end; ++i) {
      std::copy(hessian_.row(i) + i + 1, hessian_.row(i) + end,
                corner_.data() + (i - begin) * kSquaredAtOnce + (i + 1 - begin));
    }
    return {corner_.data(), end - begin, end - begin, kSquaredAtOnce};
  }

  /// The inputs from `first` on with those of [begin, end), of which `factors` is H.
  void add(int64_t first, MatView<const double> factors, int64_t begin, int64_t end) {
    const MatView<double> right = right_.rows(0, factors.rows);
    std::fill_n(right.data, right.size(), 0.0);
    add_lane_products(factors, d_.rows(begin, end - begin), right);
    for (int64_t r = 0; r < factors.rows; ++r) {
      const double* d = d_.row(first + r);
      const double diagonal = first == begin ? hessian_.row(first + r)[first + r] : 0;
      double* squares = squares_.row(0);
      for (int64_t lane = 0; lane < kTileOutputs; ++lane) {
        const double both = right.row(r)[lane] * 2 + diagonal * d[lane];
        squares[lane] += d[lane] * both;
      }
    }
  }

  const OutputTile& d_;
  const ScaledHessian& hessian_;
  std::vector<double> corner_;
  OutputTile right_, squares_;
};

}  // namespace

ScaledHessian::ScaledHessian(MatView<const double> values, int64_t inputs, std::string_view where)
    : values_(values) {
  check(inputs, where);
  double largest = 0;
  for (int64_t i = 0; i < inputs; ++i) largest = std::max(largest, std::abs(row(i)[i]));
  std::frexp(largest, &exponent_);
  double sum = 0;
  for (int64_t i = 0; i < inputs; ++i) {
    sum += at(i, i);
    live_ += dead(i) ? 0 : 1;
  }
  if (live_ > 0) mean_ = sum / static_cast<double>(live_);
  if (!(mean_ > 0)) fail(where, "a Hessian Σ x·xᵀ", "a diagonal of negative sum");
}

void ScaledHessian::check(int64_t inputs, std::string_view where) const {
  if (values_.rows != inputs || values_.cols != inputs) {
    fail(where, fmt::format("a Hessian of {0} × {0}", inputs),
         fmt::format("{} × {}", values_.rows, values_.cols));
  }
  for (int64_t i = 0; i < inputs; ++i) {
    for (int64_t j = i; j < inputs; ++j) {
      if (std::isfinite(row(i)[j])) continue;
      fail(where, "a finite Hessian", fmt::format("{} at ({}, {})", row(i)[j], i, j));
    }
  }
}

double ScaledHessian::at(int64_t i, int64_t j) const { return std::ldexp(row(i)[j], -exponent_); }

OutputTile gather_outputs(MatView<const float> from, int64_t first, int64_t count) {
  OutputTile out(from.cols);
  for (int64_t lane = 0; lane < count; ++lane) {
    const float* row = from.row(first + lane);
    for (int64_t k = 0; k < from.cols; ++k) out.row(k)[lane] = static_cast<double>(row[k]);
  }
  return out;
}

void add_weighted_squares(const Tensor& weight, const Tensor* rounded, const ScaledHessian& hessian,
                          const Team& team, double& sum) {
  const auto w = weight.matrix<float>();
  const auto q = rounded != nullptr ? rounded->matrix<float>() : MatView<const float>();
  const double factor = std::ldexp(1.0, hessian.half_shift());
  std::vector<double> squares(static_cast<size_t>(w.rows));
  share_tiles(team, w.rows, [&](int64_t first, int64_t count) {
    OutputTile differences = gather_outputs(w, first, count);
    for (int64_t lane = 0; lane < count; ++lane) {
      const float* row = rounded != nullptr ? q.row(first + lane) : nullptr;
      for (int64_t k = 0; k < w.cols; ++k) {
        double& d = differences.row(k)[lane];
        d = (d - (row != nullptr ? static_cast<double>(row[k]) : 0.0)) * factor;
      }
    }
    const WeightedSquares of_tile(differences, hessian);
    for (int64_t lane = 0; lane < count; ++lane) {
      squares[static_cast<size_t>(first + lane)] = of_tile[lane];
    }
  });
  for (const double square : squares) sum += square;
}

}  // namespace scute
