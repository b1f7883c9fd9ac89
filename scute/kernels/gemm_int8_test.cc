#include "scute/kernels/gemm_int8.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/base/threads.h"
#include "scute/kernels/gemm.h"
#include "scute/kernels/gemm_int8_impl.h"
#include "scute/kernels/test_targets.h"

namespace scute {
namespace {

using testing::Each;
using testing::HasSubstr;
using Codes = std::vector<int8_t>;
using Sums = std::vector<int32_t>;
using Floats = std::vector<float>;

/// Every code is as likely, but for the two extremes: one place in ten each.
Codes draw(int64_t n, uint64_t seed) {
  Random random(seed);
  Codes codes(static_cast<size_t>(n));
  for (int8_t& code : codes) {
    const auto value = static_cast<int>(random.below(256 + 64));
    code = static_cast<int8_t>(value < 256 ? value - 128 : value % 2 == 0 ? 127 : -128);
  }
  return codes;
}

MatView<const int8_t> view(const Codes& codes, int64_t rows) {
  return {codes.data(), rows, std::ssize(codes) / rows};
}

Tensor matrix(const Codes& codes, int64_t rows) {
  return Tensor::of<int8_t>({rows, std::ssize(codes) / rows}, codes);
}

/// The sums in 64 bits.
std::vector<int64_t> expected(MatView<const int8_t> x, MatView<const int8_t> w) {
  std::vector<int64_t> sums;
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t o = 0; o < w.rows; ++o) {
      int64_t sum = 0;
      for (int64_t k = 0; k < x.cols; ++k) sum += int64_t{x.row(r)[k]} * w.row(o)[k];
      sums.push_back(sum);
    }
  }
  return sums;
}

struct Case {
  int64_t rows, inputs, outputs;
};

std::vector<Case> cases() {
  std::vector<Case> all{{3, 5120, 35}, {131, 768, 48}};
  for (const int64_t outputs : {1, 3, 16, 17, 31, 32, 33, 64, 65, 80}) {
    for (const int64_t inputs : {1, 2, 3, 4, 5, 31, 48, 65}) all.push_back({13, inputs, outputs});
  }
  for (const int64_t rows : {1, 2, 5, 6, 7, 8, 9, 31, 33, 119, 121, 127, 128, 129, 161, 241}) {
    all.push_back({rows, 37, 35});
  }
  return all;
}

/// make(codes) gives what multiplies. Sums must be right to the last bit, and the scaled ones one
/// float multiplication away from them.
template <class Make>
void expect_exact(const Make& make) {
  for (const auto& [rows, inputs, outputs] : cases()) {
    SCOPED_TRACE(testing::Message() << rows << " × " << inputs << " → " << outputs);
    const Codes x = draw(rows * inputs, 1), w = draw(outputs * inputs, 2);
    const auto kernel = make(matrix(w, outputs));
    const auto right = expected(view(x, rows), view(w, outputs));
    Sums sums(right.size(), 12345);
    kernel(view(x, rows), MatView<int32_t>(sums.data(), rows, outputs));
    ASSERT_TRUE(std::equal(sums.begin(), sums.end(), right.begin()));
    const Floats scales = normal_values(outputs, 3);
    Floats scaled(right.size(), std::nanf(""));
    kernel(view(x, rows), scales.data(), MatView<float>(scaled.data(), rows, outputs));
    for (size_t i = 0; i < right.size(); ++i) {
      const float scale = scales[i % scales.size()];
      ASSERT_EQ(scaled[i], static_cast<float>(sums[i]) * scale) << i;
    }
  }
}

/// A kernel behind the same two calls as GemmInt8.
struct Highway {
  std::shared_ptr<const GemmInt8::Impl> impl;
  void operator()(MatView<const int8_t> x, MatView<int32_t> y) const { impl->multiply(x, y); }
  void operator()(MatView<const int8_t> x, const float* scales, MatView<float> y) const {
    impl->multiply_scaled(x, scales, y);
  }
};

TEST(GemmInt8, IsExact) {
  expect_exact([](const Tensor& codes) { return GemmInt8(codes); });
}

class GemmInt8EachTarget : public EachTarget {};
SCUTE_EACH_TARGET(GemmInt8EachTarget);

TEST_P(GemmInt8EachTarget, HighwayIsExact) {
  expect_exact([](const Tensor& codes) { return Highway{make_highway_gemm_int8(codes)}; });
}

/// x all `left`, weights all `right`.
template <class Make>
void expect_constant_product(const Make& make, const Case& size, int8_t left, int8_t right) {
  const auto& [rows, inputs, outputs] = size;
  const Codes x(static_cast<size_t>(rows * inputs), left);
  const Codes w(static_cast<size_t>(outputs * inputs), right);
  Sums y(static_cast<size_t>(rows * outputs));
  make(matrix(w, outputs))(view(x, rows), MatView<int32_t>(y.data(), rows, outputs));
  EXPECT_THAT(y, Each(static_cast<int32_t>(inputs * left * right)));
}

