#include "scute/experiments/activation_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "scute/io/npy.h"
#include "scute/io/testing.h"

namespace scute::activation_values_test {
namespace {

using ::testing::SizeIs;

template <class T>
NamedTensor array(const std::string& name, const std::vector<T>& values) {
  return {name, Tensor::of<T>({static_cast<int64_t>(values.size())}, values)};
}

TEST(ActivationValues, CutAtTheExactQuantileOfMagnitudes) {
  const fixtures::Folder folder;
  // −1 … −9999 and 10000: magnitudes 1 … 10000, so that share a is the value 10000·a.
  std::vector<double> values;
  for (int i = 1; i <= 10'000; ++i) values.push_back(i == 10'000 ? i : -i);
  write_npz(folder / "a.npz", {array("s", values)});
  const auto sites = read_activation_values(folder / "a.npz", {0.9995, 0.5, 1.0, 1e-9});
  ASSERT_THAT(sites, SizeIs(1));
  EXPECT_EQ(sites[0].count, 10'000);
  EXPECT_EQ(sites[0].min, -9999);
  EXPECT_EQ(sites[0].max, 10'000);
  const auto& cuts = sites[0].cuts;
  EXPECT_EQ(cuts[0].threshold, 9995);
  EXPECT_EQ(cuts[0].clipped, 0.0005);
  EXPECT_NEAR(cuts[0].range_reduction, 1 - 2 * 9995.0 / 19999, 1e-15);
  EXPECT_EQ(cuts[1].threshold, 5000);
  EXPECT_EQ(cuts[1].clipped, 0.5);
  EXPECT_EQ(cuts[2].threshold, 10'000);
  EXPECT_EQ(cuts[2].clipped, 0);
  EXPECT_EQ(cuts[2].range_reduction, 0);
  EXPECT_EQ(cuts[3].threshold, 1);
}

TEST(ActivationValues, FloatsAndDoublesOddValuesAndNone) {
  const fixtures::Folder folder;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  write_npz(folder / "a.npz",
            {array<float>("floats", {1, nan, -INFINITY, 3, INFINITY}),
             array<double>("constant", {2, 2, 2}), array<float>("none", {nan}),
             array<double>("empty", {}), array<double>("huge", {-1.7e308, 1.7e308})});
  const auto sites = read_activation_values(folder / "a.npz", {1.0});
  ASSERT_THAT(sites, SizeIs(5));
  EXPECT_EQ(sites[0].count, 2);
  EXPECT_EQ(sites[0].nans, 1);
  EXPECT_EQ(sites[0].infinities, 2);
  EXPECT_EQ(sites[0].max, 3);
  EXPECT_EQ(sites[1].cuts[0].range_reduction, 0);  // a range of 0 is not divided by
  EXPECT_THAT(sites[2].cuts, SizeIs(0));
  EXPECT_EQ(sites[3].count, 0);
  EXPECT_TRUE(std::isfinite(sites[4].cuts[0].range_reduction));
  EXPECT_THROW(read_activation_values(folder / "a.npz", {0.0}), Error);
  EXPECT_THROW(read_activation_values(folder / "a.npz", {1.5}), Error);
  fixtures::put(folder / "b.npz", "no archive");
  EXPECT_THROW(read_activation_values(folder / "b.npz", {1.0}), Error);
}

TEST(ActivationValues, TheFileNameMayNameTheAlpha) {
  EXPECT_EQ(alpha_of_file("x/activations_m_pa0.9995_20260101_120000.npz"), 0.9995);
  EXPECT_EQ(alpha_of_file("activations_a_pa_b_pa1.0_x.npz"), 1.0);
  EXPECT_EQ(alpha_of_file("a_pa0.5.npz"), 0.5);
  for (const char* none : {"activations_m_paNone_2026.npz", "a_pa2_x.npz", "_pa0.5x_.npz", "a.npz",
                           "dir_pa0.5_/a.npz", ""}) {
    EXPECT_EQ(alpha_of_file(none), std::nullopt) << none;
  }
}

}  // namespace
}  // namespace scute::activation_values_test
