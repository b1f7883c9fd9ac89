// Part of test programs of models: they run as on a machine with AVX2 only with SCUTE_TEST_AVX2=1,
// as test.sh does. The library itself reads no environment.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>

#include "hwy/targets.h"
#include "scute/kernels/gemm_int8.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

bool wants_avx2() {
  const char* value = std::getenv("SCUTE_TEST_AVX2");
  return value != nullptr && std::string_view(value) == "1";
}

/// Before any kernel is chosen. Of Highway's instruction sets the better have the lower bits.
const bool kAvx2Only = [] {
  if (wants_avx2()) hwy::SetSupportedTargetsForTest(hwy::SupportedTargets() & -HWY_AVX2);
  return wants_avx2();
}();

TEST(OlderMachine, HasTheKernelsOfAvx2WhereTheyAreAskedFor) {
  if (!kAvx2Only) GTEST_SKIP() << "SKIPPED: no SCUTE_TEST_AVX2=1 (test.sh gives it)";
  EXPECT_EQ(hwy::SupportedTargets() & (HWY_AVX2 - 1), 0);
  // Some that lack AVX-512 have AVX-VNNI.
  EXPECT_THAT(GemmInt8(Tensor(DType::i8, {32, 64})).backend(),
              testing::AnyOf("highway int8", "avx-vnni int8"));
}

}  // namespace
}  // namespace scute
