#include "scute/quantize/descent.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "scute/kernels/lane_changes.h"
#include "scute/kernels/lane_products.h"
#include "scute/quantize/group_scale.h"
#include "scute/quantize/tiles.h"

namespace scute {
namespace {

constexpr int kRounds = 4;
// Inputs whose changes wait for most gradients: 64 · 32 doubles are half of a small first cache,
// and what does not wait is 4 to 8 % of the work. As many as lane_changes.h takes.
constexpr int64_t kBlock = kMostChanges;

/// Outputs side by side on their way down. Each goes alone through its inputs in their order; an
/// input's change reaches the gradients of its block at once and all others when the block ends,
/// for each in the order of the inputs. Of 4-bit codes H·codes is kept for every group: a new scale
/// changes the gradients by a multiple of that, and each round else would cost a whole product.
class DescentTile {
 public:
  DescentTile(const DescentMetric& metric, const WeightFormat& format, int64_t first, int64_t count,
              MatView<int8_t> codes, MatView<float> scales)
      : metric_(metric),
        bits_(format.bits),
        group_(format.group_inputs(metric.n)),
        first_(first),
        count_(count),
        to_codes_(codes),
        to_scales_(scales),
        codes_(metric.n),
        scales_(static_cast<size_t>(metric.n / group_ * kTileOutputs), 1.0f),
        gradient_(metric.n),
        changes_(kBlock),
        products_(bits_ == 4 ? metric.n / group_ * metric.n : 0) {
    for (int64_t lane = 0; lane < count; ++lane) {
      const int8_t* row = codes.row(first + lane);
      for (int64_t k = 0; k < metric.n; ++k) codes_.row(k)[lane] = row[k];
      for (int64_t g = 0; g < metric.n / group_; ++g) {
        scales_of(g)[lane] = scales.row(first + lane)[g];
      }
    }
  }

  /// Writes codes and scales, and of each output d·H·dᵀ into `squares`.
  void run(MatView<const float> weights, double* squares) {
    start(weights);
    for (int round = 0; round < kRounds; ++round) {
      const bool codes_changed = improve_codes();
      // A scale of 8 bits stays what the range says; a step there is too small to matter.
      const bool scales_changed = bits_ == 4 && improve_scales();
      // An output that nothing was better for finds nothing better later either.
      if (!codes_changed && !scales_changed) break;
    }
    for (int64_t lane = 0; lane < count_; ++lane) {
      int8_t* row = to_codes_.row(first_ + lane);
      for (int64_t k = 0; k < metric_.n; ++k) row[k] = static_cast<int8_t>(codes_.row(k)[lane]);
      for (int64_t g = 0; g < metric_.n / group_; ++g) {
        to_scales_.row(first_ + lane)[g] = scales_of(g)[lane];
      }
      squares[first_ + lane] = square(weights.row(first_ + lane), lane);
    }
  }

 private:
  float* scales_of(int64_t group) { return scales_.data() + group * kTileOutputs; }
  const float* scales_of(int64_t group) const { return scales_.data() + group * kTileOutputs; }
  /// H·codes of one group, inputs × lanes.
  MatView<double> products_of(int64_t group) {
    return products_.rows(group * metric_.n, metric_.n);
  }
  static double value(double code, float scale) {
    return static_cast<double>(static_cast<float>(code) * scale);
  }

  double difference(const float* weights, int64_t k, int64_t lane) const {
    return static_cast<double>(weights[k]) -
           value(codes_.row(k)[lane], scales_of(k / group_)[lane]);
  }

  /// The gradients of W − Q.
  void start(MatView<const float> weights) {
    for (int64_t begin = 0; begin < metric_.n; begin += kBlock) {
      const int64_t end = std::min(begin + kBlock, metric_.n);
      for (int64_t lane = 0; lane < count_; ++lane) {
        const float* row = weights.row(first_ + lane);
        for (int64_t k = begin; k < end; ++k) {
          changes_.row(k - begin)[lane] = difference(row, k, lane);
        }
      }
      add_lane_products(metric_.block(0, metric_.n, begin, end), changes_.rows(0, end - begin),
                        gradient_.rows(0, metric_.n));
    }
    for (int64_t g = 0; bits_ == 4 && g < metric_.n / group_; ++g) {
      add_lane_products(metric_.block(0, metric_.n, g * group_, (g + 1) * group_),
                        codes_.rows(g * group_, group_), products_of(g));
    }
  }

  /// d·H·dᵀ without the damping, from the gradient.
  double square(const float* weights, int64_t lane) const {
    double out = 0;
    for (int64_t k = 0; k < metric_.n; ++k) {
      const double d = difference(weights, k, lane);
      out += d * (gradient_.row(k)[lane] - metric_.damping * d);
    }
    return out;
  }

  bool improve_codes() {
    bool changed = false;
    for (int64_t begin = 0, end = 0; begin < metric_.n; begin = end) {
      end = std::min(begin + kBlock, (begin / group_ + 1) * group_);
      const MatView<double> inside = gradient_.rows(begin, end - begin);
      bool any = false;
      for (int64_t k = begin; k < end; ++k) {
        if (!improve_input(k, changes_.row(k - begin))) continue;
        any = true;
        add_lane_products(metric_.block(begin, end, k, k + 1), changes_.rows(k - begin, 1), inside);
      }
      if (any) spread_codes(begin, end);
      changed = changed || any;
    }
    return changed;
  }

