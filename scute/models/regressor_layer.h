// One layer of the regressor where quantization may act.
#pragma once

#include <vector>

#include "scute/kernels/gemm.h"
#include "scute/models/run.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// y = x·Wᵀ + b, and the site of x. Who calls it neither knows nor asks how W is stored.
class RegressorLayer {
 public:
  RegressorLayer() = default;
  /// weight: outputs × inputs; bias: outputs, or empty for none.
  RegressorLayer(Site input, const Tensor& weight, const Tensor& bias, Compute compute);

  int64_t outputs() const { return parts_.empty() ? 0 : parts_.front().outputs(); }
  const Site& input() const { return input_; }

  /// Shows x, then y = x·Wᵀ + b. x: L × inputs, y: L × outputs. The bits of a row of y depend on
  /// that row of x alone.
  void operator()(Run& run, MatView<const float> x, MatView<float> y) const;
  /// The two steps alone, for a layer whose rows are put together from what is shown.
  void show(Run& run, MatView<const float> x) const;
  void multiply(Run& run, MatView<const float> x, MatView<float> y) const;
  int64_t bytes() const;

 private:
  Site input_;
  /// Products of column ranges of W, side by side. The error of a float sum grows with the size of
  /// its partial sums, so that proj's 2100 products in one go cost 2e-6 in the positions; the sum
  /// of 9 sums costs a third of that.
  std::vector<Gemm> parts_;
  std::vector<float> bias_;
};

}  // namespace scute
