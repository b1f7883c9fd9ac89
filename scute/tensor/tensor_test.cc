#include "scute/tensor/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "scute/base/error.h"
#include "scute/tensor/weights.h"

namespace scute::tensor_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(DType, EveryHalfSurvivesARoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const f16 half{static_cast<uint16_t>(bits)};
    const bf16 brain{static_cast<uint16_t>(bits)};
    if (std::isnan(to_float(half))) {
      EXPECT_TRUE(std::isnan(to_float(to_f16(to_float(half)))));
    } else {
      EXPECT_EQ(to_f16(to_float(half)).bits, half.bits);
    }
    if (std::isnan(to_float(brain))) {
      EXPECT_TRUE(std::isnan(to_float(to_bf16(to_float(brain)))));
    } else {
      EXPECT_EQ(to_bf16(to_float(brain)).bits, brain.bits);
    }
  }
}

TEST(DType, RoundsHalfToEvenAndSaturatesToInfinity) {
  EXPECT_EQ(to_float(to_bf16(1 + 0x1p-8f)), 1.0f);  // halfway: to the even 1
  EXPECT_EQ(to_float(to_bf16(1 + 0x1p-8f + 0x1p-20f)), 1.0078125f);
  EXPECT_EQ(to_float(to_f16(1 + 0x1p-11f)), 1.0f);
  EXPECT_EQ(to_float(to_f16(65519.0f)), 65504.0f);
  EXPECT_TRUE(std::isinf(to_float(to_f16(65520.0f))));
  EXPECT_EQ(to_float(to_f16(0x1p-24f)), 0x1p-24f);
  EXPECT_EQ(to_float(to_f16(0x1p-26f)), 0.0f);
  EXPECT_TRUE(std::isinf(to_float(to_bf16(std::numeric_limits<float>::max()))));
}

TEST(Tensor, IsAlignedZeroedAndTyped) {
  Tensor t(DType::f32, {3, 5});
  EXPECT_EQ(reinterpret_cast<uintptr_t>(t.bytes().data()) % 64, 0u);
  for (const float x : t.values<float>()) EXPECT_EQ(x, 0);
  EXPECT_THROW(t.values<int32_t>(), Error);
  t.mutable_matrix<float>().row(2)[4] = 7;
  EXPECT_EQ(t.matrix<float>().row(2)[4], 7);
  EXPECT_EQ(t.reshaped({15}).values<float>()[14], 7);
  EXPECT_THROW(t.reshaped({14}), Error);
}

TEST(Tensor, RefusesImpossibleShapes) {
  EXPECT_THROW(element_count({int64_t{1} << 40, int64_t{1} << 40}, "f"), Error);
  EXPECT_THROW(element_count({-1}, "f"), Error);
  EXPECT_EQ(element_count({}, "f"), 1);
}

TEST(Tensor, BorrowedMemoryIsReadOnlyAndAligned) {
  const auto owner = std::make_shared<std::array<std::byte, 64>>();
  EXPECT_THROW(Tensor(DType::f32, {1}, owner, owner->data() + 1), Error);
  Tensor t(DType::f32, {2}, owner, owner->data());
  EXPECT_THROW(t.mutable_values<float>(), Error);
  EXPECT_EQ(owner.use_count(), 2);
}

