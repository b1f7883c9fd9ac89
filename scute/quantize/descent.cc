#include "scute/quantize/descent.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "scute/quantize/group_scale.h"

namespace scute {
namespace {

constexpr int kRounds = 4;

/// The whole symmetric matrix with its damping, times a power of two that keeps squares in range;
/// rows and columns of dead inputs are zero.
struct Metric {
  int64_t n;
  std::vector<double> values;

  Metric(MatView<const double> upper, double damping)
      : n(upper.rows), values(static_cast<size_t>(n * n)) {
    double largest = 0, sum = 0;
    int64_t live = 0;
    for (int64_t i = 0; i < n; ++i) largest = std::max(largest, upper.row(i)[i]);
    int exponent = 0;
    std::frexp(largest, &exponent);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = i; j < n; ++j) {
        at(i, j) = at(j, i) = std::ldexp(upper.row(i)[j], -exponent);
      }
      sum += at(i, i);
      live += at(i, i) != 0 ? 1 : 0;
    }
    for (int64_t i = 0; i < n && live > 0; ++i) {
      if (at(i, i) != 0) at(i, i) += damping * sum / static_cast<double>(live);
    }
  }
  double& at(int64_t i, int64_t j) { return values[static_cast<size_t>(i * n + j)]; }
  const double* row(int64_t i) const { return values.data() + i * n; }
};

/// One output on its way down.
class Output {
 public:
  Output(const Metric& metric, int bits, const float* weight, int64_t group, int8_t* codes,
         float* scales)
      : metric_(metric),
        bits_(bits),
        group_(group),
        codes_(codes),
        scales_(scales),
        difference_(static_cast<size_t>(metric.n)),
        gradient_(static_cast<size_t>(metric.n)) {
    for (int64_t k = 0; k < metric.n; ++k) {
      difference_[static_cast<size_t>(k)] =
          static_cast<double>(weight[k]) - static_cast<double>(value(k));
    }
    for (int64_t k = 0; k < metric.n; ++k) add_row(k, difference_[static_cast<size_t>(k)]);
  }

  void run() {
    for (int round = 0; round < kRounds; ++round) {
      const bool codes_changed = improve_codes();
      // A scale of 8 bits stays what the range says; a step there is too small to matter.
      const bool scales_changed = bits_ == 4 && improve_scales();
      if (!codes_changed && !scales_changed) return;
    }
  }

 private:
  float value(int64_t k) const { return static_cast<float>(codes_[k]) * scales_[k / group_]; }

  /// The difference at input k grows by `change`.
  void add_row(int64_t k, double change) {
    if (change == 0) return;
    const double* row = metric_.row(k);
    for (size_t j = 0; j < gradient_.size(); ++j) gradient_[j] += change * row[j];
  }

  bool improve_codes() {
    bool changed = false;
    for (int64_t k = 0; k < metric_.n; ++k) {
      const double curvature = metric_.row(k)[k];
      if (curvature <= 0) continue;
      const auto at = static_cast<size_t>(k);
      // Where the sum would be least if this weight could take any value.
      const double wanted = static_cast<double>(value(k)) + gradient_[at] / curvature;
      const Grid grid = weight_grid(bits_, scales_[k / group_]);
      const auto code = static_cast<int8_t>(grid.code(static_cast<float>(wanted)));
      if (code == codes_[k]) continue;
      const double change = static_cast<double>(value(k)) - static_cast<double>(grid.value(code));
      // Rounding decides at the middle in float; only a real improvement is taken.
      if (change * (2 * gradient_[at] + change * curvature) >= 0) continue;
      codes_[k] = code;
      difference_[at] += change;
      add_row(k, change);
      changed = true;
    }
    return changed;
  }

  bool improve_scales() {
    bool changed = false;
    for (int64_t first = 0; first < metric_.n; first += group_) {
      double slope = 0, curvature = 0;
      for (int64_t k = first; k < first + group_; ++k) {
        const double code = codes_[k];
        if (code == 0) continue;
        slope += code * gradient_[static_cast<size_t>(k)];
        double sum = 0;
        for (int64_t j = first; j < first + group_; ++j) sum += metric_.row(k)[j] * codes_[j];
        curvature += code * sum;
      }
      if (curvature <= 0) continue;
      float& scale = scales_[first / group_];
      const float better = half_scale(static_cast<double>(scale) + slope / curvature);
      const double step = static_cast<double>(better) - static_cast<double>(scale);
      if (step == 0 || step * (step * curvature - 2 * slope) >= 0) continue;
      for (int64_t k = first; k < first + group_; ++k) {
        const double before = static_cast<double>(value(k));
        const double change = before - static_cast<double>(static_cast<float>(codes_[k]) * better);
        difference_[static_cast<size_t>(k)] += change;
        add_row(k, change);
      }
      scale = better;
      changed = true;
    }
    return changed;
  }

  const Metric& metric_;
  int bits_;
  int64_t group_;
  int8_t* codes_;
  float* scales_;
  std::vector<double> difference_;  ///< W − Q
  std::vector<double> gradient_;    ///< (W − Q)·H
};

}  // namespace

void descend(const Tensor& weight, MatView<const double> hessian, double damping,
             QuantizedWeight& out) {
  if (out.format.granularity == WeightFormat::Granularity::per_tensor) return;
  const Metric metric(hessian, damping);
  const auto weights = weight.matrix<float>();
  const auto codes = out.codes.mutable_matrix<int8_t>();
  const auto scales = out.scales.mutable_matrix<float>();
  const int64_t group = out.format.group_inputs(out.inputs());
  for (int64_t o = 0; o < weights.rows; ++o) {
    Output(metric, out.format.bits, weights.row(o), group, codes.row(o), scales.row(o)).run();
  }
}

}  // namespace scute
