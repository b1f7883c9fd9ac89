// What GPTQ corrects weights by: the triangular factor of a Hessian's inverse. Internal to this
// layer.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "scute/base/threads.h"
#include "scute/quantize/scaled_hessian.h"
#include "scute/quantize/tiles.h"

namespace scute {

/// U of H⁻¹ = Uᵀ·U, upper triangular, as the rows of Uᵀ: row(j)[k] = U[k, j], k ≤ j.
class Feedback {
 public:
  /// Of H with `damping` on its diagonal, where a dead input has the mean and depends on no other;
  /// nothing when that is not positive definite, or U not finite. By Cholesky's method and forward
  /// substitution in double, each product and each sum rounded, in the order of plain loops: the
  /// same bits on every instruction set and for any number of threads of `team`. One matrix of
  /// inputs² doubles lives beside this meanwhile.
  static std::optional<Feedback> of(const ScaledHessian& hessian, double damping, const Team& team);

  const double* row(int64_t j) const { return values_.data() + j * stride_; }
  /// What the errors of inputs [begin, end) do to those of [first, last).
  MatView<const double> block(int64_t first, int64_t last, int64_t begin, int64_t end) const {
    return {row(first) + begin, last - first, end - begin, stride_};
  }

 private:
  explicit Feedback(int64_t n)
      : stride_(padded_stride(n)), values_(static_cast<size_t>(n * stride_)) {}

  int64_t stride_;
  std::vector<double> values_;
};

}  // namespace scute
