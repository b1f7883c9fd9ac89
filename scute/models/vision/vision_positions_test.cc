// Position vectors for another grid.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"
#include "scute/models/vision/vision_tower.h"

namespace scute::vision_positions_test {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

/// What each output of one axis takes from input (line, 0) when only that input is 1: every column
/// of the output line sums its weights over columns, which is 1 where the input is constant along
/// the columns.
std::vector<float> weights_of(int64_t from, int64_t to, int64_t line) {
  Tensor in(DType::f32, {1, from * from, 1});
  for (int64_t x = 0; x < from; ++x) {
    in.mutable_values<float>()[static_cast<size_t>(line * from + x)] = 1;
  }
  const Tensor out = resample_positions(in, from, to);
  std::vector<float> column;
  for (int64_t y = 0; y < to; ++y) {
    column.push_back(out.values<float>()[static_cast<size_t>(y * to)]);
  }
  return column;
}

TEST(ResamplePositions, HasPyTorchsWeightsFrom37To27) {
  struct Expected {
    int64_t output, first;
    std::vector<double> weights;
  };
  // Known values of the antialiased cubic kernel with a = −1/2, to six digits.
  const std::vector<Expected> all{
      {0, 0, {.728288, .327991, -.056278}},
      {1, 0, {-.036511, .497796, .569422, -.017471, -.013235}},
      {13, 16, {-.049032, .183796, .730470, .183796, -.049032}},
      {26, 34, {-.056278, .327991, .728288}},
  };
  for (const Expected& expected : all) {
    SCOPED_TRACE(expected.output);
    for (int64_t line = 0; line < 37; ++line) {
      const int64_t at = line - expected.first;
      const bool inside = at >= 0 && at < static_cast<int64_t>(expected.weights.size());
      const double weight = inside ? expected.weights[static_cast<size_t>(at)] : 0;
      const double got =
          static_cast<double>(weights_of(37, 27, line)[static_cast<size_t>(expected.output)]);
      EXPECT_NEAR(got, weight, 1e-6) << "input " << line;
    }
  }
}

TEST(ResamplePositions, WidensWithoutNarrowingTheKernel) {
  // Doubling: output 2i lies at input i − 1/4, output 2i + 1 at i + 1/4, so that Keys' cubic at
  // distances 5/4, 1/4, 3/4, 7/4 is −9/128, 111/128, 29/128, −3/128.
  const std::vector<double> at_input_3{-3, -9, 29, 111, 111, 29, -9, -3};
  const std::vector<float> got = weights_of(8, 16, 3);
  for (size_t o = 0; o < got.size(); ++o) {
    const double expected = o >= 3 && o < 11 ? at_input_3[o - 3] / 128 : 0;
    EXPECT_NEAR(static_cast<double>(got[o]), expected, 1e-6) << o;
  }
}

TEST(ResamplePositions, KeepsConstantsAndWidthsApart) {
  Tensor in(DType::f32, {1, 25, 3});
  for (size_t i = 0; i < 75; ++i) in.mutable_values<float>()[i] = static_cast<float>(i % 3) + 0.5f;
  const Tensor out = resample_positions(in, 5, 3);
  ASSERT_EQ(out.shape(), (Shape{1, 9, 3}));
  for (size_t i = 0; i < 27; ++i) {
    EXPECT_NEAR(out.values<float>()[i], static_cast<float>(i % 3) + 0.5f, 1e-6f);
  }
}

TEST(ResamplePositions, LeavesTheSameGridAlone) {
  Tensor in(DType::f32, {1, 9, 2});
  for (size_t i = 0; i < 18; ++i) in.mutable_values<float>()[i] = static_cast<float>(i) / 7;
  EXPECT_TRUE(std::ranges::equal(resample_positions(in, 3, 3).bytes(), in.bytes()));
}

TEST(ResamplePositions, RefusesShapesThatDoNotFit) {
  const Tensor in(DType::f32, {1, 10, 2});
  EXPECT_THAT([&] { resample_positions(in, 3, 2); },
              ThrowsMessage<Error>(HasSubstr("(1, 9, width), found (1, 10, 2)")));
  EXPECT_THROW(resample_positions(in, 3, 0), Error);
  EXPECT_THROW(resample_positions(in, int64_t{1} << 40, 2), Error);
}

}  // namespace
}  // namespace scute::vision_positions_test
