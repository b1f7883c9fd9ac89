// Folding a norm's weight into the matrix that follows, and Hadamard rotations of matrices.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "scute/tensor/tensor.h"

namespace scute {

// All in double, rounded once to f32. T is the transform of kernels/hadamard.h.

/// Whether there is a T of this width.
bool can_rotate(int64_t width);

/// A linear map W as it is changed step by step; outputs × inputs.
class MatrixEdit {
 public:
  explicit MatrixEdit(const Tensor& weight);

  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  /// W ← W · diag(factors): what scaled the input is now done by W.
  MatrixEdit& scale_inputs(std::span<const float> factors);
  /// W ← W · Tᵀ: for an input that is rotated (every row becomes T(row)).
  MatrixEdit& rotate_inputs();
  /// W ← T · W: rotates the output (every column becomes T(column)).
  MatrixEdit& rotate_outputs();
  MatrixEdit& unrotate_inputs();
  MatrixEdit& unrotate_outputs();
  /// Column i becomes what column order[i] was.
  MatrixEdit& permute_inputs(std::span<const int32_t> order);

  /// f32, outputs × inputs.
  Tensor tensor() const;

 private:
  int64_t outputs_, inputs_;
  std::vector<double> values_;
};

/// The Hessian Σ x·xᵀ of x becomes that of T(diag(1/factors)·P·x), each step if it is asked for
/// (empty spans, false: not). P takes element order[i] to place i. An input whose factor is 0 gets
/// a zero row and column: it is dead. values: n × n; the upper triangle is read, both are written.
/// Error when an order, factors or a rotation do not fit n.
struct HessianEdit {
  std::span<const int32_t> order = {};
  std::span<const float> factors = {};  ///< in the new order
  bool rotate = false;
};
void edit_hessian(MatView<double> values, const HessianEdit& edit);

}  // namespace scute
