// One layer of the regressor where quantization may act.
#pragma once

#include <variant>
#include <vector>

#include "scute/models/regressor/product.h"
#include "scute/models/run.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// y = x·Wᵀ + b, and the site of x. Who calls it neither knows nor asks how W is stored.
class RegressorLayer {
 public:
  RegressorLayer();
  RegressorLayer(const RegressorLayer&);
  RegressorLayer(RegressorLayer&&) noexcept;
  RegressorLayer& operator=(const RegressorLayer&);
  RegressorLayer& operator=(RegressorLayer&&) noexcept;
  ~RegressorLayer();
  /// weight: outputs × inputs; bias: outputs, or empty for none. Error when the rounding of this
  /// layer does not fit.
  RegressorLayer(Site input, const Tensor& weight, const Tensor& bias,
                 const RegressorArithmetic& arithmetic);

  int64_t outputs() const { return outputs_; }

  /// Shows x, then y = x·Wᵀ + b. x: L × inputs, y: L × outputs. The bits of a row of y depend on
  /// that row of x alone.
  void operator()(Run& run, MatView<const float> x, MatView<float> y) const;
  /// The two steps alone, for a layer whose rows are put together from what is shown.
  void show(Run& run, MatView<const float> x) const;
  void multiply(Run& run, MatView<const float> x, MatView<float> y) const;
  int64_t bytes() const;

 private:
  Site input_;
  int64_t outputs_ = 0;
  std::variant<FloatProduct, RoundedProduct, CodeProduct> product_;
  std::vector<float> bias_;
};

/// Shows a copy of `x`, which may be the caller's data, if anybody wants it.
void show_copy(Run& run, const Site& site, MatView<const float> x);

}  // namespace scute
