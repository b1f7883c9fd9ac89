// What this processor has beyond the instruction sets that Highway 1.0 tells apart: internal to
// this folder.
#pragma once

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace scute {

/// Bit `bit` of a register of cpuid's leaf 7.
struct ProcessorFeature {
  unsigned subleaf = 0, bit = 0;
  bool in_ecx = false;
};
inline constexpr ProcessorFeature kAvx512Vnni{0, 11, true}, kAvxVnni{1, 4}, kAvx512Bf16{1, 5};

inline bool processor_has([[maybe_unused]] ProcessorFeature feature) {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, feature.subleaf, &a, &b, &c, &d) == 0) return false;
  return (((feature.in_ecx ? c : a) >> feature.bit) & 1) != 0;
#else
  return false;
#endif
}

}  // namespace scute
