#include "scute/cobra/random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "scute/base/error.h"

namespace scute::random_test {
namespace {

using testing::HasSubstr;

constexpr const char* kTiny = "tiny-cobra-vision";

/// What the model makes of one picture of small values.
std::vector<float> rows_of(const CobraModel& model) {
  const int64_t image = model.config().towers[0].image;
  std::vector<float> pixels(static_cast<size_t>(3 * image * image));
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<float>(i % 17) / 8 - 1;
  const std::vector<MatView<const float>> views(2, {pixels.data(), 3, image * image});
  scute::Run run;
  const auto out = run.matrix(model.picture_tokens(), model.width());
  model.picture(run, views, out);
  return {out.data, out.data + out.size()};
}

CobraModel model_of(RandomForm form, uint64_t seed) {
  const CobraConfig config = named_vision_config(kTiny);
  return {config, random_vision_weights(config, form, seed), Compute::f32,
          CobraModel::Parts::vision};
}

double root_mean_square(const std::vector<float>& values) {
  double sum = 0;
  for (const float x : values) sum += double{x} * double{x};
  return std::sqrt(sum / static_cast<double>(values.size()));
}

TEST(RandomCobra, HasTheRealModelsShape) {
  // Spec cobra §1.2: DINOv2 L/14 with registers, SigLIP so400m, blocks computed 23 and 26.
  const CobraConfig c = named_vision_config("cobra+3b-vision");
  ASSERT_EQ(c.towers.size(), 2U);
  EXPECT_EQ(c.towers[0].tokens(), 734);
  EXPECT_EQ(c.towers[0].blocks(), 23);
  EXPECT_EQ(c.towers[1].tokens(), 729);
  EXPECT_EQ(c.towers[1].blocks(), 26);
  EXPECT_EQ(c.towers[1].hidden, 4304);
  EXPECT_EQ(c.projector_config().vision, 2176);
  EXPECT_EQ(c.projector_config().tokens(), 729);
  EXPECT_EQ(c.language.width, 2560);
}

TEST(RandomCobra, AnUnknownSizeNamesTheKnownOnes) {
  try {
    named_vision_config("cobra+3b");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("cobra+3b-vision, tiny-cobra-vision"));
    EXPECT_THAT(error.what(), HasSubstr("\"cobra+3b\""));
  }
}

TEST(RandomCobra, IsTheSameForTheSameSeed) {
  const auto first = rows_of(model_of(RandomForm::bf16, 42));
  EXPECT_EQ(first, rows_of(model_of(RandomForm::bf16, 42)));
  EXPECT_NE(first, rows_of(model_of(RandomForm::bf16, 43)));
}

TEST(RandomCobra, NeitherVanishesNorGrows) {
  // A matrix with variance 1/(3·inputs) lowers deviations by √3, and twice a GELU: five layers from
  // values near 1. What is timed must be no denormals and no infinities.
  for (const RandomForm form : {RandomForm::bf16, RandomForm::int8}) {
    const double found = root_mean_square(rows_of(model_of(form, 42)));
    EXPECT_GT(found, 1e-4);
    EXPECT_LT(found, 10);
  }
}

TEST(RandomCobra, EightBitMatricesTakeAQuarter) {
  const int64_t floats = model_of(RandomForm::bf16, 42).size().linear;
  const int64_t codes = model_of(RandomForm::int8, 42).size().linear;
  // Sums of codes and padding to whole registers beside the codes.
  EXPECT_LT(codes, floats / 2);
  EXPECT_GT(codes, floats / 5);
}

TEST(RandomCobra, CountsWhatAPictureCosts) {
  // Written out for one tower of 1 × 1 patches: tokens 2 (a class token), two blocks of width 2,
  // hidden 3, patch of one pixel.
  VisionConfig tower;
  tower.bucket = "vision.dino";
  tower.image = tower.patch = 1;
  tower.width = 2;
  tower.depth = 3;
  tower.heads = 1;
  tower.hidden = 3;
  tower.classes = 1;
  CobraConfig c;
  c.towers = {tower};
  c.projector = ProjectorKind::linear;
  c.language = named_vision_config(kTiny).language;
  const double patch = 2 * 1 * 3 * 2, qkv = 2 * 2 * 2 * 6;
  const double first = qkv + 2 * (2 * 2 * 2 * 2) + 2 * 2 * 2 * 2 + 2 * (2 * 2 * 2 * 3);
  const double last = qkv + 2 * (2 * 1 * 2 * 2) + 2 * 1 * 2 * 2 + 2 * (2 * 1 * 2 * 3);
  EXPECT_EQ(picture_work(c).towers, patch + first + last);
  EXPECT_EQ(picture_work(c).projector, 2.0 * 1 * 2 * 64);
}

TEST(RandomCobra, AModelCountsTheSameByTypeOfProduct) {
  const PictureWork expected = picture_work(named_vision_config(kTiny));
  const double all = expected.towers + expected.projector;
  const ModelWork floats = model_of(RandomForm::bf16, 42).work_of_picture();
  EXPECT_EQ(2.0 * static_cast<double>(floats.f32), all);
  EXPECT_EQ(floats.bf16 + floats.int8, 0);
  const ModelWork codes = model_of(RandomForm::int8, 42).work_of_picture();
  EXPECT_EQ(2.0 * static_cast<double>(codes.f32 + codes.int8), all);
  EXPECT_GT(codes.int8, codes.f32);  // attention stays in floats
}

TEST(RandomCobra, TheRealModelCostsMoreThanATeraflop) {
  // 303.7 and 428.2 million parameters less last block, pooling and positions, twice for each of
  // 734 and 729 tokens, and attention: 1.12e12; the projector's 47.8 million matrices: 7e10.
  const PictureWork found = picture_work(named_vision_config("cobra+3b-vision"));
  EXPECT_NEAR(found.towers, 1.12e12, 0.02e12);
  EXPECT_NEAR(found.projector, 2 * 729 * 47.77e6, 1e9);
}

}  // namespace
}  // namespace scute::random_test
