// Coordinate descent on the codes of a weight: what GPTQ leaves on the table.
#pragma once

#include <cstdint>
#include <optional>

#include "scute/base/threads.h"
#include "scute/quantize/weight.h"

namespace scute {

/// Lowers tr((W − Q)·(H + λI)·(W − Q)ᵀ), λ = damping · mean diagonal: each code in turn takes the
/// value that is best while all others stay as they are (QuantEase, Behdin et al. 2023, §3), each
/// 4-bit scale then its least-squares value, in half precision; up to four rounds, or until nothing
/// changes. Never raises it. GPTQ decides each code once and knows only the codes before it.
/// weight: outputs × inputs, f32; hessian: its upper triangle is read.
/// Outputs do not influence each other; `team` helps with them. Beside the Hessian's copy a tile of
/// outputs takes 256 bytes for every input and group. Returns tr((W − Q)·H·(W − Q)ᵀ) with H times
/// the power of two that brings its largest diagonal element into [0.5, 1); nothing where there is
/// one scale for all, which is left alone.
std::optional<double> descend(const Tensor& weight, MatView<const double> hessian, double damping,
                              QuantizedWeight& out, const Team& team = {});

}  // namespace scute
