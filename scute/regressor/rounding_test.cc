#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/models/regressor/test_regressors.h"
#include "scute/regressor/ranges.h"
#include "scute/regressor/test_scales.h"

namespace scute::rounding_test {
namespace {

using namespace testing_regressors;
using testing::ElementsAre;
using testing::IsEmpty;
using Backend = RegressorBackend;
using Pool = RegressorConfig::Pool;
using Variant = RegressorConfig::Variant;

TEST(RoundedLayers, FollowTheFlags) {
  RegressorConfig slim = small(Variant::slim), pooled = small(Variant::slim);
  slim.layers = pooled.layers = 1;
  pooled.pool = Pool::average;
  RegressorConfig origin = small(Variant::origin);
  origin.layers = 1;
  const auto of = [](const RegressorConfig& config, Backend backend, auto set) {
    RegressorQuantization how;
    how.backend = backend;
    set(how);
    return rounded_layers(config, how);
  };
  const auto none = [](auto&) {};
  const auto all = [](auto& how) { how.all = true; };
  const auto backbone = [](auto& how) { how.backbone_linear = true; };
  for (const Backend backend : {Backend::lsq, Backend::extension, Backend::integer}) {
    EXPECT_THAT(of(slim, backend, none), IsEmpty());
    EXPECT_THAT(of(slim, backend, [](auto& how) { how.proj = true; }), ElementsAre("proj"));
    EXPECT_THAT(of(slim, backend, [](auto& how) { how.head = true; }), ElementsAre("head"));
    EXPECT_THAT(of(slim, backend, [](auto& how) { how.block_linear = true; }),
                ElementsAre("blocks.0.in_proj", "blocks.0.out_proj"));
    EXPECT_THAT(of(slim, backend, backbone), ElementsAre("patch_embedding"));
    EXPECT_THAT(of(pooled, backend, backbone), ElementsAre("patch_embedding", "output_layer"));
  }
  EXPECT_THAT(
      of(slim, Backend::lsq, all),
      ElementsAre("proj", "patch_embedding", "blocks.0.in_proj", "blocks.0.out_proj", "head"));
  EXPECT_THAT(of(pooled, Backend::extension, all),
              ElementsAre("proj", "patch_embedding", "blocks.0.in_proj", "blocks.0.out_proj",
                          "output_layer", "head"));
  EXPECT_THAT(of(slim, Backend::integer, all),
              ElementsAre("proj", "patch_embedding", "blocks.0.in_proj", "blocks.0.ssm.dt_proj",
                          "blocks.0.out_proj", "output_layer", "head"));
  EXPECT_THAT(of(origin, Backend::integer, all),
              ElementsAre("proj", "patch_embedding", "blocks.0.in_proj", "blocks.0.x_proj",
                          "blocks.0.dt_proj", "blocks.0.out_proj", "output_layer", "head"));
}

TEST(StoredRounding, IsWhatTheFileHolds) {
  for (const auto& [name, backend, own] :
       {std::tuple{"calibrated_python", Backend::lsq, true},
        std::tuple{"calibrated_extension", Backend::extension, true},
        std::tuple{"calibrated_old", Backend::lsq, false}}) {
    SCOPED_TRACE(name);
    const auto checkpoint =
        read_regressor_checkpoint(std::string("tests/golden/regressor/") + name + ".pt");
    const RegressorRounding got = stored_rounding(checkpoint);
    EXPECT_FALSE(got.contains("output_layer")) << "stored for the pool, which a flat model skips";
    EXPECT_FALSE(got.contains("output_layer_pool"));
    EXPECT_EQ(got.contains("patch_embedding"), own);
    for (const auto& [layer, rounding] : got) {
      const RegressorScales* scales = scales_of(checkpoint, layer);
      ASSERT_NE(scales, nullptr) << layer;
      EXPECT_EQ(rounding.backend, backend) << layer;
      EXPECT_EQ(rounding.bits, checkpoint.quantization.bits) << layer;
      EXPECT_EQ(rounding.input, scales->input) << layer;
      EXPECT_EQ(rounding.weight, scales->weight) << layer;
    }
    EXPECT_GE(got.size(), 4U);
    EXPECT_EQ(error_of([&, &file = checkpoint] { build_regressor(file, got); }), "");
    RegressorCheckpoint pooled = checkpoint;
    pooled.config.pool = Pool::average;
    EXPECT_TRUE(stored_rounding(pooled).contains("output_layer"));
  }
  EXPECT_TRUE(stored_rounding(read_regressor_checkpoint("tests/golden/regressor/slim.pt")).empty());
}

}  // namespace
}  // namespace scute::rounding_test
