#include "scute/kernels/portable.h"

#include <fmt/format.h>

#include "hwy/targets.h"
#include "scute/base/error.h"
#include "scute/kernels/gemm.h"

namespace scute {
namespace {

/// Highway's with four lanes and no fused multiply-add: every sum has the same order in each, and
/// every rounding its place. (SSSE3 is not built.)
constexpr int64_t kFourLanes = HWY_SSE4 | HWY_SSSE3 | HWY_EMU128;

}  // namespace

PortableKernels::PortableKernels(bool wanted) {
  if (!wanted) return;
  before_ = hwy::SupportedTargets();
  // Not DisableTargets: whoever asks Highway 1.0 for SupportedTargets() after it, as
  // int8_products() does, thereby chooses the disabled ones again. Without any of these the plain
  // loops are left.
  const int64_t wanted_targets = before_ & kFourLanes;
  hwy::SetSupportedTargetsForTest(wanted_targets != 0 ? wanted_targets : HWY_EMU128);
  if (portable_kernels()) return;
  hwy::SetSupportedTargetsForTest(before_);
  fail("portable kernels", "a build with kernels of SSE4 or plain loops",
       fmt::format("one that has {} alone", highway_target()));
}

PortableKernels::~PortableKernels() {
  if (before_ != 0) hwy::SetSupportedTargetsForTest(before_);
}

bool portable_kernels() {
  const std::string_view target = highway_target();
  return target == hwy::TargetName(HWY_SSE4) || target == hwy::TargetName(HWY_EMU128);
}

std::string instruction_set(Compute compute) {
  std::string out(portable_kernels() ? "portable" : highway_target());
  if (compute == Compute::f32) return out;
  const Gemm one(Tensor(DType::f32, {1, 1}), compute);
  if (one.backend() != "highway bf16") out += fmt::format(", {}", one.backend());
  return out;
}

}  // namespace scute
