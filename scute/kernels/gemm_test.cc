#include "scute/kernels/gemm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hwy/targets.h>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/base/threads.h"
#include "scute/kernels/gemm_amx.h"
#include "scute/kernels/gemm_highway.h"
#include "scute/kernels/reference_gemm.h"

namespace scute::gemm_test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using Values = std::vector<float>;

Values draw(int64_t n, uint64_t seed) {
  Random random(seed);
  Values values(static_cast<size_t>(n));
  for (float& v : values) v = static_cast<float>(2 * random.uniform() - 1);
  return values;
}

Values rounded(Values values) {
  for (float& v : values) v = to_float(to_bf16(v));
  return values;
}

MatView<const float> view(const Values& values, int64_t rows) {
  return {values.data(), rows, std::ssize(values) / rows};
}

Tensor matrix(const Values& values, int64_t rows) {
  return Tensor::of<float>({rows, std::ssize(values) / rows}, values);
}

Values multiply(const Gemm& gemm, MatView<const float> x) {
  Values y(static_cast<size_t>(x.rows * gemm.outputs()));
  gemm(x, {y.data(), x.rows, gemm.outputs()});
  return y;
}

bool same_bits(const float* a, const float* b, int64_t n) {
  return std::memcmp(a, b, static_cast<size_t>(n) * sizeof(float)) == 0;
}
bool same_bits(const Values& a, const Values& b) {
  return a.size() == b.size() && same_bits(a.data(), b.data(), std::ssize(a));
}

/// Runs `check` with Highway held to each instruction set that this machine has.
template <class Check>
void on_every_target(const Check& check) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    check();
    hwy::SetSupportedTargetsForTest(0);
  }
}

/// Adding K products one by one in f32, in any order, fused or not, errs by less than
/// K·u / (1 − K·u) · Σ|x·w| with u = 2⁻²⁴ (Higham, Accuracy and Stability, §3.1); K ≤ 5120 makes
/// the divisor above 0.999. One more u covers bf16 instructions that add products in pairs.
void expect_close(const Values& found, MatView<const float> x, MatView<const float> w) {
  const ReferenceProduct expected = reference_gemm(x, w);
  ASSERT_EQ(found.size(), expected.values.size());
  const double unit = static_cast<double>(x.cols + 1) * 0x1p-24 * 1.001;
  for (size_t i = 0; i < found.size(); ++i) {
    ASSERT_NEAR(double{found[i]}, expected.values[i], unit * expected.magnitudes[i])
        << "row " << i / static_cast<size_t>(w.rows) << " output "
        << i % static_cast<size_t>(w.rows);
  }
}

void expect_product_is_close(int64_t rows, int64_t inputs, int64_t outputs, Compute compute,
                             bool highway) {
  SCOPED_TRACE(testing::Message() << rows << " × " << inputs << " → " << outputs
                                  << (compute == Compute::bf16 ? " bf16" : " f32"));
  const Values x = draw(rows * inputs, 1), w = draw(outputs * inputs, 2);
  Values y(static_cast<size_t>(rows * outputs), std::numeric_limits<float>::quiet_NaN());
  const MatView<float> to(y.data(), rows, outputs);
  if (highway) {
    make_highway_gemm(matrix(w, outputs), compute)->multiply(0, view(x, rows), to);
  } else {
    Gemm(matrix(w, outputs), compute)(view(x, rows), to);
  }
  if (compute == Compute::bf16) {
    const Values x16 = rounded(x), w16 = rounded(w);
    expect_close(y, view(x16, rows), view(w16, outputs));
  } else {
    expect_close(y, view(x, rows), view(w, outputs));
  }
}

void expect_products_are_close(bool highway) {
  for (const Compute compute : {Compute::f32, Compute::bf16}) {
    for (const int64_t outputs : {1, 3, 16, 17, 31, 32, 33, 80}) {
      for (const int64_t inputs : {1, 7, 48}) {
        expect_product_is_close(13, inputs, outputs, compute, highway);
      }
    }
    for (const int64_t rows : {1, 2, 5, 6, 7, 8, 9, 31, 33, 119, 121, 127, 128, 129, 161}) {
      expect_product_is_close(rows, 37, 35, compute, highway);
    }
    expect_product_is_close(3, 5120, 35, compute, highway);
  }
}

