// For tests: this machine with the instruction sets of lesser ones, as far as Highway's kernels go.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hwy/targets.h"

namespace scute {

/// While one lives, kernels are chosen as on a machine whose best instruction set is this one. What
/// names it to Highway: HWY_AVX2, …; HWY_EMU128: none at all.
class Machine {
 public:
  explicit Machine(int64_t best) {
    // Better ones have the lower bits.
    hwy::SetSupportedTargetsForTest(0);
    hwy::SetSupportedTargetsForTest(best == HWY_EMU128 ? best : hwy::SupportedTargets() & -best);
  }
  ~Machine() { hwy::SetSupportedTargetsForTest(0); }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
};

/// The machines that this one can pass for, from the best to one without any vectors that kernels
/// know of.
inline std::vector<int64_t> machines() {
  std::vector<int64_t> out;
  for (const int64_t best : {HWY_AVX3, HWY_AVX2, HWY_SSE4}) {
    if ((hwy::SupportedTargets() & best) != 0) out.push_back(best);
  }
  out.push_back(HWY_EMU128);
  return out;
}

}  // namespace scute
