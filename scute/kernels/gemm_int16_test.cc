#include "scute/kernels/gemm_int16.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "scute/base/error.h"
#include "scute/base/threads.h"
#include "scute/kernels/reference_gemm_int16.h"
#include "scute/kernels/test_targets.h"

namespace scute::gemm_int16_test {
namespace {

using testing::Each;
using testing::HasSubstr;
using Codes = std::vector<int16_t>;
using Sums = std::vector<int64_t>;

class GemmInt16EachTarget : public EachTarget {};
SCUTE_EACH_TARGET(GemmInt16EachTarget);

/// Every code is as likely, but for the ends of the codes and of their halves: one place in five.
Codes draw(int64_t n, uint64_t seed) {
  constexpr int16_t kEnds[] = {-32768, 32767, 127, 128, -128, -129, 32640, -32641};
  Random random(seed);
  Codes codes(static_cast<size_t>(n));
  for (int16_t& code : codes) {
    code = static_cast<int16_t>(static_cast<int64_t>(random.below(65536)) - 32768);
    if (random.below(5) == 0) code = kEnds[random.below(std::size(kEnds))];
  }
  return codes;
}

Tensor matrix(const Codes& codes, int64_t outputs, int64_t inputs) {
  return Tensor::of<int16_t>({outputs, inputs}, codes);
}

struct Case {
  int64_t rows, inputs, outputs;
};

void expect_equal_to_the_reference(const Case& c, const Codes& x, const Codes& w) {
  const MatView<const int16_t> in(x.data(), c.rows, c.inputs), codes(w.data(), c.outputs, c.inputs);
  const auto size = static_cast<size_t>(c.rows * c.outputs);
  Sums found(size, 99), expected(size);
  reference::gemm_int16(in, codes, {expected.data(), c.rows, c.outputs});
  GemmInt16(matrix(w, c.outputs, c.inputs))(in, {found.data(), c.rows, c.outputs});
  EXPECT_EQ(found, expected) << c.rows << " × " << c.inputs << " → " << c.outputs;
}

TEST_P(GemmInt16EachTarget, equals_the_reference_at_every_size) {
  std::vector<Case> cases{{3, 2100, 35}, {64, 2100, 64}, {6, 1021, 33}};
  for (const int64_t outputs : {0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65}) {
    for (const int64_t inputs : {0, 1, 2, 3, 31, 128}) cases.push_back({7, inputs, outputs});
  }
  for (const int64_t rows : {0, 1, 2, 3, 4, 5, 6, 11, 12, 13, 37}) cases.push_back({rows, 37, 35});
  // Around where 32-bit sums move on to 64 bits.
  for (const int64_t inputs : {509, 510, 511, 512, 1019, 1020}) cases.push_back({5, inputs, 17});
  for (const Case& c : cases) {
    expect_equal_to_the_reference(c, draw(c.rows * c.inputs, 1), draw(c.outputs * c.inputs, 2));
  }
}

TEST_P(GemmInt16EachTarget, extreme_codes_never_overflow) {
  // The half products are largest at x = −32768 with w = −32768 (high −128), 32767 (high 128) and
  // ±128 (low −128, high 1 or −1).
  for (const int16_t x : {int16_t{-32768}, int16_t{32767}}) {
    for (const int16_t w : {int16_t{-32768}, int16_t{32767}, int16_t{128}, int16_t{-128}}) {
      for (const int64_t inputs : {510, 512, 2100}) {
        const Case c{7, inputs, 33};
        expect_equal_to_the_reference(c, Codes(static_cast<size_t>(c.rows * inputs), x),
                                      Codes(static_cast<size_t>(c.outputs * inputs), w));
      }
    }
  }
}

TEST_P(GemmInt16EachTarget, panels_of_bytes_and_of_others_side_by_side_equal_the_reference) {
  // 100 outputs are four panels of up to 32. All codes are bytes, whose products have a short cut,
  // but one: in no panel, in the first, the second or the last, at either end of its inputs.
  for (const int64_t inputs : {1, 6, 511, 1021}) {
    const Case c{7, inputs, 100};
    Codes w = draw(c.outputs * inputs, 3);
    for (int16_t& code : w) code = static_cast<int16_t>(code >> 8);
    const Codes x = draw(c.rows * inputs, 4);
    expect_equal_to_the_reference(c, x, w);
    for (const int64_t output : {0, 31, 32, 99}) {
      for (const int16_t wide : {int16_t{128}, int16_t{-129}, int16_t{32767}}) {
        Codes some = w;
        some[static_cast<size_t>(output * inputs + (wide < 0 ? 0 : inputs - 1))] = wide;
        expect_equal_to_the_reference(c, x, some);
      }
    }
  }
}

TEST_P(GemmInt16EachTarget, strided_views_leave_the_rest_alone) {
  constexpr int64_t kRows = 13, kInputs = 23, kOutputs = 35, kWide = 50;
  const Codes wide = draw(kRows * kWide, 5), w = draw(kOutputs * kInputs, 6);
  const auto x = MatView<const int16_t>(wide.data(), kRows, kWide).columns(7, kInputs);
  Sums expected(kRows * kWide, 77), found(kRows * kWide, 77);
  reference::gemm_int16(x, {w.data(), kOutputs, kInputs},
                        MatView<int64_t>(expected.data(), kRows, kWide).columns(3, kOutputs));
  GemmInt16(matrix(w, kOutputs, kInputs))(
      x, MatView<int64_t>(found.data(), kRows, kWide).columns(3, kOutputs));
  EXPECT_EQ(found, expected);
}

TEST(GemmInt16, calls_from_two_threads_at_once_give_the_sums_of_one) {
  constexpr int64_t kRows = 31, kInputs = 96, kOutputs = 80;
  const Codes x = draw(kRows * kInputs, 7), w = draw(kOutputs * kInputs, 8);
  const MatView<const int16_t> in(x.data(), kRows, kInputs);
  Sums right(kRows * kOutputs);
  reference::gemm_int16(in, {w.data(), kOutputs, kInputs}, {right.data(), kRows, kOutputs});
  const GemmInt16 gemm(matrix(w, kOutputs, kInputs));
  std::vector<char> same(100);
  Threads(2).for_each(std::ssize(same), [&](int64_t i, int) {
    Sums y(right.size());
    gemm(in, {y.data(), kRows, kOutputs});
    same[static_cast<size_t>(i)] = y == right;
  });
  EXPECT_THAT(same, Each(1));
}

TEST(GemmInt16, nothing_in_or_out_is_fine) {
  int64_t y[6] = {9, 9, 9, 9, 9, 9};
  const int16_t x[4] = {1, 2, 3, 4};
  const GemmInt16 some(matrix(Codes(12, 1), 3, 4)), none(Tensor(DType::i16, {0, 4}));
  some({x, 0, 4}, {y, 0, 3});
  none({x, 1, 4}, {y, 1, 0});
  GemmInt16()({x, 1, 0}, {y, 1, 0});
  EXPECT_THAT(y, Each(9));
  GemmInt16(Tensor(DType::i16, {3, 0}))({nullptr, 2, 0}, {y, 2, 3});
  EXPECT_THAT(y, Each(0)) << "a sum of nothing";
}

TEST(GemmInt16, keeps_four_bytes_for_each_code) {
  const GemmInt16 gemm(matrix(Codes(64 * 128, 1), 64, 128));
  EXPECT_EQ(gemm.outputs(), 64);
  EXPECT_EQ(gemm.inputs(), 128);
  EXPECT_EQ(gemm.bytes(), 64 * 128 * 4);
  EXPECT_EQ(GemmInt16().bytes(), 0);
}

TEST(GemmInt16, refuses_what_is_no_matrix_of_16_bit_codes) {
  const auto message = [](const Tensor& codes) -> std::string {
    try {
      const GemmInt16 gemm(codes);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(message(Tensor(DType::i8, {3, 4})), HasSubstr("expected I16, found I8"));
  EXPECT_THAT(message(Tensor(DType::i16, {12})), HasSubstr("found (12)"));
  EXPECT_EQ(message(Tensor(DType::i16, {3, 4})), "no error");
}

}  // namespace
}  // namespace scute::gemm_int16_test