TEST(Gemm, StaysWithinTheRoundingBound) { expect_products_are_close(false); }

TEST(Gemm, HighwayStaysWithinTheRoundingBoundOnEveryTarget) {
  on_every_target([] { expect_products_are_close(true); });
}

/// Rows [first, first + count) of x alone against the same rows of the whole product.
void expect_rows_independent(int64_t inputs, int64_t outputs, Compute compute) {
  constexpr int64_t kAll = 300;
  SCOPED_TRACE(testing::Message() << inputs << " → " << outputs
                                  << (compute == Compute::bf16 ? " bf16" : " f32"));
  const Values x = draw(kAll * inputs, 3);
  const Gemm gemm(matrix(draw(outputs * inputs, 4), outputs), compute);
  const Values all = multiply(gemm, view(x, kAll));
  int64_t first = 0;
  for (const int64_t count : {1, 2, 3, 4, 7, 8, 9, 31, 32, 33, 95, 127, 128, 129, 161}) {
    const Values some = multiply(gemm, view(x, kAll).slice_rows(first, count));
    EXPECT_TRUE(same_bits(some.data(), all.data() + first * outputs, count * outputs))
        << count << " rows from row " << first << ", " << gemm.backend();
    first = (first + 53) % (kAll - 161);
  }
}

TEST(Gemm, ARowDoesNotDependOnTheRowsAroundIt) {
  for (const Compute compute : {Compute::f32, Compute::bf16}) {
    for (const int64_t inputs : {16, 48, 64, 256, 513}) {
      for (const int64_t outputs : {1, 3, 35, 48, 80, 256}) {
        expect_rows_independent(inputs, outputs, compute);
      }
    }
    expect_rows_independent(768, 3072, compute);
    expect_rows_independent(1536, 80, compute);
    expect_rows_independent(5120, 35, compute);
  }
}

TEST(Gemm, ARowDoesNotDependOnTheRowsAroundItOnEveryHighwayTarget) {
  constexpr int64_t kAll = 131, kInputs = 50, kOutputs = 83;
  const Values x = draw(kAll * kInputs, 3), w = draw(kOutputs * kInputs, 4);
  on_every_target([&] {
    for (const Compute compute : {Compute::f32, Compute::bf16}) {
      const auto gemm = make_highway_gemm(matrix(w, kOutputs), compute);
      Values all(kAll * kOutputs), row(kOutputs);
      gemm->multiply(0, view(x, kAll), {all.data(), kAll, kOutputs});
      for (int64_t r = 0; r < kAll; ++r) {
        gemm->multiply(0, view(x, kAll).slice_rows(r, 1), {row.data(), 1, kOutputs});
        ASSERT_TRUE(same_bits(row.data(), all.data() + r * kOutputs, kOutputs)) << "row " << r;
      }
    }
  });
}

/// Outputs from `cut` on, those before it, and one tile in the middle, against all at once.
void expect_cuts_keep_bits(const Gemm::Impl& gemm, MatView<const float> x, int64_t outputs) {
  Values all(static_cast<size_t>(x.rows * outputs));
  gemm.multiply(0, x, {all.data(), x.rows, outputs});
  for (int64_t cut = 0; cut < outputs; cut += Gemm::kOutputTile) {
    Values parts(all.size(), 77.0f);
    const MatView<float> to(parts.data(), x.rows, outputs);
    gemm.multiply(cut, x, to.columns(cut, outputs - cut));
    for (int64_t r = 0; r < x.rows; ++r) {
      for (int64_t o = 0; o < cut; ++o) ASSERT_EQ(to.row(r)[o], 77.0f) << "row " << r;
    }
    if (cut > 0) gemm.multiply(0, x, to.columns(0, cut));
    ASSERT_TRUE(same_bits(parts, all)) << gemm.name() << ", cut at " << cut;
    const int64_t count = std::min(Gemm::kOutputTile, outputs - cut);
    Values tile(static_cast<size_t>(x.rows * count));
    gemm.multiply(cut, x, {tile.data(), x.rows, count});
    for (int64_t r = 0; r < x.rows; ++r) {
      ASSERT_TRUE(same_bits(tile.data() + r * count, to.row(r) + cut, count)) << gemm.name();
    }
  }
}

