// Elementary functions whose bits are the same on every processor and with every C library.
#pragma once

/// The C library chooses among variants of these functions by processor: with fused multiply-adds
/// or without, whose last bits differ. Those here are plain additions, products and quotients of
/// doubles, each rounded as IEEE 754 says, so that what reaches a statistic, a plan, a checkpoint
/// or a score does not depend on the machine. They are the algorithms of FreeBSD's msun (fdlibm);
/// errors are within 1 ulp where nothing else is said.
namespace scute::portable {

/// e^x. NaN stays NaN; 0 below −745.2, +infinity above 709.8.
double exp(double x) noexcept;

/// The natural logarithm. −infinity of ±0, NaN of what is below 0.
double log(double x) noexcept;
/// To base 10; 3 ulp.
double log10(double x) noexcept;

/// x^y as e^(y·log x), of x > 0: a relative error of (2 + 2·|y·log x|) · 2^−52. 1 where y is 0.
double pow(double x, double y) noexcept;

/// |x| < 2^20·π/2 (1.6 million); beyond that they are the C library's.
double sin(double x) noexcept;
double cos(double x) noexcept;

}  // namespace scute::portable
