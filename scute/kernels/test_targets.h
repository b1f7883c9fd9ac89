// For tests: every instruction set of this machine in turn, and inputs.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "hwy/highway.h"
#include "scute/base/random.h"

namespace scute {

/// A test of this fixture runs once per instruction set that the machine has.
class EachTarget : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

inline std::string target_name(const testing::TestParamInfo<int64_t>& info) {
  return hwy::TargetName(info.param);
}

#define SCUTE_EACH_TARGET(suite)                                                            \
  INSTANTIATE_TEST_SUITE_P(, suite, testing::ValuesIn(hwy::SupportedAndGeneratedTargets()), \
                           target_name)

/// Around every lane count there is (1, 4, 8, 16 floats), and far beyond.
inline const std::vector<int64_t> kSizes = {0,  1,  2,  3,  4,  5,  7,  8,  9,   15,
                                            16, 17, 31, 32, 33, 63, 64, 65, 1000};

inline std::vector<float> normal_values(int64_t n, uint64_t seed, double scale = 1.0) {
  Random random(seed);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) v = static_cast<float>(scale * random.normal());
  return values;
}

}  // namespace scute