TEST(Gemm, OutputsMayBeCutAtTilesOnEveryTarget) {
  for (const int64_t inputs : {48, 700, 1301}) {
    for (const int64_t outputs : {33, 260}) {
      const Tensor weight = matrix(draw(outputs * inputs, 14), outputs);
      for (const int64_t rows : {1, 9, 133}) {
        const Values x = draw(rows * inputs, 13);
        on_every_target([&] {
          for (const Compute compute : {Compute::f32, Compute::bf16}) {
            expect_cuts_keep_bits(*make_highway_gemm(weight, compute), view(x, rows), outputs);
          }
        });
        const auto other = make_amx_gemm(weight);
        if (other != nullptr) expect_cuts_keep_bits(*other, view(x, rows), outputs);
      }
    }
  }
}

/// What AVX-512 sums have always been: blocks of inputs from zero, with fused multiply-adds.
TEST(Gemm, SumsInTheBlocksThatItsBitsAreMadeOf) {
  for (const int64_t inputs : {48, 512, 513, 1024, 1025, 2500}) {
    const Values x = draw(inputs, 15), w = draw(inputs, 16);
    on_every_target([&] {
      const std::string target(highway_target());
      if (target != "AVX2" && target != "AVX3") return;
      const int64_t block = target == "AVX2" ? inputs : inputs > 1024 ? 1024 : 512;
      float expected = 0, found = 0;
      for (int64_t first = 0; first < inputs; first += block) {
        float sum = 0;
        for (int64_t k = first; k < std::min(inputs, first + block); ++k) {
          sum = std::fma(x[static_cast<size_t>(k)], w[static_cast<size_t>(k)], sum);
        }
        expected = first == 0 ? sum : expected + sum;
      }
      make_highway_gemm(matrix(w, 1), Compute::f32)->multiply(0, view(x, 1), {&found, 1, 1});
      EXPECT_EQ(found, expected) << inputs << " inputs";
    });
  }
}

/// What a tile adds up, of 32 inputs and fewer: its even and its odd products.
float sum_of_tile(const Values& x, const Values& w, size_t first, size_t last) {
  float even = 0, odd = 0;
  for (size_t k = first; k < last; ++k) {
    float& sum = k % 2 == 0 ? even : odd;
    sum = std::fma(to_float(to_bf16(x[k])), to_float(to_bf16(w[k])), sum);
  }
  return even + odd;
}

/// Blocks of 1024 inputs from zero, of tiles from zero: Intel's manual, TDPBF16PS.
TEST(Gemm, TilesOfBf16SumAsTheManualSays) {
  for (const size_t inputs : {1u, 31u, 32u, 33u, 768u, 1024u, 1025u, 2500u}) {
    const Values x = draw(static_cast<int64_t>(inputs), 17);
    const Values w = draw(static_cast<int64_t>(inputs), 18);
    const auto gemm = make_amx_gemm(matrix(w, 1));
    if (gemm == nullptr) GTEST_SKIP() << "SKIPPED: no AMX";
    float expected = 0, found = 0;
    for (size_t first = 0; first < inputs; first += 1024) {
      float sum = 0;
      const size_t end = std::min(inputs, first + 1024);
      for (size_t k = first; k < end; k += 32) sum += sum_of_tile(x, w, k, std::min(end, k + 32));
      expected = first == 0 ? sum : expected + sum;
    }
    gemm->multiply(0, view(x, 1), {&found, 1, 1});
    EXPECT_EQ(found, expected) << inputs << " inputs";
  }
}

