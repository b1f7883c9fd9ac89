#include "scute/quantize/gptq.h"

#include <fmt/format.h>

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "scute/base/error.h"
#include "scute/kernels/lane_products.h"
#include "scute/quantize/descent.h"
#include "scute/quantize/group_scale.h"
#include "scute/quantize/tiles.h"

namespace scute {
namespace {

// The errors of 128 inputs wait until all are known: while they pass, 128 · 32 doubles stay in the
// second cache, and a weight is read and written once for all of them.
constexpr int64_t kBlock = 128;
// Of these, 16 wait for the rest of their block.
constexpr int64_t kStep = 16;

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
  /// What squares of such values with row() lack of squares with at().
  int rest_shift() const { return -exponent_ - 2 * half_shift(); }

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

/// U of H⁻¹ = Uᵀ·U, upper triangular, as the rows of Uᵀ: row(j)[k] = U[k, j], k ≤ j.
///
/// With J the reversal, J·H·J = L·Lᵀ gives H⁻¹ = (J·L⁻¹·J)ᵀ·(J·L⁻¹·J), so U = J·L⁻¹·J: no
/// inverse of H, and no second factorization.
class Feedback {
 public:
  explicit Feedback(const Eigen::MatrixXd& inverse)
      : stride_(padded_stride(inverse.rows())),
        values_(static_cast<size_t>(inverse.rows() * stride_)) {
    // Column-major (n−1−k, n−1−j) is element n²−1 − (j·n + k).
    const double* last = inverse.data() + inverse.size() - 1;
    for (int64_t j = 0; j < inverse.rows(); ++j, last -= inverse.rows()) {
      std::reverse_copy(last - j, last + 1, values_.data() + j * stride_);
    }
  }
  const double* row(int64_t j) const { return values_.data() + j * stride_; }
  /// What the errors of inputs [begin, end) do to those of [first, last).
  MatView<const double> block(int64_t first, int64_t last, int64_t begin, int64_t end) const {
    return {row(first) + begin, last - first, end - begin, stride_};
  }

 private:
  int64_t stride_;
  std::vector<double> values_;
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
    const Eigen::MatrixXd inverse = inverse_lower(lower);
    if (inverse.allFinite()) return Feedback(inverse);
  }
  fail(where, "a Hessian that damping makes positive definite",
       fmt::format("none with {} times the mean of its diagonal", report.damping));
}

/// Outputs `first` … `first + count − 1`, side by side, in double.
OutputTile gather(MatView<const float> from, int64_t first, int64_t count) {
  OutputTile out(from.cols);
  for (int64_t lane = 0; lane < count; ++lane) {
    const float* row = from.row(first + lane);
    for (int64_t k = 0; k < from.cols; ++k) out.row(k)[lane] = static_cast<double>(row[k]);
  }
  return out;
}

/// Takes a tile of outputs through its inputs.
class TileRounder {
 public:
  /// Writes outputs first … first + count − 1 of `out`'s matrices, which others share.
  TileRounder(const Feedback& feedback, const WeightFormat& format, MatView<int8_t> codes,
              MatView<float> scales)
      : feedback_(feedback),
        format_(format),
        inputs_(codes.cols),
        group_(format.group_inputs(codes.cols)),
        codes_(codes),
        scales_(scales),
        errors_(kBlock) {}

  /// weights: of outputs first … first + count − 1.
  void operator()(OutputTile weights, int64_t first, int64_t count) {
    for (int64_t begin = 0, end = 0; begin < inputs_; begin = end) {
      end = block_end(begin);
      if (begin % group_ == 0 && !one_scale()) choose_scales(weights, begin, first, count);
      for (int64_t step = begin; step < end; step += kStep) {
        const int64_t next = std::min(step + kStep, end);
        for (int64_t k = step; k < next; ++k) {
          correct(weights, k, k + 1, step, k, begin);
          round_input(weights.row(k), k, first, count);
          const double diagonal = feedback_.row(k)[k];
          double* error = errors_.row(k - begin);
          for (int64_t lane = 0; lane < kTileOutputs; ++lane) {
            error[lane] = -(weights.row(k)[lane] / diagonal);
          }
        }
        correct(weights, next, end, step, next, begin);
      }
      correct(weights, end, inputs_, begin, end, begin);
    }
  }

 private:
  /// Inputs [first, last) make good the errors of [from, to), in their order. errors_ has those
  /// from `begin` on, negated.
  void correct(OutputTile& weights, int64_t first, int64_t last, int64_t from, int64_t to,
               int64_t begin) {
    if (first == last || from == to) return;
    add_lane_products(feedback_.block(first, last, from, to), errors_.rows(from - begin, to - from),
                      weights.rows(first, last - first));
  }

  /// Blocks never cut a group that fits in one, and end where larger groups end: when a group
  /// starts, a block does, and all its weights are corrected by all errors so far.
  int64_t block_end(int64_t begin) const {
    return std::min(begin + kBlock, (begin / group_ + 1) * group_);
  }

