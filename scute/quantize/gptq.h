// GPTQ (Frantar et al. 2023): weights rounded one input at a time, the error of each made good by
// the inputs that follow.
#pragma once

#include <cstdint>
#include <string_view>

#include "scute/base/threads.h"
#include "scute/quantize/weight.h"

namespace scute {

/// How the rounding of one matrix went.
struct GptqReport {
  double damping = 0;  ///< added to the Hessian's diagonal, as a share of its mean
  int attempts = 1;    ///< 0.01 first, ten times as much until the Cholesky factors exist
  int64_t dead = 0;    ///< inputs that were never other than zero: their weights become 0
  /// tr((W − Q)·H·(W − Q)ᵀ) / tr(W·H·Wᵀ), of this result and of rounding to nearest.
  double error = 0, error_nearest = 0;
};

/// Whether coordinate descent (descent.h) follows: on tiny-mamba1 it takes a tenth off the error.
enum class Descent { off, on };

/// weight: outputs × inputs; hessian: inputs × inputs, Σ x·xᵀ over the calibration tokens
/// (a factor does not matter), of which the upper triangle is read. All in double. Scales as
/// quantize_nearest() chooses them, those of a group from its weights as already corrected.
/// Whatever the rows are, each is treated alone: the same bytes for any number of threads. `team`
/// helps with the outputs; the factorization takes one thread. Of inputs² doubles, four matrices
/// live at most, the Hessian among them. Error
/// naming `where` when the Hessian is not finite or has another size; one that is not positive
/// definite is damped further, and reported.
QuantizedWeight quantize_gptq(const Tensor& weight, MatView<const double> hessian,
                              const WeightFormat& format, std::string_view where,
                              GptqReport& report, Descent descent = Descent::on,
                              const Team& team = {});

}  // namespace scute
