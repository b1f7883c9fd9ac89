// How a low-bit model is meant and executed, beyond what its tensors say.
#pragma once

#include <cstdint>
#include <memory>

#include "scute/kernels/causal_attention.h"
#include "scute/kernels/gemm.h"
#include "scute/tensor/packed_memory.h"

namespace scute {

/// Two executions of the same 8-bit checkpoint: int8 products summed in int32, or float arithmetic
/// on the same rounded values. Sums below 2^24 are exact in both, and then the outputs are the same
/// bits.
enum class Backend { integer, simulate };

/// How a model is computed.
struct Execution {
  Compute compute = Compute::f32;  ///< of products whose input is not quantized
  Backend backend = Backend::integer;
  /// Of quantized matrices; null: each has its own.
  std::shared_ptr<PackedMemory> memory = nullptr;

  Execution() = default;
  // Float models are asked for by their precision alone.
  Execution(Compute c, Backend b = Backend::integer) : compute(c), backend(b) {}
};

/// What was done to the weights, so that the model can undo it where it must. All off: a plain
/// model.
struct Scheme {
  /// The residual stream is Hadamard-rotated: block norms are folded into in_proj, in_proj expects
  /// a rotated input, out_proj gives a rotated output. The table is stored unrotated, because
  /// embedding and head may share it: embedding rows are rotated when they are looked up.
  bool rotated_stream = false;
  /// out_proj expects its input rotated; Mamba-2's gated norm is folded into it.
  bool rotated_out_proj = false;
  /// down_proj of feed-forwards, of shared experts and of shared blocks expects its input rotated.
  bool rotated_down_proj = false;
  /// down_proj of the experts that tokens are routed to expects its input rotated.
  bool rotated_experts = false;
  /// The width that latent experts work in is rotated: latent_in gives rotated outputs, their
  /// gate_proj and up_proj expect them, their down_proj gives rotated outputs, and latent_out
  /// expects those. Nothing is rotated while it runs.
  bool rotated_latent = false;
  /// norm_f's weight and the rotation are folded into the head's own matrix. Else the head undoes
  /// the rotation of its one input vector and applies norm_f's weight.
  bool folded_head = false;

  enum class StateRounding { nearest, stochastic };
  StateRounding state_rounding = StateRounding::stochastic;
  uint64_t seed = 0;  ///< of stochastic rounding

  CacheForm cache = CacheForm::f32;  ///< of attention's keys and values

  bool operator==(const Scheme&) const = default;
};

}  // namespace scute
