#include "scute/models/code_matrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "scute/kernels/test_targets.h"
#include "scute/models/regressor/test_regressors.h"

namespace scute::code_matrix_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<int16_t> codes_of_row(const CodeMatrix& matrix, int64_t row) {
  const int16_t* first = matrix.codes().matrix<int16_t>().row(row);
  return {first, first + matrix.inputs()};
}

TEST(CodeMatrix, CodesAreRoundedHalfToEvenWithTheScaleOfTheirRowThenCut) {
  const Tensor weight = Tensor::of<float>(
      {2, 6}, std::vector<float>{0.5F, 1.5F, -2.5F, 127.4F, 127.6F, -200, 1, 3, -5, 0, 254, -257});
  const CodeMatrix narrow(weight, {1, 2}, 8);
  EXPECT_THAT(codes_of_row(narrow, 0), ElementsAre(0, 2, -2, 127, 127, -128));
  EXPECT_THAT(codes_of_row(narrow, 1), ElementsAre(0, 2, -2, 0, 127, -128));
  const CodeMatrix wide(weight, {0x1p-8F, 1}, 16);
  EXPECT_THAT(codes_of_row(wide, 0), ElementsAre(128, 384, -640, 32614, 32666, -32768));
  EXPECT_EQ(wide.outputs(), 2);
  EXPECT_EQ(wide.inputs(), 6);
  EXPECT_GE(wide.bytes(), 2 * 12);
}

class CodeMatrixSums : public EachTarget {};
SCUTE_EACH_TARGET(CodeMatrixSums);

TEST_P(CodeMatrixSums, EverySumIsExact) {
  Random random(3);
  for (const int bits : {8, 16}) {
    const int64_t codes = int64_t{1} << bits;
    for (const int64_t inputs : {1, 7, 64, 2100}) {
      const int64_t outputs = 33, rows = 5;
      Tensor weight(DType::f32, {outputs, inputs}), x(DType::i16, {rows, inputs});
      const auto random_code = [&] {
        return static_cast<int>(static_cast<int64_t>(random.below(static_cast<uint64_t>(codes))) -
                                codes / 2);
      };
      for (float& w : weight.mutable_values<float>()) w = static_cast<float>(random_code());
      for (int16_t& v : x.mutable_values<int16_t>()) v = static_cast<int16_t>(random_code());
      // The lowest codes everywhere, the largest sums there are.
      std::fill_n(weight.mutable_matrix<float>().row(0), inputs, static_cast<float>(-codes / 2));
      std::fill_n(x.mutable_matrix<int16_t>().row(0), inputs, static_cast<int16_t>(-codes / 2));
      const CodeMatrix matrix(weight, std::vector<float>(static_cast<size_t>(outputs), 1.0F), bits);
      scute::Run run;
      matrix.multiply(run, x.matrix<int16_t>(), [&](const auto& sums) {
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t o = 0; o < outputs; ++o) {
            int64_t expected = 0;
            for (int64_t k = 0; k < inputs; ++k) {
              expected += int64_t{x.matrix<int16_t>().row(r)[k]} *
                          static_cast<int64_t>(weight.matrix<float>().row(o)[k]);
            }
            EXPECT_EQ(int64_t{sums.row(r)[o]}, expected) << bits << " bits, " << inputs;
          }
        }
      });
    }
  }
}

TEST(CodeMatrix, OtherBitsAreRefused) {
  const Tensor weight(DType::f32, {2, 2});
  for (const int bits : {0, 4, 12, 32}) {
    EXPECT_THAT(testing_regressors::error_of([&] {
                  CodeMatrix(weight, {1, 1}, bits);
                }),
                HasSubstr("expected 8 or 16 bits"));
  }
}

}  // namespace
}  // namespace scute::code_matrix_test
