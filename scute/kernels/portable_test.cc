#include "scute/kernels/portable.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "hwy/highway.h"
#include "scute/base/error.h"
#include "scute/kernels/elementwise.h"
#include "scute/kernels/gemm.h"
#include "scute/kernels/gemm_int8.h"
#include "scute/kernels/test_targets.h"

namespace scute::portable_test {
namespace {

Tensor matrix(int64_t rows, int64_t cols) {
  Tensor out(DType::f32, {rows, cols});
  const std::vector<float> values = normal_values(rows * cols, 5);
  std::ranges::copy(values, out.mutable_values<float>().begin());
  return out;
}

/// Builds for one target alone have none.
bool are_built() {
  try {
    const PortableKernels portable(true);
    return true;
  } catch (const Error&) {
    return false;
  }
}

TEST(PortableKernels, HoldAsLongAsTheyLive) {
  if (!are_built()) GTEST_SKIP() << "SKIPPED: no portable kernels in this build";
  const std::string before = instruction_set(Compute::f32);
  {
    const PortableKernels unwanted(false);
    EXPECT_EQ(instruction_set(Compute::f32), before);
    const PortableKernels wanted(true);
    EXPECT_TRUE(portable_kernels());
    EXPECT_EQ(instruction_set(Compute::f32), "portable");
    EXPECT_EQ(instruction_set(Compute::bf16), "portable");
    EXPECT_EQ(Gemm(matrix(40, 8), Compute::bf16).backend(), "highway bf16");
    EXPECT_EQ(GemmInt8(Tensor(DType::i8, {32, 64})).backend(), "highway int8");
  }
  EXPECT_EQ(instruction_set(Compute::f32), before);
}

/// Products of bf16 have other bits with tiles, with pairs and with widened factors, all of which
/// a machine with AVX3 may use.
TEST(InstructionSet, NamesTheProductsThatBitsDependOn) {
  const std::string plain = instruction_set(Compute::f32);
  const std::string backend(Gemm(matrix(40, 8), Compute::bf16).backend());
  EXPECT_EQ(instruction_set(Compute::bf16),
            backend == "highway bf16" ? plain : plain + ", " + backend);
}

/// Sums over lanes and along rows, exponentials, products: where instruction sets part.
std::vector<float> results() {
  const Tensor x = matrix(5, 1000), w = matrix(70, 1000), ones = matrix(1, 1000);
  Tensor y(DType::f32, {5, 70}), z(DType::f32, {5, 70}), normed(DType::f32, {5, 1000});
  Gemm(w, Compute::f32)(x.matrix<float>(), y.mutable_matrix<float>());
  Gemm(w, Compute::bf16)(x.matrix<float>(), z.mutable_matrix<float>());
  rms_norm(x.matrix<float>(), ones.values<float>().data(), 1000, 1e-5f,
           normed.mutable_matrix<float>());
  std::vector<float> out;
  for (const Tensor* t : {&y, &z, &normed}) {
    out.insert(out.end(), t->values<float>().begin(), t->values<float>().end());
  }
  out.push_back(static_cast<float>(log_sum_exp(x.values<float>().data(), x.size())));
  return out;
}

TEST(PortableKernels, SameBitsWithSse4AndWithout) {
  if (!are_built()) GTEST_SKIP() << "SKIPPED: no portable kernels in this build";
  const std::vector<float> here = [] {
    const PortableKernels portable(true);
    return results();
  }();
  for (const int64_t target : {HWY_SSE4, HWY_EMU128}) {
    hwy::SetSupportedTargetsForTest(target);
    EXPECT_TRUE(portable_kernels()) << hwy::TargetName(target);
    EXPECT_EQ(results(), here) << hwy::TargetName(target);
    hwy::SetSupportedTargetsForTest(0);
  }
}

}  // namespace
}  // namespace scute::portable_test
