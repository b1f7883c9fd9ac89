// What this processor has beyond the instruction sets that Highway 1.0 tells apart: internal to
// this folder.
#pragma once

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace scute {

/// Bit `bit` of a register of cpuid's leaf 7.
struct ProcessorFeature {
  enum Register { eax, ecx, edx };
  unsigned subleaf = 0, bit = 0;
  Register in = eax;
};
inline constexpr ProcessorFeature kAvx512Vnni{0, 11, ProcessorFeature::ecx}, kAvxVnni{1, 4},
    kAvx512Bf16{1, 5}, kAmxInt8{0, 25, ProcessorFeature::edx},
    kAmxBf16{0, 22, ProcessorFeature::edx};

inline bool processor_has([[maybe_unused]] ProcessorFeature feature) {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, feature.subleaf, &a, &b, &c, &d) == 0) return false;
  const unsigned registers[] = {a, c, d};
  return ((registers[feature.in] >> feature.bit) & 1) != 0;
#else
  return false;
#endif
}

}  // namespace scute
