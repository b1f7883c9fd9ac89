// Coordinate descent on the codes of a weight: what GPTQ leaves on the table.
#pragma once

#include <cstdint>

#include "scute/base/threads.h"
#include "scute/quantize/weight.h"

namespace scute {

/// Lowers tr((W − Q)·(H + λI)·(W − Q)ᵀ), λ = damping · mean diagonal: each code in turn takes the
/// value that is best while all others stay as they are (QuantEase, Behdin et al. 2023, §3), each
/// 4-bit scale then its least-squares value, in half precision; up to four rounds, or until nothing
/// changes. Never raises it. GPTQ decides each code once and knows only the codes before it.
/// weight: outputs × inputs, f32; hessian: its upper triangle is read. Outputs do not influence
/// each other; `team` helps with them.
void descend(const Tensor& weight, MatView<const double> hessian, double damping,
             QuantizedWeight& out, const Team& team = {});

}  // namespace scute