TEST(Tensor, RowsAndSlicesShareTheMemory) {
  Tensor stack(DType::bf16, {3, 4, 2});
  for (int64_t i = 0; i < stack.size(); ++i) {
    stack.mutable_values<bf16>()[static_cast<size_t>(i)] = to_bf16(static_cast<float>(i));
  }
  const Tensor matrix = stack.slice(2);
  EXPECT_EQ(matrix.shape(), Shape({4, 2}));
  const Tensor rows = matrix.rows(1, 2);
  EXPECT_EQ(rows.shape(), Shape({2, 2}));
  EXPECT_THAT(to_vector(rows), testing::ElementsAre(18, 19, 20, 21));
  EXPECT_EQ(rows.bytes().data(), stack.bytes().data() + 18 * 2);
  stack.mutable_values<bf16>()[18] = to_bf16(-1);
  EXPECT_EQ(to_vector(rows).front(), -1);
  EXPECT_EQ(to_vector(Tensor::of<float>({3}, std::vector<float>{1, 2, 3}).rows(1, 2)),
            std::vector<float>({2, 3}));
  EXPECT_EQ(matrix.rows(4, 0).size(), 0);
  EXPECT_THROW(matrix.rows(3, 2), Error);
  EXPECT_THROW(matrix.rows(-1, 2), Error);
  EXPECT_THROW(matrix.rows(1, int64_t{1} << 62), Error);
  EXPECT_THROW(stack.slice(3), Error);
  EXPECT_THROW(Tensor(DType::f32, Shape{}).slice(0), Error);
}

TEST(Tensor, ViewsKeepTheirOwnerAlive) {
  auto owner = std::make_shared<std::array<std::byte, 64>>();
  Tensor view;
  {
    const Tensor whole(DType::f32, {4, 4}, owner, owner->data());
    view = whole.rows(2, 1);
  }
  EXPECT_EQ(owner.use_count(), 2);
  EXPECT_THROW(view.mutable_values<float>(), Error);
}

TEST(Tensor, WidensEveryFloatType) {
  const std::vector<bf16> values{to_bf16(1.5f), to_bf16(-3)};
  const auto wide = Tensor::of<bf16>({2}, values).to_f32();
  EXPECT_THAT(std::vector<float>(wide.values<float>().begin(), wide.values<float>().end()),
              testing::ElementsAre(1.5f, -3.0f));
  EXPECT_THROW(Tensor(DType::i8, {1}).to_f32(), Error);
}

Weights three() {
  Weights weights("model.safetensors");
  weights.add("a.weight", Tensor(DType::f32, {2, 3}));
  weights.add("b.weight", Tensor(DType::i8, {2}));
  weights.add("extra", Tensor(DType::f32, {1}));
  return weights;
}

TEST(Weights, UnknownNamesSuggestTheNearest) {
  const Weights weights = three();
  try {
    weights.at("a.wieght");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("did you mean a.weight"));
  }
  Weights twice = three();
  EXPECT_THROW(twice.add("extra", {}), Error);
}

TEST(WeightReader, NamesEveryProblemAtOnce) {
  Weights weights = three();
  WeightReader reader(weights);
  reader.take("a.weight", {3, 2});
  reader.take("b.weight", {2});
  reader.take("c.weight", {4});
  try {
    reader.finish();
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("model.safetensors"), HasSubstr("4 problems"),
                      HasSubstr("a.weight has the shape (2, 3), not (3, 2)"),
                      HasSubstr("b.weight holds I8"), HasSubstr("missing c.weight (4)"),
                      HasSubstr("unknown tensor extra (1)")));
  }
}

TEST(WeightReader, PassesWhenEverythingIsRead) {
  Weights weights;
  weights.add("a", Tensor(DType::bf16, {2}));
  WeightReader reader(weights);
  EXPECT_EQ(reader.take("a", {2}).dtype(), DType::bf16);
  EXPECT_NO_THROW(reader.finish());
}

TEST(MatView, PartsOfNothingAreNull) {
  // A null pointer must not be moved: sanitizers say so, and so may a compiler.
  const MatView<float> nothing(nullptr, 0, 5, 8);
  EXPECT_EQ(nothing.columns(2, 3).data, nullptr);
  EXPECT_EQ(nothing.slice_rows(1, 0).data, nullptr);
  std::vector<float> some(16);
  const MatView<float> two(some.data(), 2, 5, 8);
  EXPECT_EQ(two.row(1), &some[8]);
  EXPECT_EQ(two.columns(2, 3).row(1), &some[10]);
}

}  // namespace
}  // namespace scute::tensor_test