  /// What changed in the block [begin, end), to all gradients but its own, and to the products.
  void spread_codes(int64_t begin, int64_t end) {
    const MatView<double> changes = changes_.rows(0, end - begin);
    const auto rows_outside = [&](const auto& add) {
      add(0, begin);
      add(end, metric_.n);
    };
    if (bits_ != 4) {
      return rows_outside([&](int64_t first, int64_t last) {
        add_lane_changes(metric_.block(first, last, begin, end), changes,
                         gradient_.rows(first, last - first));
      });
    }
    // Once, as changes of codes: value = code · scale is exact, of 4 and 11 bits.
    const float* scales = scales_of(begin / group_);
    std::array<double, kTileOutputs> fall{};
    for (size_t lane = 0; lane < fall.size(); ++lane)
      fall[lane] = -static_cast<double>(scales[lane]);
    for (int64_t k = 0; k < changes.rows; ++k) {
      for (size_t lane = 0; lane < fall.size(); ++lane) changes.row(k)[lane] /= fall[lane];
    }
    const MatView<double> products = products_of(begin / group_);
    rows_outside([&](int64_t first, int64_t last) {
      add_lane_changes(metric_.block(first, last, begin, end), changes,
                       products.slice_rows(first, last - first), fall.data(),
                       gradient_.rows(first, last - first));
    });
    add_lane_changes(metric_.block(begin, end, begin, end), changes,
                     products.slice_rows(begin, end - begin));
  }

  /// The codes of input k, and what its differences grow by.
  bool improve_input(int64_t k, double* changes) {
    std::fill_n(changes, kTileOutputs, 0.0);
    const double curvature = metric_.row(k)[k];
    if (curvature <= 0) return false;
    const double* gradient = gradient_.row(k);
    const float* scales = scales_of(k / group_);
    double* codes = codes_.row(k);
    bool changed = false;
    for (int64_t lane = 0; lane < count_; ++lane) {
      // Where the sum would be least if this weight could take any value.
      const double now = value(codes[lane], scales[lane]);
      const double wanted = now + gradient[lane] / curvature;
      const double code = weight_grid(bits_, scales[lane]).code(static_cast<float>(wanted));
      if (code == codes[lane]) continue;
      const double change = now - value(code, scales[lane]);
      // Rounding decides at the middle in float; only a real improvement is taken.
      if (change * (2 * gradient[lane] + change * curvature) >= 0) continue;
      codes[lane] = code;
      changes[lane] = change;
      changed = true;
    }
    return changed;
  }

  bool improve_scales() {
    bool changed = false;
    for (int64_t g = 0; g < metric_.n / group_; ++g) changed = improve_scale(g) || changed;
    return changed;
  }

  /// The scales of one group, and what the gradients grow by.
  bool improve_scale(int64_t g) {
    const MatView<const double> products = products_of(g);
    std::array<double, kTileOutputs> slope{}, curvature{}, fall{};
    for (int64_t k = g * group_; k < (g + 1) * group_; ++k) {
      for (size_t lane = 0; lane < slope.size(); ++lane) {
        slope[lane] += codes_.row(k)[lane] * gradient_.row(k)[lane];
        curvature[lane] += codes_.row(k)[lane] * products.row(k)[lane];
      }
    }
    bool changed = false;
    float* scales = scales_of(g);
    for (size_t lane = 0; lane < slope.size(); ++lane) {
      const double scale = static_cast<double>(scales[lane]);
      const double better = better_scale(scale, slope[lane], curvature[lane]);
      fall[lane] = scale - better;
      scales[lane] = static_cast<float>(better);
      changed = changed || fall[lane] != 0;
    }
    if (changed) add_scaled_lanes(products, fall.data(), gradient_.rows(0, metric_.n));
    return changed;
  }

  static double better_scale(double scale, double slope, double curvature) {
    if (curvature <= 0) return scale;
    const double better = static_cast<double>(half_scale(scale + slope / curvature));
    const double step = better - scale;
    return step == 0 || step * (step * curvature - 2 * slope) >= 0 ? scale : better;
  }

  const DescentMetric& metric_;
  int bits_;
  int64_t group_, first_, count_;
  MatView<int8_t> to_codes_;
  MatView<float> to_scales_;
  OutputTile codes_;  ///< whole numbers; zero in lanes beyond count_
  std::vector<float>
      scales_;  ///< groups × kTileOutputs; ones beyond count_: changes are divided by them
  OutputTile gradient_;  ///< (W − Q)·H
  OutputTile changes_;   ///< of the differences, of one block
  OutputTile products_;  ///< groups · inputs: H·codes; empty for 8 bits
};

}  // namespace

DescentMetric::DescentMetric(MatView<const double> hessian, double share)
    : n(hessian.rows), stride(padded_stride(n)), values(static_cast<size_t>(n * stride)) {
  double largest = 0, sum = 0;
  int64_t live = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, hessian.row(i)[i]);
  int exponent = 0;
  std::frexp(largest, &exponent);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i; j < n; ++j) {
      at(i, j) = at(j, i) = std::ldexp(hessian.row(i)[j], -exponent);
    }
    sum += at(i, i);
    live += at(i, i) != 0 ? 1 : 0;
  }
  if (live > 0) damping = share * sum / static_cast<double>(live);
  for (int64_t i = 0; i < n; ++i) {
    if (at(i, i) != 0) at(i, i) += damping;
  }
}

void descend(const Tensor& weight, const DescentMetric& metric, QuantizedWeight& out,
             const Team& team, double& left) {
  if (out.format.granularity == WeightFormat::Granularity::per_tensor) return;
  const auto weights = weight.matrix<float>();
  const auto codes = out.codes.mutable_matrix<int8_t>();
  const auto scales = out.scales.mutable_matrix<float>();
  std::vector<double> squares(static_cast<size_t>(weights.rows));
  share_tiles(team, weights.rows, [&](int64_t first, int64_t count) {
    DescentTile(metric, out.format, first, count, codes, scales).run(weights, squares.data());
  });
  for (const double square : squares) left += square;
}

}  // namespace scute
