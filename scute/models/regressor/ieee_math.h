// Exponentials whose bits are the same on every machine: IEEE's basic operations in a fixed order,
// where the C library may use fused ones.
#pragma once

namespace scute {

/// e^x within 2^-50 of itself; 0 below −700, e^700 above 700; NaN stays one.
double ieee_exp(double x) noexcept;
/// ln(1 + e^x) within 2^-48 of itself.
double ieee_softplus(double x) noexcept;

}  // namespace scute
