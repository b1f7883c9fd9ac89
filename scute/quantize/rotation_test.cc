#include "scute/quantize/rotation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/kernels/hadamard.h"

namespace scute::rotation_test {
namespace {

using testing::ElementsAre;

/// Values of at most 11 bits, so that W is exact in f32 and in double.
Tensor random_matrix(int64_t rows, int64_t cols, uint64_t seed) {
  Tensor out(DType::f32, {rows, cols});
  Random random(seed);
  for (float& w : out.mutable_values<float>()) {
    w = static_cast<float>(std::round(random.normal() * 256) / 256);
  }
  return out;
}

std::vector<double> random_vector(int64_t n, uint64_t seed) {
  Random random(seed);
  std::vector<double> out(static_cast<size_t>(n));
  for (double& x : out) x = random.normal();
  return out;
}

std::vector<double> product(const Tensor& weight, const std::vector<double>& x) {
  const auto w = weight.matrix<float>();
  std::vector<double> out(static_cast<size_t>(w.rows), 0);
  for (int64_t o = 0; o < w.rows; ++o) {
    for (int64_t k = 0; k < w.cols; ++k) {
      out[static_cast<size_t>(o)] += static_cast<double>(w.row(o)[k]) * x[static_cast<size_t>(k)];
    }
  }
  return out;
}

std::vector<double> rotated(std::vector<double> x) {
  hadamard_rows(MatView<double>(x.data(), 1, std::ssize(x)));
  return x;
}

/// Of results of `terms` products of size about 1 whose weights were rounded once to f32: errors of
/// 2^−24 each add up like a random walk; 8 standard deviations.
double tolerance(int64_t terms) { return 8 * 0x1p-24 * std::sqrt(static_cast<double>(terms)); }

void expect_near(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], tolerance) << i;
}

TEST(Rotation, RotatedInputsAndWeightGiveTheSameProduct) {
  for (const int64_t inputs : {8, 24, 80, 28, 40}) {
    const Tensor weight = random_matrix(6, inputs, 1);
    const auto x = random_vector(inputs, 2);
    MatrixEdit edit(weight);
    const Tensor changed = edit.rotate_inputs().tensor();
    expect_near(product(changed, rotated(x)), product(weight, x), tolerance(inputs));
    const auto before = product(changed, x), after = product(weight, x);
    EXPECT_GT(std::abs(before[0] - after[0]), 1e-3) << "nothing was rotated";
  }
}

TEST(Rotation, IsDoneInDouble) {
  // Weights of 24 bits there and back: in double the error of about 1e-15 is rounded away, in f32
  // sums of 160 terms would lose the last bits of most.
  Tensor weight(DType::f32, {3, 160});
  Random random(5);
  for (float& w : weight.mutable_values<float>()) {
    w = 1 + static_cast<float>(random.below(1 << 23)) * 0x1p-23f;
  }
  MatrixEdit edit(weight);
  const Tensor back = edit.rotate_inputs().unrotate_inputs().tensor();
  EXPECT_TRUE(std::ranges::equal(back.values<float>(), weight.values<float>()));
}

TEST(Rotation, RotatedOutputsAreTheTransformOfTheProduct) {
  for (const int64_t outputs : {4, 12, 80}) {
    const Tensor weight = random_matrix(outputs, 10, 3);
    const auto x = random_vector(10, 4);
    MatrixEdit edit(weight);
    const auto y = product(edit.rotate_outputs().tensor(), x);
    expect_near(y, rotated(product(weight, x)), tolerance(10) * 4);
  }
}

TEST(Rotation, UnrotatingGivesTheWeightBack) {
  // 20 and 40: the transform is not its own inverse.
  for (const int64_t n : {16, 20, 40, 48, 80}) {
    const Tensor weight = random_matrix(n, n, 7);
    MatrixEdit edit(weight);
    edit.rotate_inputs().rotate_outputs();
    const Tensor changed = edit.tensor();
    const Tensor back = edit.unrotate_outputs().unrotate_inputs().tensor();
    // The doubles come back to ~1e-15; rounding to f32 then hits values of 8 fraction bits, unless
    // these are 0.
    double difference = 0;
    for (size_t i = 0; i < back.values<float>().size(); ++i) {
      EXPECT_NEAR(back.values<float>()[i], weight.values<float>()[i], 1e-14);
      difference += std::abs(changed.values<float>()[i] - weight.values<float>()[i]);
    }
    EXPECT_GT(difference, 1);
  }
}

TEST(Rotation, ScalingInputsFoldsAFactorIntoTheWeight) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6}, factors = {2, 0, -1};
  MatrixEdit edit(Tensor::of<float>({2, 3}, values));
  EXPECT_THAT(edit.scale_inputs(factors).tensor().values<float>(), ElementsAre(2, 0, -3, 8, 0, -6));
}

TEST(Rotation, OrdersSayWhichOldPlaceComesToEachNewOne) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  MatrixEdit edit(Tensor::of<float>({2, 3}, values));
  const std::vector<int32_t> columns = {2, 0, 1};
  EXPECT_THAT(edit.permute_inputs(columns).tensor().values<float>(), ElementsAre(3, 1, 2, 6, 4, 5));
}