TEST(Gemm, StridedViewsGiveTheSameBitsAndLeaveTheRestAlone) {
  constexpr int64_t kRows = 139, kInputs = 24, kOutputs = 35, kWide = 50;
  const Values wide = draw(kRows * kWide, 5);
  const auto x = view(wide, kRows).columns(7, kInputs);
  Values packed;
  for (int64_t r = 0; r < kRows; ++r) packed.insert(packed.end(), x.row(r), x.row(r) + kInputs);
  for (const Compute compute : {Compute::f32, Compute::bf16}) {
    const Gemm gemm(matrix(draw(kOutputs * kInputs, 6), kOutputs), compute);
    const Values expected = multiply(gemm, view(packed, kRows));
    EXPECT_TRUE(same_bits(multiply(gemm, x), expected));
    Values y(kRows * kWide, 77.0f);
    gemm(x, MatView<float>(y.data(), kRows, kWide).columns(3, kOutputs));
    for (int64_t r = 0; r < kRows; ++r) {
      const float* row = y.data() + r * kWide;
      ASSERT_TRUE(same_bits(row + 3, expected.data() + r * kOutputs, kOutputs)) << "row " << r;
      const auto untouched = [](float v) { return v == 77.0f; };
      ASSERT_TRUE(std::all_of(row, row + 3, untouched)) << "row " << r;
      ASSERT_TRUE(std::all_of(row + 3 + kOutputs, row + kWide, untouched)) << "row " << r;
    }
  }
}

TEST(Gemm, CallsFromTwoThreadsAtOnceGiveTheBitsOfOne) {
  constexpr int64_t kRows = 141, kInputs = 96, kOutputs = 80;
  const Values x = draw(kRows * kInputs, 7);
  for (const Compute compute : {Compute::f32, Compute::bf16}) {
    const Gemm gemm(matrix(draw(kOutputs * kInputs, 8), kOutputs), compute);
    const Values expected = multiply(gemm, view(x, kRows));
    std::vector<char> same(200);
    Threads(2).for_each(std::ssize(same), [&](int64_t i, int) {
      same[static_cast<size_t>(i)] = same_bits(multiply(gemm, view(x, kRows)), expected);
    });
    EXPECT_EQ(std::count(same.begin(), same.end(), 1), std::ssize(same));
  }
}

TEST(Gemm, TakesWeightsOfEveryFloatType) {
  constexpr int64_t kInputs = 40, kOutputs = 35;
  // Multiples of 1/8 up to 1: the same numbers in every type.
  Values w = draw(kInputs * kOutputs, 9);
  for (float& v : w) v = std::round(v * 8) / 8;
  std::vector<double> doubles(w.begin(), w.end());
  std::vector<f16> halves;
  std::vector<bf16> bfloats;
  for (const float v : w) {
    halves.push_back(to_f16(v));
    bfloats.push_back(to_bf16(v));
  }
  const Shape shape{kOutputs, kInputs};
  const Values x = draw(9 * kInputs, 10);
  for (const Compute compute : {Compute::f32, Compute::bf16}) {
    const Values expected = multiply(Gemm(matrix(w, kOutputs), compute), view(x, 9));
    for (const Tensor& other : {Tensor::of<double>(shape, doubles), Tensor::of<f16>(shape, halves),
                                Tensor::of<bf16>(shape, bfloats)}) {
      EXPECT_TRUE(same_bits(multiply(Gemm(other, compute), view(x, 9)), expected))
          << name_of(other.dtype());
    }
  }
}

