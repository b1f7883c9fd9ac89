#include "scute/kernels/gemm_int8.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "scute/base/error.h"
#include "scute/base/threads.h"
#include "scute/kernels/gemm.h"
#include "scute/kernels/test_int8.h"

namespace scute::gemm_int8_test {
namespace {

using testing::Each;
using testing::HasSubstr;

struct Case {
  int64_t rows, inputs, outputs;
};

std::vector<Case> cases() {
  std::vector<Case> all{{3, 5120, 35}, {131, 768, 48}, {51, 3100, 67}};
  for (const int64_t outputs : {1, 3, 16, 17, 31, 32, 33, 64, 65, 80}) {
    for (const int64_t inputs : {1, 2, 3, 4, 5, 31, 48, 65}) all.push_back({13, inputs, outputs});
  }
  for (const int64_t rows : {1, 2, 5, 6, 7, 8, 9, 31, 33, 119, 121, 127, 128, 129, 161, 241}) {
    all.push_back({rows, 37, 35});
  }
  return all;
}

TEST(GemmInt8, IsExact) {
  for (const auto& [rows, inputs, outputs] : cases()) {
    SCOPED_TRACE(testing::Message() << rows << " × " << inputs << " → " << outputs);
    const Codes x = draw(rows * inputs, 1), w = draw(outputs * inputs, 2);
    expect_exact(GemmInt8(matrix(w, outputs)), view(x, rows), view(w, outputs));
  }
}

class GemmInt8EachTarget : public EachTarget {};
SCUTE_EACH_TARGET(GemmInt8EachTarget);

TEST_P(GemmInt8EachTarget, EveryWayIsExact) {
  for (const auto& [rows, inputs, outputs] : cases()) {
    const Codes x = draw(rows * inputs, 1), w = draw(outputs * inputs, 2);
    for (const Way& way : ways(matrix(w, outputs))) {
      SCOPED_TRACE(testing::Message()
                   << way.name << ": " << rows << " × " << inputs << " → " << outputs);
      expect_exact(way, view(x, rows), view(w, outputs));
    }
  }
}

TEST_P(GemmInt8EachTarget, EveryNumberOfRowsIsExact) {
  constexpr int64_t kRows = 130, kInputs = 71, kOutputs = 67;
  const Codes x = draw(kRows * kInputs, 1), w = draw(kOutputs * kInputs, 2);
  const auto right = expected(view(x, kRows), view(w, kOutputs));
  for (const Way& way : ways(matrix(w, kOutputs))) {
    for (int64_t rows = 1; rows <= kRows; ++rows) {
      Sums sums(static_cast<size_t>(rows * kOutputs));
      multiply(way, view(x, kRows).slice_rows(0, rows), {sums.data(), rows, kOutputs});
      ASSERT_TRUE(std::equal(sums.begin(), sums.end(), right.begin())) << way.name << " " << rows;
    }
  }
}

/// x all `left`, weights all `right`.
void expect_constant_product(const Case& size, int8_t left, int8_t right) {
  const auto& [rows, inputs, outputs] = size;
  const Codes x(static_cast<size_t>(rows * inputs), left);
  const Codes w(static_cast<size_t>(outputs * inputs), right);
  for (const Way& way : ways(matrix(w, outputs))) {
    SCOPED_TRACE(way.name);
    Sums y(static_cast<size_t>(rows * outputs));
    multiply(way, view(x, rows), MatView<int32_t>(y.data(), rows, outputs));
    EXPECT_THAT(y, Each(static_cast<int32_t>(inputs * left * right)));
  }
}

TEST_P(GemmInt8EachTarget, ExtremesNeverSaturate) {
  // Every size of tile and of block, to 25,165,824; a path that adds pairs of products in 16 bits
  // gives 195,840.
  for (const int64_t rows : {1, 173}) {
    for (const int8_t left : {int8_t{-128}, int8_t{127}}) {
      for (const int8_t right : {int8_t{-128}, int8_t{127}}) {
        expect_constant_product({rows, 1536, 33}, left, right);
      }
    }
  }
  // 2,147,467,264, the largest sum there is; and the smallest.
  for (const int64_t rows : {1, 9}) {
    expect_constant_product({rows, 131071, 3}, -128, -128);
    expect_constant_product({rows, 131071, 3}, 127, -128);
    expect_constant_product({rows, 131071, 3}, -128, 127);
  }
}

TEST(GemmInt8, FloatOfALargeSumRoundsHalfToEven) {
  // 1024·2^14 + 1 and + 3 lie halfway between floats, 2^24 + 1 (down to even) and 2^24 + 3 (up).
  constexpr int64_t kInputs = 1026;
  Codes w(2 * kInputs, -128), x(kInputs, -128);
  x[1024] = 1, x[1025] = 0;
  w[1024] = 1, w[kInputs + 1024] = 3;
  const Floats scales{1.0f, 0.5f};
  for (const int64_t rows : {1, 9}) {
    Codes all;
    for (int64_t r = 0; r < rows; ++r) all.insert(all.end(), x.begin(), x.end());
    Floats y(static_cast<size_t>(2 * rows));
    multiply(GemmInt8(matrix(w, 2)), view(all, rows), scales.data(), {y.data(), rows, 2});
    for (size_t i = 0; i < y.size(); ++i) {
      EXPECT_EQ(y[i], i % 2 == 0 ? 16777216.0f : 16777220.0f * 0.5f);
    }
  }
}

TEST_P(GemmInt8EachTarget, StridedViewsGiveTheSameSumsAndLeaveTheRestAlone) {
  constexpr int64_t kRows = 139, kInputs = 23, kOutputs = 35, kWide = 50;
  const Codes wide = draw(kRows * kWide, 5), w = draw(kOutputs * kInputs, 6);
  const auto x = view(wide, kRows).columns(7, kInputs);
  const auto right = expected(x, view(w, kOutputs));
  const Floats scales = normal_values(kOutputs, 3);
  for (const Way& way : ways(matrix(w, kOutputs))) {
    SCOPED_TRACE(way.name);
    Sums sums(kRows * kWide, 77);
    Floats scaled(kRows * kWide, 77.0f);
    multiply(way, x, MatView<int32_t>(sums.data(), kRows, kWide).columns(3, kOutputs));
    multiply(way, x, scales.data(),
             MatView<float>(scaled.data(), kRows, kWide).columns(3, kOutputs));
    for (int64_t i = 0; i < kRows * kWide; ++i) {
      const auto at = static_cast<size_t>(i);
      const int64_t r = i / kWide, o = i % kWide - 3;
      if (o < 0 || o >= kOutputs) {
        ASSERT_EQ(sums[at], 77) << "row " << r << " output " << o;
        ASSERT_EQ(scaled[at], 77.0f) << "row " << r << " output " << o;
        continue;
      }
      const int64_t sum = right[static_cast<size_t>(r * kOutputs + o)];
      ASSERT_EQ(sums[at], sum) << "row " << r << " output " << o;
      ASSERT_EQ(scaled[at], static_cast<float>(sum) * scales[static_cast<size_t>(o)]);
    }
  }
}

TEST_P(GemmInt8EachTarget, PartsOfTheOutputsAreTheBitsOfTheWhole) {
  constexpr int64_t kInputs = 96, kOutputs = 555;
  const Codes w = draw(kOutputs * kInputs, 8);
  for (const int64_t rows : {1, 7, 141}) {
    const Codes x = draw(rows * kInputs, 7);
    for (const Way& way : ways(matrix(w, kOutputs))) {
      SCOPED_TRACE(testing::Message() << way.name << " " << rows);
      expect_parts_equal_the_whole(way, view(x, rows), kOutputs);
    }
  }
}

TEST(GemmInt8, PartsFromTwoThreadsAtOnceGiveTheSumsOfOne) {
  constexpr int64_t kRows = 141, kInputs = 96, kOutputs = 80;
  const Codes x = draw(kRows * kInputs, 7), w = draw(kOutputs * kInputs, 8);
  const auto right = expected(view(x, kRows), view(w, kOutputs));
  const GemmInt8 gemm(matrix(w, kOutputs));
  const Prepared prepared(gemm, view(x, kRows));
  for (int trial = 0; trial < 100; ++trial) {
    Sums y(right.size());
    Threads(2).for_each(3, [&](int64_t part, int) {
      const int64_t first = 32 * part, count = std::min<int64_t>(32, kOutputs - first);
      gemm.multiply(prepared.data(), first,
                    MatView<int32_t>(y.data(), kRows, kOutputs).columns(first, count));
    });
    ASSERT_TRUE(std::equal(y.begin(), y.end(), right.begin()));
  }
}

TEST(GemmInt8, NoRowsNoOutputsOrNoInputsAreFine) {
  int32_t y[6] = {9, 9, 9, 9, 9, 9};
  float scaled[6] = {9, 9, 9, 9, 9, 9};
  const float scales[3] = {1, 2, 3};
  const int8_t x[4] = {1, 2, 3, 4};
  const GemmInt8 some(matrix(Codes(12, 1), 3)), none(Tensor(DType::i8, {0, 4}));
  multiply(some, {x, 0, 4}, {y, 0, 3});
  multiply(some, {x, 0, 4}, scales, {scaled, 0, 3});
  multiply(none, {x, 1, 4}, {y, 1, 0});
  multiply(none, {x, 1, 4}, scales, {scaled, 1, 0});
  EXPECT_THAT(y, Each(9));
  EXPECT_THAT(scaled, Each(9.0f));
  const GemmInt8 empty(Tensor(DType::i8, {3, 0}));
  multiply(empty, {nullptr, 2, 0}, {y, 2, 3});
  multiply(empty, {nullptr, 2, 0}, scales, {scaled, 2, 3});
  EXPECT_THAT(y, Each(0));
  EXPECT_THAT(scaled, Each(0.0f));
  multiply(GemmInt8(), {x, 1, 0}, {y, 1, 0});
  EXPECT_EQ(GemmInt8().backend(), "none");
  EXPECT_EQ(GemmInt8().bytes(), 0);
}

TEST(GemmInt8, RefusesCodesThatAreNoMatrixOrCouldOverflow) {
  const auto message = [](const Tensor& codes) -> std::string {
    try {
      const GemmInt8 gemm(codes);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(message(Tensor(DType::f32, {3, 4})), HasSubstr("expected I8, found F32"));
  EXPECT_THAT(message(Tensor(DType::i8, {12})), HasSubstr("found (12)"));
  EXPECT_THAT(message(Tensor(DType::i8, {1, 131072})), HasSubstr("found 131072"));
  EXPECT_EQ(message(Tensor(DType::i8, {1, 131071})), "no error");
}

TEST(GemmInt8, UsesTheBestProductsThatThereAre) {
  const GemmInt8 gemm(matrix(Codes(64 * 128, 1), 64));
  EXPECT_EQ(gemm.backend(), int8_kernel(int8_products().front()).name);
  EXPECT_EQ(gemm.bytes(), 64 * 128);
  if (gemm.backend() != "amx int8") GTEST_SKIP() << "SKIPPED: no AMX";
}

TEST(GemmInt8, SelfTestFindsNothing) { EXPECT_EQ(gemm_int8_self_test(), ""); }

}  // namespace
}  // namespace scute::gemm_int8_test
