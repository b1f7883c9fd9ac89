// A Hessian as GPTQ uses it, and squares weighted by it: internal to this layer.
#pragma once

#include <cstdint>
#include <string_view>

#include "scute/base/threads.h"
#include "scute/quantize/tiles.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// The Hessian as it is used: its upper triangle, times a power of two that brings the largest
/// diagonal element into [0.5, 1), so that a factor of it does not matter even near overflow.
class ScaledHessian {
 public:
  /// Error naming `where` when it is of another size, not finite, or of no positive diagonal.
  ScaledHessian(MatView<const double> values, int64_t inputs, std::string_view where);

  int64_t size() const { return values_.rows; }
  int64_t live() const { return live_; }
  /// Mean of the diagonal over the inputs that are not dead; 1 when all are.
  double mean() const { return mean_; }
  bool dead(int64_t i) const { return row(i)[i] == 0; }
  /// Row i from its diagonal on, as it came.
  const double* row(int64_t i) const { return values_.row(i); }
  /// Element (i, j), j ≥ i, times 2^−exponent.
  double at(int64_t i, int64_t j) const;
  /// Values times 2 to this power have squares, weighted by row(), that neither over- nor
  /// underflow.
  int half_shift() const { return -exponent_ / 2; }
  /// What squares of such values with row() lack of squares with at().
  int rest_shift() const { return -exponent_ - 2 * half_shift(); }

 private:
  void check(int64_t inputs, std::string_view where) const;

  MatView<const double> values_;
  int exponent_ = 0;
  double mean_ = 1;
  int64_t live_ = 0;
};

/// Outputs `first` … `first + count − 1`, side by side, in double.
OutputTile gather_outputs(MatView<const float> from, int64_t first, int64_t count);

/// Adds d·H·dᵀ of each output of D = weight − rounded to `sum`, in their order, H and D scaled as
/// ScaledHessian::half_shift() says. `rounded`: null for zeroes.
void add_weighted_squares(const Tensor& weight, const Tensor* rounded, const ScaledHessian& hessian,
                          const Team& team, double& sum);

}  // namespace scute
