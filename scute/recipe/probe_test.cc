#include "scute/recipe/probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "scute/base/error.h"

namespace scute::probe_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

NamedTensor tensor(const char* name, std::vector<float> values, Shape shape) {
  return {name, Tensor::of<float>(std::move(shape), values)};
}

TEST(Probe, ComparesEveryTensorBitForBit) {
  const std::vector<NamedTensor> a{tensor("features", {1, -4}, {1, 2}),
                                   tensor("logits", {8, 1, 0, 2}, {2, 2})};
  const ProbeComparison same = require_same_bits(a, a, "folder");
  EXPECT_EQ(same.values, 6);
  EXPECT_EQ(same.tokens, 2);
  EXPECT_TRUE(same.identical);
  EXPECT_EQ(same.largest, 0);
  // A difference in the first tensor is not hidden by a last one that is the same.
  std::vector<NamedTensor> b = a;
  b[0] = tensor("features", {1, -3}, {1, 2});
  EXPECT_FALSE(compare_probes(a, b).identical);
  EXPECT_EQ(compare_probes(a, b).largest, 0.25);
  // −0 and 0 are equal numbers, but not the same bits.
  b[0] = a[0];
  b[1] = tensor("logits", {8, 1, -0.0F, 2}, {2, 2});
  EXPECT_EQ(compare_probes(a, b).largest, 0);
  EXPECT_FALSE(compare_probes(a, b).identical);
  EXPECT_THAT([&] { require_same_bits(a, b, "folder"); },
              ThrowsMessage<Error>(AllOf(HasSubstr("folder"), HasSubstr("a difference"))));
}

TEST(Probe, OtherShapesAndNumbersThatAreNoneAreErrors) {
  const std::vector<NamedTensor> a{tensor("logits", {1, 2}, {1, 2})};
  EXPECT_THAT(
      [&] {
        compare_probes(a, {tensor("logits", {1, 2}, {2, 1})});
      },
      ThrowsMessage<Error>(HasSubstr("logits")));
  EXPECT_THAT([&] { compare_probes(a, {}); }, ThrowsMessage<Error>(HasSubstr("1 tensors")));
  const std::vector<NamedTensor> nan{tensor("logits", {std::nanf(""), 2}, {1, 2})};
  EXPECT_THAT([&] { compare_probes(nan, nan); }, ThrowsMessage<Error>(HasSubstr("finite")));
}

}  // namespace
}  // namespace scute::probe_test
