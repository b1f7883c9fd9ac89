// GPTQ (Frantar et al. 2023): weights rounded one input at a time, the error of each made good by
// the inputs that follow.
#pragma once

#include <cstdint>
#include <memory>
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

/// One matrix, whose outputs come all at once or some after the others: the codes, scales and the
/// report are the same to the bit, for each output is treated alone.
class Gptq {
 public:
  /// hessian: inputs × inputs, Σ x·xᵀ over the calibration tokens (a factor does not matter), of
  /// which the upper triangle is read; it must live as long as this. All in double; beside it two
  /// matrices of inputs² doubles live at most. Damped until it is positive definite, and
  /// factorized, which `team` helps with. Error naming `where` when it is not finite or has another
  /// size, or when the format does not fit.
  Gptq(MatView<const double> hessian, int64_t inputs, const WeightFormat& format,
       std::string_view where, Descent descent = Descent::on, const Team& team = {});
  ~Gptq();
  Gptq(const Gptq&) = delete;
  Gptq& operator=(const Gptq&) = delete;

  /// Of one scale for all outputs alone, whose every output is to be seen before the first is
  /// rounded. weight: some outputs × inputs.
  void see(const Tensor& weight, std::string_view where);
  /// weight: the next outputs × inputs. Scales as quantize_nearest() chooses them, those of a group
  /// from its weights as already corrected. The same bytes for any number of threads; `team` helps
  /// with the outputs. Error naming `where` for weights that are not finite.
  QuantizedWeight round(const Tensor& weight, std::string_view where, const Team& team = {});
  /// Of the outputs so far.
  GptqReport report() const;

 private:
  struct Work;
  std::unique_ptr<Work> work_;
};

/// All outputs at once.
QuantizedWeight quantize_gptq(const Tensor& weight, MatView<const double> hessian,
                              const WeightFormat& format, std::string_view where,
                              GptqReport& report, Descent descent = Descent::on,
                              const Team& team = {});

}  // namespace scute
