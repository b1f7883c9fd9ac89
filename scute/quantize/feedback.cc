#include "scute/quantize/feedback.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>

#include "scute/kernels/lane_products.h"

namespace scute {
namespace {

/// L of J·H·J = L·Lᵀ, lower triangular, J the reversal of the inputs. As many columns are finished
/// together as lane products are fastest with.
class LowerFactor {
 public:
  explicit LowerFactor(int64_t n)
      : n_(n),
        stride_(padded_stride((n + kTileOutputs - 1) / kTileOutputs * kTileOutputs)),
        values_(static_cast<size_t>(n * stride_)),
        finished_(n) {}

  /// Takes the place of an earlier one. Whether there is one.
  bool factorize(const ScaledHessian& hessian, double damping, const Team& team) {
    team.share(n_, [&](int64_t i) noexcept { reverse_row(hessian, damping, i); });
    for (int64_t first = 0; first < n_; first += kTileOutputs) {
      if (!finish_columns(first, std::min(first + kTileOutputs, n_), team)) return false;
    }
    return true;
  }

  const double* row(int64_t r) const { return values_.data() + r * stride_; }
  /// Rows [first, last) of columns [begin, end).
  MatView<const double> block(int64_t first, int64_t last, int64_t begin, int64_t end) const {
    return {row(first) + begin, last - first, end - begin, stride_};
  }

 private:
  // Rows that one thread takes through a block of columns at a time.
  static constexpr int64_t kRows = 64;

  double* row(int64_t r) { return values_.data() + r * stride_; }

  /// Input i of H, up to the diagonal, as row n − 1 − i.
  void reverse_row(const ScaledHessian& hessian, double damping, int64_t i) {
    double* to = row(n_ - 1 - i);
    const bool dead = hessian.dead(i);
    to[n_ - 1 - i] = (dead ? hessian.mean() : hessian.at(i, i)) + damping;
    for (int64_t j = i + 1; j < n_; ++j) {
      to[n_ - 1 - j] = dead || hessian.dead(j) ? 0 : hessian.at(i, j);
    }
  }

  /// Columns [first, last), all before them being finished: below the diagonal row by row.
  bool finish_columns(int64_t first, int64_t last, const Team& team) {
    for (int64_t k = 0; k < first; ++k) {
      double* to = finished_.row(k);
      for (int64_t c = first; c < last; ++c) to[c - first] = -row(c)[k];
    }
    subtract_finished(first, last, first);
    if (!factorize_corner(first, last)) return false;
    team.share((n_ - last + kRows - 1) / kRows, [&](int64_t part) noexcept {
      const int64_t begin = last + part * kRows, end = std::min(begin + kRows, n_);
      subtract_finished(begin, end, first);
      for (int64_t r = begin; r < end; ++r) finish_row(row(r) + first, last - first);
    });
    return true;
  }

  /// What the columns before `first` leave of rows [begin, end) in those from there on.
  void subtract_finished(int64_t begin, int64_t end, int64_t first) {
    add_lane_products(block(begin, end, 0, first), finished_.rows(0, first),
                      {row(begin) + first, end - begin, kTileOutputs, stride_});
  }

  /// The square on the diagonal; false where it is not positive definite.
  bool factorize_corner(int64_t first, int64_t last) {
    corner_.fill(0);
    for (int64_t c = 0; c < last - first; ++c) {
      finish_row(row(first + c) + first, c);
      double& diagonal = row(first + c)[first + c];
      for (int64_t k = 0; k < c; ++k) {
        const double l = row(first + c)[first + k];
        diagonal -= l * l;
      }
      if (!(diagonal > 0) || !std::isfinite(diagonal)) return false;
      diagonal = std::sqrt(diagonal);
      for (int64_t k = 0; k <= c; ++k) corner(k)[c] = row(first + c)[first + k];
    }
    return true;
  }

  /// The first `count` columns of the block in a row, by what the corner above it has.
  void finish_row(double* values, int64_t count) {
    for (int64_t c = 0; c < count; ++c) {
      values[c] /= corner(c)[c];
      for (int64_t next = c + 1; next < count; ++next) {
        values[next] -= values[c] * corner(c)[next];
      }
    }
  }

  /// Column c of the corner, row by row.
  double* corner(int64_t c) { return corner_.data() + c * kTileOutputs; }

  int64_t n_, stride_;
  std::vector<double> values_;
  OutputTile finished_;  ///< −L of the block's rows, transposed
  std::array<double, kTileOutputs * kTileOutputs> corner_{};
};

/// Columns [first, first + count) of −L⁻¹, by forward substitution; rows above `first` are 0.
class InverseColumns {
 public:
  InverseColumns(const LowerFactor& factor, int64_t n, int64_t first, int64_t count)
      : factor_(factor), values_(n) {
    for (int64_t c = 0; c < count; ++c) values_.row(first + c)[c] = 1;
    for (int64_t begin = first; begin < n; begin += kTileOutputs) {
      finish_rows(first, begin, std::min(begin + kTileOutputs, n));
    }
  }
  double at(int64_t r, int64_t column) const { return values_.row(r)[column]; }

 private:
  /// Rows [begin, end), all before them being finished.
  void finish_rows(int64_t first, int64_t begin, int64_t end) {
    add_lane_products(factor_.block(begin, end, first, begin), values_.rows(first, begin - first),
                      values_.rows(begin, end - begin));
    for (int64_t r = begin; r < end; ++r) {
      double* to = values_.row(r);
      for (int64_t k = begin; k < r; ++k) {
        const double l = factor_.row(r)[k];
        for (int64_t c = 0; c < kTileOutputs; ++c) to[c] += l * values_.row(k)[c];
      }
      const double diagonal = factor_.row(r)[r];
      for (int64_t c = 0; c < kTileOutputs; ++c) to[c] = -(to[c] / diagonal);
    }
  }

  const LowerFactor& factor_;
  OutputTile values_;
};

}  // namespace

// J·H·J = L·Lᵀ gives H⁻¹ = (J·L⁻¹·J)ᵀ·(J·L⁻¹·J), so U = J·L⁻¹·J: no inverse of H, and no second
// factorization.
std::optional<Feedback> Feedback::of(const ScaledHessian& hessian, double damping,
                                     const Team& team) {
  const int64_t n = hessian.size();
  LowerFactor lower(n);
  if (!lower.factorize(hessian, damping, team)) return std::nullopt;
  Feedback out(n);
  std::atomic<bool> finite{true};
  share_tiles(team, n, [&](int64_t first, int64_t count) {
    const InverseColumns inverse(lower, n, first, count);
    for (int64_t c = 0; c < count; ++c) {
      double* to = out.values_.data() + (n - 1 - first - c) * out.stride_;
      for (int64_t r = first + c; r < n; ++r) {
        to[n - 1 - r] = -inverse.at(r, c);
        if (!std::isfinite(to[n - 1 - r])) finite = false;
      }
    }
  });
  if (!finite) return std::nullopt;
  return out;
}

}  // namespace scute
