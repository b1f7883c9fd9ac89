// Coordinate descent on the codes of a weight: what GPTQ leaves on the table.
#pragma once

#include <cstdint>
#include <vector>

#include "scute/base/threads.h"
#include "scute/quantize/weight.h"

namespace scute {

/// What is gone down on: the whole symmetric matrix with its damping, times the power of two that
/// brings its largest diagonal element into [0.5, 1); rows and columns of dead inputs are zero.
struct DescentMetric {
  int64_t n, stride;
  double damping = 0;  ///< what was added to the diagonal: a share of its mean
  std::vector<double> values;

  /// hessian: its upper triangle is read, and copied.
  DescentMetric(MatView<const double> hessian, double share);
  double& at(int64_t i, int64_t j) { return values[static_cast<size_t>(i * stride + j)]; }
  const double* row(int64_t i) const { return values.data() + i * stride; }
  MatView<const double> block(int64_t first, int64_t last, int64_t begin, int64_t end) const {
    return {row(first) + begin, last - first, end - begin, stride};
  }
};

/// Lowers tr((W − Q)·(H + λI)·(W − Q)ᵀ), λ = damping · mean diagonal: each code in turn takes the
/// value that is best while all others stay as they are (QuantEase, Behdin et al. 2023, §3), each
/// 4-bit scale then its least-squares value, in half precision; up to four rounds, or until nothing
/// changes. Never raises it. GPTQ decides each code once and knows only the codes before it.
/// weight: outputs × inputs, f32; one scale for all of them is left alone. Outputs do not influence
/// each other; `team` helps with them. A tile of outputs takes 256 bytes for every input and group.
/// Adds (W − Q)·H·(W − Q)ᵀ of each output to `left`, in their order, H as scaled in the metric.
void descend(const Tensor& weight, const DescentMetric& metric, QuantizedWeight& out,
             const Team& team, double& left);

}  // namespace scute
