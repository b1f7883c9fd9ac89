#include "scute/quantize/gptq.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "scute/base/error.h"
#include "scute/kernels/lane_products.h"
#include "scute/quantize/descent.h"
#include "scute/quantize/feedback.h"
#include "scute/quantize/group_scale.h"
#include "scute/quantize/scaled_hessian.h"
#include "scute/quantize/tiles.h"

namespace scute {
namespace {

// The errors of 128 inputs wait until all are known: while they pass, 128 · 32 doubles stay in the
// second cache, and a weight is read and written once for all of them.
constexpr int64_t kErrors = 128;
// Of these, 16 wait for the rest of their block.
constexpr int64_t kErrorsOfStep = 16;

Feedback factorize(const ScaledHessian& hessian, std::string_view where, const Team& team,
                   GptqReport& report) {
  constexpr double kFirst = 0.01, kMost = 1.5e6;
  report.attempts = 0;
  for (double share = kFirst; share < kMost; share *= 10) {
    ++report.attempts;
    report.damping = share;
    auto feedback = Feedback::of(hessian, share * hessian.mean(), team);
    if (feedback) return *std::move(feedback);
  }
  fail(where, "a Hessian that damping makes positive definite",
       fmt::format("none with {} times the mean of its diagonal", report.damping));
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
        errors_(kErrors) {}

  /// weights: of outputs first … first + count − 1.
  void operator()(OutputTile weights, int64_t first, int64_t count) {
    for (int64_t begin = 0, end = 0; begin < inputs_; begin = end) {
      end = block_end(begin);
      if (begin % group_ == 0 && !one_scale()) choose_scales(weights, begin, first, count);
      for (int64_t step = begin; step < end; step += kErrorsOfStep) {
        const int64_t next = std::min(step + kErrorsOfStep, end);
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
    return std::min(begin + kErrors, (begin / group_ + 1) * group_);
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
    round_tile(gather_outputs(weight.matrix<float>(), first, count), first, count);
  });
}

/// The weight without its dead inputs.
Tensor without_dead(const Tensor& weight, const ScaledHessian& hessian) {
  if (hessian.live() == hessian.size()) return weight;
  Tensor out = Tensor::of<float>(weight.shape(), weight.values<float>());
  const MatView<float> values = out.mutable_matrix<float>();
  for (int64_t k = 0; k < hessian.size(); ++k) {
    for (int64_t o = 0; hessian.dead(k) && o < values.rows; ++o) values.row(o)[k] = 0;
  }
  return out;
}

ScaledHessian checked_hessian(MatView<const double> values, int64_t inputs,
                              const WeightFormat& format, std::string_view where) {
  format.check(inputs, where);
  return ScaledHessian(values, inputs, where);
}

}  // namespace

struct Gptq::Work {
  Work(MatView<const double> values, int64_t inputs, const WeightFormat& how,
       std::string_view where, Descent descent, const Team& team)
      : format(how),
        hessian(checked_hessian(values, inputs, how, where)),
        feedback(factorize(hessian, where, team, report)) {
    report.dead = inputs - hessian.live();
    if (descent == Descent::on && !one_scale()) metric.emplace(values, report.damping);
  }

  bool one_scale() const { return format.granularity == WeightFormat::Granularity::per_tensor; }
  /// Whether the descent's own squares are those of the weights as they came and of the codes as
  /// they are multiplied by.
  bool descent_knows() const { return metric && !format.two_level && report.dead == 0; }

  WeightFormat format;
  GptqReport report;  ///< but for the errors
  ScaledHessian hessian;
  Feedback feedback;
  std::optional<DescentMetric> metric;
  float largest = 0, largest_live = 0;  ///< magnitudes that see() saw, and those of live inputs
  /// Sums over the outputs so far: of the weights, of what is left, and of rounding to nearest.
  double all = 0, left = 0, nearest = 0;
};

Gptq::Gptq(MatView<const double> hessian, int64_t inputs, const WeightFormat& format,
           std::string_view where, Descent descent, const Team& team)
    : work_(std::make_unique<Work>(hessian, inputs, format, where, descent, team)) {}

Gptq::~Gptq() = default;

void Gptq::see(const Tensor& weight, std::string_view where) {
  const Tensor real = finite_weight(weight, where);
  work_->largest = std::max(work_->largest, largest_magnitude(real));
  work_->largest_live =
      std::max(work_->largest_live, largest_magnitude(without_dead(real, work_->hessian)));
}

QuantizedWeight Gptq::round(const Tensor& weight, std::string_view where, const Team& team) {
  Work& w = *work_;
  const Tensor real = finite_weight(weight, where);
  const Tensor live = without_dead(real, w.hessian);
  QuantizedWeight out = empty_weight(real.dim(0), real.dim(1), w.format);
  if (w.one_scale()) {
    out.scales.mutable_values<float>()[0] = group_scale({&w.largest_live, 1}, w.format.bits);
  }
  round_all(live, w.feedback, team, out);
  double of_descent = w.left;
  if (w.metric) descend(live, *w.metric, out, team, of_descent);
  if (w.format.two_level) add_channel_scales(out);
  add_weighted_squares(real, nullptr, w.hessian, team, w.all);
  if (w.descent_knows()) {
    w.left = of_descent;
  } else {
    const Tensor rounded = dequantize(out);
    add_weighted_squares(real, &rounded, w.hessian, team, w.left);
  }
  const Tensor nearest = dequantize(quantize_nearest(real, w.format, where, team, w.largest));
  add_weighted_squares(real, &nearest, w.hessian, team, w.nearest);
  return out;
}

GptqReport Gptq::report() const {
  GptqReport out = work_->report;
  const auto scaled = [&](double sum) { return std::ldexp(sum, work_->hessian.rest_shift()); };
  const double all = scaled(work_->all);
  if (!(all > 0)) return out;
  out.error = (work_->descent_knows() ? work_->left : scaled(work_->left)) / all;
  out.error_nearest = scaled(work_->nearest) / all;
  return out;
}

QuantizedWeight quantize_gptq(const Tensor& weight, MatView<const double> hessian,
                              const WeightFormat& format, std::string_view where,
                              GptqReport& report, Descent descent, const Team& team) {
  const Tensor real = finite_weight(weight, where);
  Gptq gptq(hessian, real.dim(1), format, where, descent, team);
  if (format.granularity == WeightFormat::Granularity::per_tensor) gptq.see(real, where);
  QuantizedWeight out = gptq.round(real, where, team);
  report = gptq.report();
  return out;
}

}  // namespace scute
