#include "scute/kernels/gemm_int4.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/base/threads.h"
#include "scute/kernels/test_targets.h"

namespace scute::gemm_int4_test {
namespace {

using testing::Each;
using testing::HasSubstr;
using Values = std::vector<float>;

/// Codes, and scales of full precision.
struct Weights4 {
  Tensor codes, scales;
  int64_t group;
};

Weights4 draw(int64_t outputs, int64_t inputs, int64_t group) {
  Random random(static_cast<uint64_t>(outputs * 10007 + inputs));
  const int64_t groups = inputs / group;
  std::vector<int8_t> codes(static_cast<size_t>(outputs * inputs));
  for (int8_t& code : codes) code = static_cast<int8_t>(random.below(16) - 8);
  const Values scales = normal_values(outputs * groups, 3, 0.1);
  return {Tensor::of<int8_t>({outputs, inputs}, codes),
          Tensor::of<float>({outputs, groups}, scales), group};
}

GemmInt4 gemm_of(const Weights4& w) { return {w.codes, w.scales, w.group}; }

Values multiply(const GemmInt4& gemm, MatView<const float> x) {
  Values y(static_cast<size_t>(x.rows * gemm.outputs()), std::numeric_limits<float>::quiet_NaN());
  gemm(x, {y.data(), x.rows, gemm.outputs()});
  return y;
}

bool same_bits(const Values& a, const Values& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// A run of n ≤ 128 products errs by less than (n + 1)·2⁻²⁴ of their magnitudes (one for targets
/// without fused multiply-add), its scaling and each of the additions of runs by one 2⁻²⁴ more.
void expect_close(const Weights4& w, MatView<const float> x, const Values& found) {
  const int64_t outputs = w.codes.dim(0), inputs = w.codes.dim(1), groups = inputs / w.group;
  const int64_t runs = groups * ((w.group + 127) / 128);
  const double unit = static_cast<double>(std::min<int64_t>(w.group, 128) + runs + 3) * 0x1p-24;
  for (int64_t i = 0; i < x.rows * outputs; ++i) {
    const int64_t r = i / outputs, o = i % outputs;
    double sum = 0, magnitude = 0;
    for (int64_t k = 0; k < inputs; ++k) {
      const int code = w.codes.values<int8_t>()[static_cast<size_t>(o * inputs + k)];
      const auto at = static_cast<size_t>(o * groups + k / w.group);
      const double product = double{x.row(r)[k]} * code * double{w.scales.values<float>()[at]};
      sum += product;
      magnitude += std::abs(product);
    }
    ASSERT_NEAR(double{found[static_cast<size_t>(i)]}, sum, unit * magnitude)
        << x.rows << " × " << inputs << " → " << outputs << " in groups of " << w.group << ", row "
        << r << " output " << o;
  }
}

void expect_product_is_close(int64_t rows, int64_t inputs, int64_t outputs, int64_t group) {
  const Weights4 w = draw(outputs, inputs, group);
  const Values values = normal_values(rows * inputs, 5);
  const MatView<const float> x(values.data(), rows, inputs);
  expect_close(w, x, multiply(gemm_of(w), x));
}

class GemmInt4EachTarget : public EachTarget {};
SCUTE_EACH_TARGET(GemmInt4EachTarget);

TEST_P(GemmInt4EachTarget, StaysWithinTheRoundingBound) {
  for (const int64_t rows : {1, 2, 13}) {
    for (const int64_t outputs :
         {1, 3, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 80, 96, 97, 128, 129, 160, 161, 240}) {
      expect_product_is_close(rows, 1, outputs, 1);
      expect_product_is_close(rows, 48, outputs, 16);
      expect_product_is_close(rows, 35, outputs, 7);
    }
    // Runs of 128 inputs, with groups that end before them, at their ends and beyond.
    for (const int64_t group : {1, 2, 32, 64, 96, 128, 192, 384}) {
      expect_product_is_close(rows, 384, 35, group);
    }
    expect_product_is_close(rows, 127, 40, 127);
    expect_product_is_close(rows, 129, 40, 43);
    expect_product_is_close(rows, 5120, 35, 128);
  }
  for (const int64_t rows : {5, 6, 7, 8, 9, 119, 120, 121, 241}) {
    expect_product_is_close(rows, 130, 35, 10);
  }
}

/// Every row alone, and outputs cut in two, against all at once.
void expect_cuts_keep_bits(int64_t rows, int64_t inputs, int64_t outputs, int64_t group) {
  const GemmInt4 gemm = gemm_of(draw(outputs, inputs, group));
  const Values x = normal_values(rows * inputs, 5);
  const MatView<const float> all(x.data(), rows, inputs);
  const Values y = multiply(gemm, all);
  for (int64_t r = 0; r < rows; ++r) {
    const Values row = multiply(gemm, all.slice_rows(r, 1));
    ASSERT_TRUE(std::equal(row.begin(), row.end(), y.begin() + r * outputs)) << "row " << r;
  }
  for (const int64_t count : {int64_t{1}, rows}) {
    for (int64_t cut = 0; cut < outputs; cut += GemmInt4::kOutputTile) {
      Values parts(static_cast<size_t>(count * outputs), 77.0f);
      const MatView<float> to(parts.data(), count, outputs);
      gemm.outputs(cut, all.slice_rows(0, count), to.columns(cut, outputs - cut));
      EXPECT_THAT(std::vector<float>(parts.begin(), parts.begin() + cut), Each(77.0f));
      gemm.outputs(0, all.slice_rows(0, count), to.columns(0, cut));
      ASSERT_TRUE(std::equal(parts.begin(), parts.end(), y.begin())) << count << " rows, " << cut;
    }
  }
}

TEST_P(GemmInt4EachTarget, BitsDependNeitherOnTheRowsAroundNorOnCutsOfOutputs) {
  expect_cuts_keep_bits(131, 384, 83, 128);
  expect_cuts_keep_bits(13, 160, 100, 160);
  expect_cuts_keep_bits(5, 129, 64, 43);
  expect_cuts_keep_bits(1100, 256, 33, 32);
}

TEST(GemmInt4, StridedViewsGiveTheSameBitsAndLeaveTheRestAlone) {
  constexpr int64_t kInputs = 192, kOutputs = 35, kWide = 250;
  const Weights4 w = draw(kOutputs, kInputs, 64);
  const GemmInt4 gemm = gemm_of(w);
  for (const int64_t rows : {1, 139}) {
    const Values wide = normal_values(rows * kWide, 5);
    const auto x = MatView<const float>(wide.data(), rows, kWide).columns(7, kInputs);
    Values packed;
    for (int64_t r = 0; r < rows; ++r) packed.insert(packed.end(), x.row(r), x.row(r) + kInputs);
    const Values right = multiply(gemm, {packed.data(), rows, kInputs});
    Values y(wide.size(), 77.0f);
    gemm(x, MatView<float>(y.data(), rows, kWide).columns(3, kOutputs));
    for (int64_t i = 0; i < rows * kWide; ++i) {
      const int64_t r = i / kWide, o = i % kWide - 3;
      const bool inside = o >= 0 && o < kOutputs;
      ASSERT_EQ(y[static_cast<size_t>(i)],
                inside ? right[static_cast<size_t>(r * kOutputs + o)] : 77.0f)
          << "row " << r << " output " << o;
    }
  }
}

TEST(GemmInt4, CallsFromTwoThreadsAtOnceGiveTheBitsOfOne) {
  constexpr int64_t kRows = 141, kInputs = 192;
  const Weights4 w = draw(80, kInputs, 64);
  const Values x = normal_values(kRows * kInputs, 7);
  const GemmInt4 gemm = gemm_of(w);
  const Values right = multiply(gemm, {x.data(), kRows, kInputs});
  std::vector<char> same(100);
  Threads(2).for_each(std::ssize(same), [&](int64_t i, int) {
    same[static_cast<size_t>(i)] = same_bits(multiply(gemm, {x.data(), kRows, kInputs}), right);
  });
  EXPECT_THAT(same, Each(1));
}

TEST(GemmInt4, TakesHalfAByteAWeightAndItsScales) {
  // 0.53 bytes a weight in groups of 128.
  EXPECT_EQ(gemm_of(draw(64, 256, 128)).bytes(), 64 * 256 / 2 + 64 * 2 * 4);
  EXPECT_EQ(GemmInt4().bytes(), 0);
}

TEST(GemmInt4, NoRowsNoOutputsOrNoInputsAreFine) {
  float y[6] = {9, 9, 9, 9, 9, 9};
  const float x[4] = {1, 2, 3, 4};
  gemm_of(draw(3, 4, 2))({x, 0, 4}, {y, 0, 3});
  GemmInt4(Tensor(DType::i8, {0, 4}), Tensor(DType::f32, {0, 2}), 2)({x, 1, 4}, {y, 1, 0});
  GemmInt4()({x, 1, 0}, {y, 1, 0});
  EXPECT_THAT(y, Each(9.0f));
  GemmInt4(Tensor(DType::i8, {3, 0}), Tensor(DType::f32, {3, 0}), 32)({x, 2, 0}, {y, 2, 3});
  EXPECT_THAT(y, Each(0.0f));
}

TEST(GemmInt4, RefusesWhatDoesNotFit) {
  const auto message = [](const Tensor& codes, const Tensor& scales, int64_t group) -> std::string {
    try {
      const GemmInt4 gemm(codes, scales, group);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  const Tensor codes(DType::i8, {3, 8}), scales(DType::f32, {3, 2});
  EXPECT_EQ(message(codes, scales, 4), "no error");
  EXPECT_THAT(message(scales, scales, 1), HasSubstr("expected I8, found F32"));
  EXPECT_THAT(message(Tensor(DType::i8, {8}), scales, 4), HasSubstr("found (8)"));
  EXPECT_THAT(message(codes, codes, 1), HasSubstr("expected F32, found I8"));
  EXPECT_THAT(message(codes, scales, 2), HasSubstr("expected (3, 4), found (3, 2)"));
  for (const int64_t group : {-4, 0, 3, 16}) {
    EXPECT_THAT(message(codes, scales, group), HasSubstr("a divisor of 8 inputs, found"));
  }
  for (const int8_t code : {int8_t{-9}, int8_t{8}}) {
    std::vector<int8_t> values(24);
    values[17] = code;
    EXPECT_THAT(message(Tensor::of<int8_t>({3, 8}, values), scales, 4),
                HasSubstr("found " + std::to_string(code)));
  }
}

}  // namespace
}  // namespace scute::gemm_int4_test