  bool one_scale() const { return format_.granularity == WeightFormat::Granularity::per_tensor; }

  void choose_scales(const OutputTile& weights, int64_t k, int64_t first, int64_t count) {
    std::vector<float> group(static_cast<size_t>(group_));
    for (int64_t lane = 0; lane < count; ++lane) {
      for (int64_t i = 0; i < group_; ++i) {
        group[static_cast<size_t>(i)] = to_float_range(weights.row(k + i)[lane]);
      }
      scales_.row(first + lane)[k / group_] = group_scale(group, format_.bits);
    }
  }

  /// Writes the codes of input k and leaves the differences in its place.
  void round_input(double* weights, int64_t k, int64_t first, int64_t count) {
    for (int64_t lane = 0; lane < count; ++lane) {
      const float scale = one_scale() ? scales_.row(0)[0] : scales_.row(first + lane)[k / group_];
      const Grid grid = weight_grid(format_.bits, scale);
      const int32_t code = grid.code(to_float_range(weights[lane]));
      codes_.row(first + lane)[k] = static_cast<int8_t>(code);
      weights[lane] -= static_cast<double>(grid.value(code));
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
  OutputTile errors_;  ///< of the inputs of one block, divided by the diagonal of U, negated
};

void round_all(const Tensor& weight, const Feedback& feedback, const Team& team,
               QuantizedWeight& out) {
  const auto codes = out.codes.mutable_matrix<int8_t>();
  const auto scales = out.scales.mutable_matrix<float>();
  share_tiles(team, weight.dim(0), [&](int64_t first, int64_t count) {
    TileRounder round_tile(feedback, out.format, codes, scales);
    round_tile(gather(weight.matrix<float>(), first, count), first, count);
  });
}

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

/// Per output d of `differences`: d·H·dᵀ from the upper triangle of H, 128 inputs at a time, into
/// `squares`.
class WeightedSquares {
 public:
  WeightedSquares(const OutputTile& differences, const Hessian& hessian)
      : d_(differences),
        hessian_(hessian),
        corner_(static_cast<size_t>(kBlock * kBlock)),
        right_(kBlock),
        squares_(1) {
    const int64_t n = hessian.size();
    for (int64_t begin = 0; begin < n; begin += kBlock) {
      const int64_t end = std::min(begin + kBlock, n);
      for (int64_t first = 0; first < begin; first += kBlock) {
        add(first, {hessian.row(first) + begin, kBlock, end - begin, n}, begin, end);
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
                corner_.data() + (i - begin) * kBlock + (i + 1 - begin));
    }
    return {corner_.data(), end - begin, end - begin, kBlock};
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
  const Hessian& hessian_;
  std::vector<double> corner_;
  OutputTile right_, squares_;
};

/// tr(D·H·Dᵀ) for D = weight − rounded, H scaled as Hessian::at() gives it. The sums of the outputs
/// are added in their order.
double weighted_square(const Tensor& weight, const Tensor& rounded, const Hessian& hessian,
                       const Team& team) {
  const auto w = weight.matrix<float>(), q = rounded.matrix<float>();
  const double factor = std::ldexp(1.0, hessian.half_shift());
  std::vector<double> squares(static_cast<size_t>(w.rows));
  share_tiles(team, w.rows, [&](int64_t first, int64_t count) {
    OutputTile differences = gather(w, first, count);
    for (int64_t lane = 0; lane < count; ++lane) {
      const float* row = q.row(first + lane);
      for (int64_t k = 0; k < w.cols; ++k) {
        double& d = differences.row(k)[lane];
        d = (d - static_cast<double>(row[k])) * factor;
      }
    }
    const WeightedSquares of_tile(differences, hessian);
    for (int64_t lane = 0; lane < count; ++lane) {
      squares[static_cast<size_t>(first + lane)] = of_tile[lane];
    }
  });
  double sum = 0;
  for (const double square : squares) sum += square;
  return std::ldexp(sum, hessian.rest_shift());
}

}  // namespace

QuantizedWeight quantize_gptq(const Tensor& weight, MatView<const double> hessian,
                              const WeightFormat& format, std::string_view where,
                              GptqReport& report, Descent descent, const Team& team) {
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
  round_all(live, factorize(seen, where, report), team, out);
  const std::optional<double> seen_by_descent =
      descent == Descent::on ? descend(live, hessian, report.damping, out, team) : std::nullopt;
  if (format.two_level) add_channel_scales(out);
  const double all = weighted_square(real, Tensor(DType::f32, real.shape()), seen, team);
  if (!(all > 0)) return out;
  // The descent knows what is left of the weights that it saw, in the codes of the first level.
  const bool known = seen_by_descent && !format.two_level && report.dead == 0;
  const double left =
      known ? seen_by_descent.value_or(0) : weighted_square(real, dequantize(out), seen, team);
  const Tensor nearest = dequantize(quantize_nearest(real, format, where, team));
  report.error = left / all;
  report.error_nearest = weighted_square(real, nearest, seen, team) / all;
  return out;
}

}  // namespace scute
