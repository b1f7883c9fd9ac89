#include "scute/quantize/gptq.h"

#include <fmt/format.h>

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "scute/base/error.h"
#include "scute/quantize/descent.h"
#include "scute/quantize/group_scale.h"

namespace scute {
namespace {

// Outputs are worked on 16 at a time, side by side: one input of a tile is 16 doubles, 8 registers
// of SSE2. Only element-wise operations, so that no output knows its neighbours.
constexpr Eigen::Index kLanes = 16;
using Lanes = Eigen::Array<double, kLanes, 1>;
using Tile = Eigen::Array<double, kLanes, Eigen::Dynamic>;  ///< outputs × inputs, column-major

// The errors of 128 inputs wait until all are known: 128 · 16 doubles stay in a first cache of
// 32 KiB while the weights of a tile pass through it once.
constexpr int64_t kBlock = 128;

/// Eigen chooses block sizes, and with them the order of sums, by the caches it finds. Fixed ones
/// make the same bytes on every processor. Called before all else of Eigen that blocks.
void fix_block_sizes() {
  static const bool done = [] {
    Eigen::setCpuCacheSizes(32 << 10, 512 << 10, 4 << 20);
    return true;
  }();
  static_cast<void>(done);
}

/// The Hessian as it is used: its upper triangle, times a power of two that brings the largest
/// diagonal element into [0.5, 1), so that a factor of it does not matter even near overflow.
class Hessian {
 public:
  Hessian(MatView<const double> values, int64_t inputs, std::string_view where) : values_(values) {
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

  int64_t size() const { return values_.rows; }
  int64_t live() const { return live_; }
  /// Mean of the diagonal over the inputs that are not dead; 1 when all are.
  double mean() const { return mean_; }
  bool dead(int64_t i) const { return row(i)[i] == 0; }
  /// Row i from its diagonal on, as it came.
  const double* row(int64_t i) const { return values_.row(i); }
  /// Element (i, j), j ≥ i, times 2^−exponent.
  double at(int64_t i, int64_t j) const { return std::ldexp(row(i)[j], -exponent_); }
  /// Values times 2 to this power have squares, weighted by row(), that neither over- nor
  /// underflow.
  int half_shift() const { return -exponent_ / 2; }

 private:
  void check(int64_t inputs, std::string_view where) const {
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

  MatView<const double> values_;
  int exponent_ = 0;
  double mean_ = 1;
  int64_t live_ = 0;
};

/// The Hessian with its order of inputs reversed and `damping` on the diagonal; a dead input gets
/// the mean and depends on no other. Lower triangle.
Eigen::MatrixXd reversed(const Hessian& hessian, double damping) {
  const int64_t n = hessian.size();
  Eigen::MatrixXd out = Eigen::MatrixXd::Zero(n, n);
  for (int64_t i = 0; i < n; ++i) {
    const bool dead = hessian.dead(i);
    out(n - 1 - i, n - 1 - i) = (dead ? hessian.mean() : hessian.at(i, i)) + damping;
    for (int64_t j = i + 1; j < n && !dead; ++j) {
      if (!hessian.dead(j)) out(n - 1 - i, n - 1 - j) = hessian.at(i, j);
    }
  }
  return out;
}

/// The inverse of a lower triangular matrix, 128 columns at a time: above its block a column is 0,
/// which saves two thirds of the work.
Eigen::MatrixXd inverse_lower(const Eigen::MatrixXd& lower) {
  const Eigen::Index n = lower.rows();
  Eigen::MatrixXd out = Eigen::MatrixXd::Zero(n, n);
  for (Eigen::Index c = 0; c < n; c += kBlock) {
    auto columns = out.block(c, c, n - c, std::min<Eigen::Index>(kBlock, n - c));
    columns.diagonal().setOnes();
    lower.bottomRightCorner(n - c, n - c).triangularView<Eigen::Lower>().solveInPlace(columns);
  }
  return out;
}

/// U of H⁻¹ = Uᵀ·U, upper triangular, as the rows of Uᵀ: feedback[j·n + k] = U[k, j], k ≤ j.
///
/// With J the reversal, J·H·J = L·Lᵀ gives H⁻¹ = (J·L⁻¹·J)ᵀ·(J·L⁻¹·J), so U = J·L⁻¹·J: no
/// inverse of H, and no second factorization.
struct Feedback {
  Eigen::MatrixXd factor;
  const double* row(int64_t j) const { return factor.data() + j * factor.rows(); }
};

Feedback factorize(const Hessian& hessian, std::string_view where, GptqReport& report) {
  constexpr double kFirst = 0.01, kMost = 1.5e6;
  report.attempts = 0;
  for (double share = kFirst; share < kMost; share *= 10) {
    ++report.attempts;
    report.damping = share;
    Eigen::MatrixXd lower = reversed(hessian, share * hessian.mean());
    const Eigen::LLT<Eigen::Ref<Eigen::MatrixXd>> cholesky(lower);
    if (cholesky.info() != Eigen::Success || !lower.allFinite()) continue;
    Eigen::MatrixXd inverse = inverse_lower(lower);
    if (!inverse.allFinite()) continue;
    // Column-major (n−1−k, n−1−j) is element n²−1 − (j·n + k): reversed, it is what is wanted.
    std::reverse(inverse.data(), inverse.data() + inverse.size());
    return {std::move(inverse)};
  }
  fail(where, "a Hessian that damping makes positive definite",
       fmt::format("none with {} times the mean of its diagonal", report.damping));
}

/// `weights` −= Σ feedback[k] · errors[k], k < count, in the order of k.
void subtract(const double* feedback, const Tile& errors, int64_t count, double* weights) {
  Lanes sum = Eigen::Map<const Lanes>(weights);
  for (int64_t k = 0; k < count; ++k) sum -= feedback[k] * errors.col(k);
  Eigen::Map<Lanes>{weights} = sum;
}

/// Outputs `first` … `first + count − 1`, side by side, in double.
Tile gather(MatView<const float> from, int64_t first, int64_t count) {
  Tile out = Tile::Zero(kLanes, from.cols);
  for (int64_t lane = 0; lane < count; ++lane) {
    const float* row = from.row(first + lane);
    for (int64_t k = 0; k < from.cols; ++k) out(lane, k) = static_cast<double>(row[k]);
  }
  return out;
}

/// Takes tiles of outputs through their inputs, 16 at a time.
class TileRounder {
 public:
  TileRounder(const Feedback& feedback, QuantizedWeight& out)
      : feedback_(feedback),
        format_(out.format),
        inputs_(out.inputs()),
        group_(format_.group_inputs(inputs_)),
        codes_(out.codes.mutable_matrix<int8_t>()),
        scales_(out.scales.mutable_matrix<float>()),
        errors_(kLanes, kBlock) {}

  /// weights: of outputs first … first + count − 1, count ≤ 16.
  void operator()(Tile weights, int64_t first, int64_t count) {
    for (int64_t begin = 0, end = 0; begin < inputs_; begin = end) {
      end = block_end(begin);
      for (int64_t k = begin; k < end; ++k) {
        if (k % group_ == 0 && !one_scale()) choose_scales(weights, k, first, count);
        subtract(feedback_.row(k) + begin, errors_, k - begin, weights.col(k).data());
        round_input(weights, k, first, count);
        errors_.col(k - begin) = weights.col(k) / feedback_.row(k)[k];
      }
      for (int64_t k = end; k < inputs_; ++k) {
        subtract(feedback_.row(k) + begin, errors_, end - begin, weights.col(k).data());
      }
    }
  }

 private:
  /// Blocks never cut a group that fits in one, and end where larger groups end: when a group
  /// starts, all its weights are corrected by all errors so far.
  int64_t block_end(int64_t begin) const {
    return std::min(begin + kBlock, (begin / group_ + 1) * group_);
  }

  bool one_scale() const { return format_.granularity == WeightFormat::Granularity::per_tensor; }

  void choose_scales(const Tile& weights, int64_t k, int64_t first, int64_t count) {
    std::vector<float> group(static_cast<size_t>(group_));
    for (int64_t lane = 0; lane < count; ++lane) {
      for (int64_t i = 0; i < group_; ++i) {
        group[static_cast<size_t>(i)] = to_float_range(weights(lane, k + i));
      }
      scales_.row(first + lane)[k / group_] = group_scale(group, format_.bits);
    }
  }

  /// Writes the codes of input k and leaves the differences in its place.
  void round_input(Tile& weights, int64_t k, int64_t first, int64_t count) {
    for (int64_t lane = 0; lane < count; ++lane) {
      const float scale = one_scale() ? scales_.row(0)[0] : scales_.row(first + lane)[k / group_];
      const Grid grid = weight_grid(format_.bits, scale);
      const int32_t code = grid.code(to_float_range(weights(lane, k)));
      codes_.row(first + lane)[k] = static_cast<int8_t>(code);
      weights(lane, k) -= static_cast<double>(grid.value(code));
    }
  }

  static float to_float_range(double w) {
    constexpr double kLargest = std::numeric_limits<float>::max();
    return static_cast<float>(std::clamp(w, -kLargest, kLargest));
  }

  const Feedback& feedback_;
  WeightFormat format_;
  int64_t inputs_, group_;
  MatView<int8_t> codes_;
  MatView<float> scales_;
  Tile errors_;  ///< of the inputs of one block, divided by the diagonal of U
};

/// The weight without its dead inputs.
Tensor without_dead(const Tensor& weight, const Hessian& hessian) {
  if (hessian.live() == hessian.size()) return weight;
  Tensor out = Tensor::of<float>(weight.shape(), weight.values<float>());
  const MatView<float> values = out.mutable_matrix<float>();
  for (int64_t k = 0; k < hessian.size(); ++k) {
    for (int64_t o = 0; hessian.dead(k) && o < values.rows; ++o) values.row(o)[k] = 0;
  }
  return out;
}

/// Per output d of `differences`: d·H·dᵀ from the upper triangle of H, 128 inputs at a time, which
/// stay in the first cache.
Lanes weighted_squares(const Tile& differences, const Hessian& hessian) {
  Lanes squares = Lanes::Zero();
  for (int64_t begin = 0; begin < hessian.size(); begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, hessian.size());
    for (int64_t i = 0; i < end; ++i) {
      const double* row = hessian.row(i);
      Lanes right = Lanes::Zero();
      for (int64_t j = std::max(begin, i + 1); j < end; ++j) right += row[j] * differences.col(j);
      right *= 2;
      if (i >= begin) right += row[i] * differences.col(i);
      squares += differences.col(i) * right;
    }
  }
  return squares;
}

/// tr(D·H·Dᵀ) for D = weight − rounded, up to a power of two that is the same for all D.
double weighted_square(const Tensor& weight, const Tensor& rounded, const Hessian& hessian) {
  const auto w = weight.matrix<float>(), q = rounded.matrix<float>();
  const double factor = std::ldexp(1.0, hessian.half_shift());
  double sum = 0;
  for (int64_t first = 0; first < w.rows; first += kLanes) {
    const int64_t count = std::min<int64_t>(kLanes, w.rows - first);
    const Tile differences = (gather(w, first, count) - gather(q, first, count)) * factor;
    const Lanes squares = weighted_squares(differences, hessian);
    for (const double square : squares) sum += square;
  }
  return sum;
}

}  // namespace

QuantizedWeight quantize_gptq(const Tensor& weight, MatView<const double> hessian,
                              const WeightFormat& format, std::string_view where,
                              GptqReport& report, Descent descent) {
  fix_block_sizes();
  const Tensor real = finite_weight(weight, where);
  const int64_t outputs = real.dim(0), inputs = real.dim(1);
  format.check(inputs, where);
  const Hessian seen(hessian, inputs, where);
  report = {};
  report.dead = inputs - seen.live();
  const Tensor live = without_dead(real, seen);
  QuantizedWeight out = empty_weight(outputs, inputs, format);
  if (format.granularity == WeightFormat::Granularity::per_tensor) {
    out.scales.mutable_values<float>()[0] = group_scale(live.values<float>(), format.bits);
  }
  {
    const Feedback feedback = factorize(seen, where, report);
    TileRounder round_tile(feedback, out);
    for (int64_t first = 0; first < outputs; first += kLanes) {
      const int64_t count = std::min<int64_t>(kLanes, outputs - first);
      round_tile(gather(live.matrix<float>(), first, count), first, count);
    }
  }
  if (descent == Descent::on) descend(live, hessian, report.damping, out);
  if (format.two_level) add_channel_scales(out);
  const double all = weighted_square(real, Tensor(DType::f32, real.shape()), seen);
  if (all > 0) {
    const Tensor nearest = dequantize(quantize_nearest(real, format, where));
    report.error = weighted_square(real, dequantize(out), seen) / all;
    report.error_nearest = weighted_square(real, nearest, seen) / all;
  }
  return out;
}

}  // namespace scute