TEST(Gemm, Bf16RoundsBothFactorsToNearestEven) {
  // 1 + 2⁻⁸ is halfway between 1 and 1 + 2⁻⁷ and goes to 1; 1 + 3·2⁻⁸ goes to 1 + 2⁻⁶.
  const Values halfway{1 + 0x1p-8f, 1 + 3 * 0x1p-8f};
  const Gemm gemm(matrix(halfway, 2), Compute::bf16);
  EXPECT_THAT(multiply(gemm, view(halfway, 2)),
              testing::ElementsAre(1.0f, 1 + 0x1p-6f, 1 + 0x1p-6f, (1 + 0x1p-6f) * (1 + 0x1p-6f)));
}

TEST(Gemm, AnInfinityStaysInItsOwnRow) {
  Values x(3 * 2, 1.0f);
  x[2] = std::numeric_limits<float>::infinity();
  for (const Compute compute : {Compute::f32, Compute::bf16}) {
    const Values y = multiply(Gemm(matrix(Values(5 * 2, 1.0f), 5), compute), view(x, 3));
    for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], i / 5 == 1 ? x[2] : 2.0f) << i;
  }
}

TEST(Gemm, NoRowsNoOutputsOrNoInputsAreFine) {
  float y[6] = {9, 9, 9, 9, 9, 9};
  for (const Compute compute : {Compute::f32, Compute::bf16}) {
    Gemm(matrix(Values(12, 1.0f), 3), compute)({y, 0, 4}, {y, 0, 3});
    Gemm(Tensor(DType::f32, {0, 4}), compute)({y, 1, 4}, {y, 1, 0});
    EXPECT_EQ(y[0], 9);
    Gemm(Tensor(DType::f32, {3, 0}), compute)({nullptr, 2, 0}, {y, 2, 3});
    EXPECT_THAT(y, testing::Each(0.0f));
    std::fill(std::begin(y), std::end(y), 9.0f);
  }
  Gemm()({y, 1, 0}, {y, 1, 0});
  EXPECT_EQ(Gemm().backend(), "none");
  EXPECT_EQ(Gemm().bytes(), 0);
}

TEST(Gemm, RefusesWeightsThatAreNoFloatMatrix) {
  const auto message = [](const Tensor& weight) -> std::string {
    try {
      const Gemm gemm(weight, Compute::f32);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(message(Tensor(DType::i8, {3, 4})), HasSubstr("expected a float type, found I8"));
  EXPECT_THAT(message(Tensor(DType::f32, {12})), HasSubstr("found (12)"));
  EXPECT_THAT(message(Tensor(DType::f32, {2, 3, 4})), HasSubstr("found (2, 3, 4)"));
}

TEST(Gemm, UsesTilesForBf16WhereThereAreSome) {
  const Tensor weight = matrix(Values(64 * 64, 1.0f), 64);
  EXPECT_EQ(Gemm(weight, Compute::f32).backend(), "highway f32");
  if (make_amx_gemm(weight) == nullptr) {
    EXPECT_THAT(Gemm(weight, Compute::bf16).backend(), StartsWith("highway bf16"));
    GTEST_SKIP() << "SKIPPED: no AMX";
  }
  EXPECT_EQ(Gemm(weight, Compute::bf16).backend(), "amx bf16");
}

TEST(Gemm, HoldsEachWeightOnceInItsOwnPrecision) {
  const Tensor weight = matrix(Values(64 * 128, 1.0f), 64);
  EXPECT_EQ(Gemm(weight, Compute::f32).bytes(), 64 * 128 * 4);
  EXPECT_EQ(Gemm(weight, Compute::bf16).bytes(), 64 * 128 * 2);
}

TEST(Gemm, SelfTestFindsNothingAndTargetsHaveNames) {
  EXPECT_EQ(gemm_self_test(), "");
  // The library without instruction sets of its own has one name on every machine.
  const std::string best(highway_target());
  const bool plain = best == "EMU128" || best == "SCALAR";
  on_every_target([&] {
    EXPECT_EQ(highway_target(),
              plain ? best : hwy::TargetName(hwy::SupportedTargets() & HWY_TARGETS));
    EXPECT_THAT(instruction_sets(), StartsWith(std::string(highway_target()) + ", "));
  });
}

}  // namespace
}  // namespace scute::gemm_test
