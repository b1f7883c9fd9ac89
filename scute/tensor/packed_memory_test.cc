#include "scute/tensor/packed_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace scute::packed_memory_test {
namespace {

Tensor counting(int64_t size, int32_t first) {
  Tensor out(DType::i32, {size});
  const auto values = out.mutable_values<int32_t>();
  std::iota(values.begin(), values.end(), first);
  return out;
}

TEST(PackedMemory, KeepsCopiesSideBySide) {
  PackedMemory memory;
  const Tensor a = memory.keep(counting(5, 0)), b = memory.keep(counting(40, 100));
  EXPECT_EQ(b.bytes().data() - a.bytes().data(), 64);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(a.bytes().data()) % (size_t{2} << 20), 0U);
  EXPECT_EQ(b.shape(), Shape{40});
  EXPECT_TRUE(std::ranges::equal(a.values<int32_t>(), counting(5, 0).values<int32_t>()));
  EXPECT_TRUE(std::ranges::equal(b.values<int32_t>(), counting(40, 100).values<int32_t>()));
}

TEST(PackedMemory, BeginsAnotherPieceAndTensorsOutliveIt) {
  std::vector<Tensor> kept;
  constexpr int64_t kSize = int64_t{3} << 20;  // 12 MiB: two in a piece of 32
  {
    PackedMemory memory;
    for (int32_t i = 0; i < 5; ++i) kept.push_back(memory.keep(counting(kSize, i)));
  }
  for (int32_t i = 0; i < 5; ++i) {
    const auto values = kept[static_cast<size_t>(i)].values<int32_t>();
    EXPECT_EQ(values.front(), i);
    EXPECT_EQ(values.back(), i + kSize - 1);
  }
}

TEST(PackedMemory, LeavesLargeAndEmptyOnesAlone) {
  PackedMemory memory;
  const Tensor large = counting(int64_t{8} << 20, 0), none(DType::i8, {0, 3});
  EXPECT_EQ(memory.keep(large).bytes().data(), large.bytes().data());
  EXPECT_EQ(memory.keep(none).shape(), none.shape());
  EXPECT_EQ(kept_by(nullptr, large).bytes().data(), large.bytes().data());
}

}  // namespace
}  // namespace scute::packed_memory_test