TEST(Rotation, WhatDoesNotFitIsRefused) {
  MatrixEdit edit(random_matrix(4, 11, 1));
  EXPECT_THROW(edit.rotate_inputs(), Error);
  EXPECT_THROW(edit.unrotate_inputs(), Error);
  EXPECT_THROW(edit.scale_inputs(std::vector<float>(4, 1)), Error);
  MatrixEdit four(random_matrix(11, 4, 1));
  EXPECT_THROW(four.permute_inputs(std::vector<int32_t>{0, 1, 2}), Error);
  EXPECT_THROW(four.permute_inputs(std::vector<int32_t>{0, 1, 2, 2}), Error);
  EXPECT_THROW(four.permute_inputs(std::vector<int32_t>{0, 1, 2, 4}), Error);
  EXPECT_THROW(four.permute_inputs(std::vector<int32_t>{0, 1, 2, -1}), Error);
  EXPECT_NO_THROW(four.permute_inputs(std::vector<int32_t>{3, 1, 2, 0}));
  EXPECT_THROW(MatrixEdit(Tensor(DType::f32, {4})), Error);
}

// The Hessian of edited data must be the edited Hessian of the data.
struct Data {
  static constexpr int64_t kTokens = 50;
  int64_t n;
  std::vector<double> x = random_vector(kTokens * n, 11);

  std::vector<double> hessian() const {
    std::vector<double> out(static_cast<size_t>(n * n), 0);
    for (int64_t t = 0; t < kTokens; ++t) {
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          out[static_cast<size_t>(i * n + j)] +=
              x[static_cast<size_t>(t * n + i)] * x[static_cast<size_t>(t * n + j)];
        }
      }
    }
    return out;
  }
};

class EditHessian : public testing::TestWithParam<int> {};

TEST_P(EditHessian, IsTheHessianOfTheEditedData) {
  const bool permute = (GetParam() & 1) != 0, divide = (GetParam() & 2) != 0,
             rotate = (GetParam() & 4) != 0;
  constexpr int64_t kN = 40;  // its transform is not symmetric
  Data data{kN};
  std::vector<double> hessian = data.hessian();
  std::vector<int32_t> order(kN);
  std::vector<float> factors(kN);
  for (int32_t i = 0; i < kN; ++i) {
    order[static_cast<size_t>(i)] = (i * 7 + 3) % kN;
    factors[static_cast<size_t>(i)] = 0.5f + static_cast<float>(i % 5);
  }
  Data edited = data;
  for (int64_t t = 0; t < Data::kTokens; ++t) {
    double* row = edited.x.data() + t * kN;
    for (size_t i = 0; i < kN; ++i) {
      const size_t from = permute ? static_cast<size_t>(order[i]) : i;
      row[i] = data.x[static_cast<size_t>(t * kN) + from];
      if (divide) row[i] /= factors[i];
    }
  }
  if (rotate) hadamard_rows(MatView<double>(edited.x.data(), Data::kTokens, kN));
  const HessianEdit edit{.order = permute ? order : std::span<const int32_t>{},
                         .factors = divide ? factors : std::span<const float>{},
                         .rotate = rotate};
  edit_hessian(MatView<double>(hessian.data(), kN, kN), edit);
  // Entries up to 50 · 4 from sums of some hundred terms in double: 200 · 100 · 2^−53 = 2e-12.
  expect_near(hessian, edited.hessian(), 4e-12);
  for (size_t i = 0; i < kN; ++i) {
    for (size_t j = 0; j < i; ++j) EXPECT_EQ(hessian[i * kN + j], hessian[j * kN + i]);
  }
}

INSTANTIATE_TEST_SUITE_P(AllSteps, EditHessian, testing::Range(0, 8));

TEST(EditHessianSteps, NeedsTheUpperTriangleOnly) {
  const Data data{12};
  std::vector<double> whole = data.hessian(), upper = whole;
  for (size_t i = 0; i < 12; ++i) {
    for (size_t j = 0; j < i; ++j) upper[i * 12 + j] = 0;
  }
  edit_hessian(MatView<double>(whole.data(), 12, 12), {.rotate = true});
  edit_hessian(MatView<double>(upper.data(), 12, 12), {.rotate = true});
  EXPECT_EQ(whole, upper);
}

TEST(EditHessianSteps, AnInputWhoseFactorIsZeroIsDead) {
  std::vector<double> hessian = {4, 2, 2, 9};
  const std::vector<float> factors = {2, 0};
  edit_hessian(MatView<double>(hessian.data(), 2, 2), {.factors = factors});
  EXPECT_THAT(hessian, ElementsAre(1, 0, 0, 0));
}

TEST(EditHessianSteps, WhatDoesNotFitIsRefused) {
  std::vector<double> hessian(121, 1);
  const MatView<double> square(hessian.data(), 11, 11);
  const std::vector<float> short_factors(10, 1), bad(11, std::numeric_limits<float>::quiet_NaN());
  const std::vector<int32_t> twice(11, 0);
  EXPECT_THROW(edit_hessian(square, {.rotate = true}), Error);
  EXPECT_THROW(edit_hessian(square, {.factors = short_factors}), Error);
  EXPECT_THROW(edit_hessian(square, {.factors = bad}), Error);
  EXPECT_THROW(edit_hessian(square, {.order = twice}), Error);
  EXPECT_THROW(edit_hessian(square.slice_rows(0, 4), {}), Error);
}

}  // namespace
}  // namespace scute::rotation_test