template <class Make>
void expect_extremes(const Make& make) {
  // Every size of tile and of block, to 24,774,144; a path that adds pairs of products in 16 bits
  // gives 195,840.
  expect_constant_product(make, {173, 1536, 33}, 127, 127);
  expect_constant_product(make, {173, 1536, 33}, -128, 127);
  expect_constant_product(make, {173, 1536, 33}, 127, -128);
  // 2,147,467,264, the largest sum there is; and the smallest.
  expect_constant_product(make, {9, 131071, 3}, -128, -128);
  expect_constant_product(make, {9, 131071, 3}, 127, -128);
}

TEST(GemmInt8, ExtremesNeverSaturate) {
  expect_extremes([](const Tensor& codes) { return GemmInt8(codes); });
}

TEST_P(GemmInt8EachTarget, HighwayExtremesNeverSaturate) {
  expect_extremes([](const Tensor& codes) { return Highway{make_highway_gemm_int8(codes)}; });
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
    GemmInt8(matrix(w, 2))(view(all, rows), scales.data(), {y.data(), rows, 2});
    for (size_t i = 0; i < y.size(); ++i) {
      EXPECT_EQ(y[i], i % 2 == 0 ? 16777216.0f : 16777220.0f * 0.5f);
    }
  }
}

TEST(GemmInt8, StridedViewsGiveTheSameSumsAndLeaveTheRestAlone) {
  constexpr int64_t kRows = 139, kInputs = 23, kOutputs = 35, kWide = 50;
  const Codes wide = draw(kRows * kWide, 5), w = draw(kOutputs * kInputs, 6);
  const auto x = view(wide, kRows).columns(7, kInputs);
  const auto right = expected(x, view(w, kOutputs));
  const Floats scales = normal_values(kOutputs, 3);
  const GemmInt8 gemm(matrix(w, kOutputs));
  Sums sums(kRows * kWide, 77);
  Floats scaled(kRows * kWide, 77.0f);
  gemm(x, MatView<int32_t>(sums.data(), kRows, kWide).columns(3, kOutputs));
  gemm(x, scales.data(), MatView<float>(scaled.data(), kRows, kWide).columns(3, kOutputs));
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

TEST(GemmInt8, CallsFromTwoThreadsAtOnceGiveTheSumsOfOne) {
  constexpr int64_t kRows = 141, kInputs = 96, kOutputs = 80;
  const Codes x = draw(kRows * kInputs, 7), w = draw(kOutputs * kInputs, 8);
  const auto right = expected(view(x, kRows), view(w, kOutputs));
  const GemmInt8 gemm(matrix(w, kOutputs));
  std::vector<char> same(200);
  Threads(2).for_each(std::ssize(same), [&](int64_t i, int) {
    Sums y(right.size());
    gemm(view(x, kRows), {y.data(), kRows, kOutputs});
    same[static_cast<size_t>(i)] = std::equal(y.begin(), y.end(), right.begin());
  });
  EXPECT_THAT(same, Each(1));
}

TEST(GemmInt8, NoRowsNoOutputsOrNoInputsAreFine) {
  int32_t y[6] = {9, 9, 9, 9, 9, 9};
  float scaled[6] = {9, 9, 9, 9, 9, 9};
  const float scales[3] = {1, 2, 3};
  const int8_t x[4] = {1, 2, 3, 4};
  const GemmInt8 some(matrix(Codes(12, 1), 3)), none(Tensor(DType::i8, {0, 4}));
  some({x, 0, 4}, {y, 0, 3});
  some({x, 0, 4}, scales, {scaled, 0, 3});
  none({x, 1, 4}, {y, 1, 0});
  none({x, 1, 4}, scales, {scaled, 1, 0});
  EXPECT_THAT(y, Each(9));
  EXPECT_THAT(scaled, Each(9.0f));
  const GemmInt8 empty(Tensor(DType::i8, {3, 0}));
  empty({nullptr, 2, 0}, {y, 2, 3});
  empty({nullptr, 2, 0}, scales, {scaled, 2, 3});
  EXPECT_THAT(y, Each(0));
  EXPECT_THAT(scaled, Each(0.0f));
  GemmInt8()({x, 1, 0}, {y, 1, 0});
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

TEST(GemmInt8, UsesOneDnnOnlyWithVnniOrBetter) {
  const GemmInt8 gemm(matrix(Codes(64 * 128, 1), 64));
  const bool vnni = onednn_target().starts_with("AVX512") && onednn_target() != "AVX512_CORE";
  EXPECT_EQ(gemm.backend(), vnni ? "oneDNN int8" : "highway int8");
  // One byte a code; oneDNN keeps some sums per output beside them.
  EXPECT_GE(gemm.bytes(), 64 * 128);
  EXPECT_LE(gemm.bytes(), vnni ? 64 * (128 + 16) : 64 * 128);
}

TEST(GemmInt8, SelfTestFindsNothing) { EXPECT_EQ(gemm_int8_self_test(), ""); }

}  // namespace
}  // namespace scute
