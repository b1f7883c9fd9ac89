#include "scute/models/regressor/product.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "scute/kernels/test_targets.h"
#include "scute/models/regressor/predict.h"
#include "scute/models/regressor/test_regressors.h"

namespace scute::product_test {
namespace {

using namespace testing_regressors;
using testing::AllOf;
using testing::ElementsAre;
using testing::FloatNear;
using testing::HasSubstr;
using testing::Pointwise;
using testing::StartsWith;
using Backend = RegressorBackend;

template <class Round>
std::vector<float> rounded(std::vector<float> x, Round round) {
  round(MatView<float>(x.data(), 1, std::ssize(x)));
  return x;
}

TEST(RoundLsq, ClampsThenRoundsHalfToEvenInFloats) {
  const auto round = [](std::vector<float> x, std::vector<float> scales, int bits) {
    return rounded(std::move(x), [&](MatView<float> m) { round_lsq(m, scales, bits); });
  };
  EXPECT_THAT(round({0.5F, 1.5F, -0.5F, -2.5F, 127.4F, 127.6F, -128.4F, 1e30F}, {1}, 8),
              ElementsAre(0, 2, 0, -2, 127, 127, -128, 127));
  EXPECT_THAT(round({1, 1, 1, 1}, {0.75F, 4}, 8), ElementsAre(0.75F, 0, 0.75F, 0));
  EXPECT_THAT(round({-300, 300}, {0x1p-8F}, 16), ElementsAre(-128, 32767.0F / 256));
  EXPECT_TRUE(std::isnan(round({NAN}, {1}, 8)[0])) << "as in PyTorch";
}

TEST(RoundLsq, DividesInFloats) {
  Random random(5);
  int differs = 0;
  for (int i = 0; i < 100000; ++i) {
    // Next to half a code, where a product with the reciprocal may go the other way.
    const auto scale = static_cast<float>(0.01 + random.uniform());
    const float x = (static_cast<float>(random.below(60000)) + 0.5F - 30000) * scale;
    const float expected = std::nearbyint(x / scale) * scale;
    std::vector<float> got{x};
    round_lsq({got.data(), 1, 1}, std::vector<float>{scale}, 16);
    ASSERT_EQ(got[0], expected) << x << " / " << scale;
    differs += expected != std::nearbyint(x * (1 / scale)) * scale ? 1 : 0;
  }
  EXPECT_GT(differs, 100) << "else this told nothing";
}

TEST(RoundLsq, ColumnsOfAWiderMatrixHaveTheirOwnScales) {
  // 2 × 4 columns of 2 × 6; scales repeat after three columns.
  std::vector<float> x(12, 10.4F);
  const std::vector<float> scales{1, 2, 4};
  for (const auto round : {round_lsq, round_extension}) {
    std::vector<float> y = x;
    round({y.data() + 1, 2, 4, 6}, scales, 8);
    for (size_t r = 0; r < 2; ++r) {
      EXPECT_EQ(y[6 * r], 10.4F);
      EXPECT_EQ(y[6 * r + 5], 10.4F);
      for (size_t c = 0; c < 4; ++c) {
        EXPECT_EQ(y[6 * r + 1 + c], std::vector<float>({10, 10, 12, 10})[c]) << c;
      }
    }
  }
}

TEST(RoundExtension, RoundsThenSaturatesWithALargerScale) {
  const auto round = [](std::vector<float> x, std::vector<float> scales, int bits) {
    return rounded(std::move(x), [&](MatView<float> m) { round_extension(m, scales, bits); });
  };
  const float scale = 0x1p-8F + 1e-8F;
  EXPECT_EQ(static_cast<double>(scale), 0.0039062597788870335) << "README.md";
  EXPECT_THAT(round({1, -200, 200}, {0x1p-8F}, 16),
              ElementsAre(256 * scale, -32768 * scale, 32767 * scale));
  EXPECT_EQ(round({1}, {-0x1p-8F}, 16)[0], 256 * scale) << "|scale|";
  EXPECT_EQ(round({2e-8F}, {0}, 16)[0], 2 * (0.0F + 1e-8F)) << "a scale of 0 is 1e-8";
  // The reciprocal is taken in double: every float agrees with that formula, and some with a
  // division in floats do not.
  Random random(4);
  int differs = 0;
  for (int i = 0; i < 100000; ++i) {
    const auto stored = static_cast<float>(0.01 + random.uniform());
    const float own = stored + 1e-8F;
    // Next to half a code.
    const auto half = static_cast<float>(random.below(60000)) + 0.5F - 30000;
    const float x = half * own;
    const double times = static_cast<double>(x) * (1.0 / static_cast<double>(own));
    const float expected = static_cast<float>(std::nearbyint(times)) * own;
    ASSERT_EQ(round({x}, {stored}, 16)[0], expected) << x << " / " << stored;
    differs += expected != std::nearbyint(x / own) * own ? 1 : 0;
  }
  EXPECT_GT(differs, 100) << "else this told nothing";
}

TEST(RoundWrapping, CodesAbove127WrapRoundAsTheyDoThere) {
  // [-1, 1] on 0 … 255: scale 2/255, zero point 128 (README.md).
  const auto y = rounded({-1, -0.5F, 0, 0.5F, 1},
                         [](MatView<float> m) { round_wrapping(m, 2.0F / 255, 128); });
  EXPECT_THAT(y,
              Pointwise(FloatNear(0.006F), std::vector<float>{-1, -0.5F, -2.01F, -1.51F, -1.01F}));
  // Zero point 0: what is negative becomes 0 (6.1-#4); above 127 codes wrap.
  EXPECT_THAT(rounded({-3, 2.5F, 127, 128, 254, 300, 1e30F, NAN},
                      [](MatView<float> m) { round_wrapping(m, 1, 0); }),
              ElementsAre(0, 2, 127, -128, -2, -1, -1, 0));
}

Tensor product_of(const auto& product, const Tensor& x, int64_t outputs) {
  Tensor y(DType::f32, {x.dim(0), outputs});
  Run run;
  product(run, x.matrix<float>(), y.mutable_matrix<float>());
  return y;
}

LayerRounding rounding_of(Backend backend, int bits, std::vector<float> input,
                          std::vector<float> weight) {
  return {backend, bits, std::move(input), std::move(weight), 0};
}

class CodeProducts : public EachTarget {};
SCUTE_EACH_TARGET(CodeProducts);

TEST_P(CodeProducts, IntegerAndSimulatedGiveTheSameBits) {
  const Tensor weight = random_floats({33, 300}, 1), x = random_floats({7, 300}, 2);
  for (const int bits : {8, 16}) {
    const float unit = 2.0F / static_cast<float>(1 << (bits - 1));
    std::vector<float> scales;
    for (int o = 0; o < 33; ++o) scales.push_back(unit * (1 + static_cast<float>(o) / 50));
    for (const auto& weights : {std::vector<float>{unit}, scales}) {
      const float input = 1.3F * unit;
      const CodeProduct product(weight, rounding_of(Backend::integer, bits, {input}, weights), "p");
      const Tensor got = product_of(product, x, 33);
      for (int64_t r = 0; r < 7; ++r) {
        for (int64_t o = 0; o < 33; ++o) {
          const float scale = weights[static_cast<size_t>(o) % weights.size()];
          const double last = std::ldexp(1.0, bits - 1) - 1;
          double sum = 0;  // of whole numbers below 2^53: exact
          for (int64_t k = 0; k < 300; ++k) {
            const double code = std::nearbyint(double{x.matrix<float>().row(r)[k]} / input);
            const float w = weight.matrix<float>().row(o)[k] / scale;
            sum += std::clamp(code, -last - 1, last) *
                   std::clamp(std::nearbyint(double{w}), -last - 1, last);
          }
          const auto expected = static_cast<float>(sum * (double{input} * double{scale}));
          EXPECT_EQ(got.matrix<float>().row(r)[o], expected) << bits << " " << r << " " << o;
        }
      }
    }
  }
}

TEST(RoundedProduct, BothFactorsAreRoundedThenMultiplied) {
  const Tensor weight = random_floats({5, 40}, 3), x = random_floats({6, 40}, 4);
  std::vector<float> input, rows;
  for (int k = 0; k < 40; ++k) input.push_back(0.02F + 0.001F * static_cast<float>(k));
  for (int o = 0; o < 5; ++o) rows.push_back(0.03F + 0.002F * static_cast<float>(o));
  for (const Backend backend : {Backend::lsq, Backend::extension}) {
    for (const int bits : {8, 16}) {
      // Of the extension at 8 bits only patch_embedding has inputs with a scale per channel.
      const RoundedProduct product(weight, rounding_of(backend, bits, input, rows), Compute::f32,
                                   "patch_embedding");
      const Tensor got = product_of(product, x, 5);
      Tensor xr = random_floats({6, 40}, 4), wr = random_floats({5, 40}, 3);
      const auto round = backend == Backend::lsq ? round_lsq : round_extension;
      round(xr.mutable_matrix<float>(), input, bits);
      for (size_t o = 0; o < 5; ++o) {
        round(wr.mutable_matrix<float>().slice_rows(static_cast<int64_t>(o), 1),
              std::span(&rows[o], 1), bits);
      }
      for (int64_t r = 0; r < 6; ++r) {
        for (int64_t o = 0; o < 5; ++o) {
          double sum = 0;
          for (int64_t k = 0; k < 40; ++k) {
            sum += double{xr.matrix<float>().row(r)[k]} * double{wr.matrix<float>().row(o)[k]};
          }
          // 40 products of up to 9 in floats: each addition rounds by at most 2^-24 of 40 · 9.
          EXPECT_NEAR(double{got.matrix<float>().row(r)[o]}, sum, 40 * 360 * 0x1p-24);
        }
      }
    }
  }
}

TEST(RoundedProduct, EightBitInputsOfTheExtensionAreAsymmetricWithTheMeanScale) {
  // One product of 1 × 1: y = rounded x. Scales 0.5 and 1.5 have the mean 1, zero point 10.
  const Tensor weight = Tensor::of<float>({1, 2}, std::vector<float>{64, 0});
  LayerRounding rounding = rounding_of(Backend::extension, 8, {0.5F, 1.5F}, {1});
  rounding.input_zero = 10;
  const auto of = [&](float x, const char* name) {
    const Tensor row = Tensor::of<float>({1, 2}, std::vector<float>{x, 0});
    return product_of(RoundedProduct(weight, rounding, Compute::f32, name), row, 1)
               .values<float>()[0] /
           64;
  };
  EXPECT_NEAR(of(3.4F, "proj"), 3, 1e-6);
  EXPECT_NEAR(of(-30, "proj"), -10, 1e-5) << "code 0";
  EXPECT_NEAR(of(120, "proj"), 120 - 256, 1e-4) << "code 130 wraps";
  EXPECT_NEAR(of(3.4F, "patch_embedding"), 3.5, 1e-5) << "symmetric, its own scale";
}

std::string refusal(LayerRounding rounding, const std::string& layer) {
  const RegressorConfig config = small(RegressorConfig::Variant::slim);
  RegressorArithmetic arithmetic;
  arithmetic.rounding[layer] = std::move(rounding);
  return error_of([&] { Regressor(config, tensors_of(config), arithmetic); });
}

TEST(RegressorLayer, RoundingThatDoesNotFitIsRefusedNamingTheLayer) {
  const std::string layer = "blocks.1.in_proj";  // 18 inputs, 72 outputs
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Backend backend : {Backend::lsq, Backend::extension, Backend::integer}) {
    const auto of = [&](int bits, std::vector<float> input, std::vector<float> weight) {
      return refusal(rounding_of(backend, bits, std::move(input), std::move(weight)), layer);
    };
    EXPECT_EQ(of(16, {1}, {1}), "");
    EXPECT_EQ(of(8, {1}, std::vector<float>(72, 1.0F)), "");
    for (const int bits : {0, 7, 12, 32}) {
      EXPECT_THAT(of(bits, {1}, {1}), AllOf(StartsWith(layer), HasSubstr("8 or 16 bits"))) << bits;
    }
    for (const std::vector<float>& input :
         std::vector<std::vector<float>>{{}, {1, 1}, {1, 1, 1}, {nan}, {-nan}}) {
      EXPECT_THAT(of(16, input, {1}), StartsWith(layer)) << input.size();
    }
    for (const std::vector<float>& weight :
         std::vector<std::vector<float>>{{}, {1, 1}, {0}, {-1}, {nan}}) {
      EXPECT_THAT(of(16, {1}, weight), StartsWith(layer)) << weight.size();
    }
    EXPECT_THAT(of(16, {0}, {1}), StartsWith(layer));
    EXPECT_THAT(of(16, {-1}, {1}), StartsWith(layer));
  }
  EXPECT_EQ(refusal(rounding_of(Backend::lsq, 16, std::vector<float>(18, 1.0F), {1}), layer), "");
  EXPECT_THAT(refusal(rounding_of(Backend::integer, 16, std::vector<float>(18, 1.0F), {1}), layer),
              StartsWith(layer));
}

TEST(RegressorLayer, AZeroPointIsOneOfTheCodes) {
  for (const float bad : {-1.0F, 256.0F, 1e30F, std::numeric_limits<float>::quiet_NaN()}) {
    LayerRounding rounding = rounding_of(Backend::extension, 8, {1}, {1});
    rounding.input_zero = bad;
    EXPECT_THAT(refusal(rounding, "proj"), AllOf(StartsWith("proj"), HasSubstr("from 0 to 255")));
    EXPECT_EQ(refusal(rounding, "patch_embedding"), "") << "symmetric: nobody looks at it";
  }
}

TEST(RegressorLayer, PatchEmbeddingHasAScalePerChannelOrOne) {
  for (const size_t count : {1UL, 5UL}) {  // C
    EXPECT_EQ(refusal(rounding_of(Backend::lsq, 16, std::vector<float>(count, 1.0F), {1}),
                      "patch_embedding"),
              "");
  }
  EXPECT_THAT(
      refusal(rounding_of(Backend::lsq, 16, std::vector<float>(4, 1.0F), {1}), "patch_embedding"),
      StartsWith("patch_embedding"));
}

TEST(RegressorLayer, OnlyTheLayersNamedAreRounded) {
  const RegressorConfig config = small(RegressorConfig::Variant::slim);
  const Tensor windows = random_floats({5, 8, 19}, 1);
  const auto of = [&](const RegressorRounding& rounding) {
    return predict_windows(Regressor(config, tensors_of(config), {Compute::f32, rounding}), windows,
                           Threads(1));
  };
  const Tensor plain = of({});
  const auto coarse = rounding_of(Backend::integer, 8, {0.1F}, {0.1F});
  for (const RegressorProduct& product : regressor_products(config, tensors_of(config))) {
    EXPECT_FALSE(same_bits(plain, of({{product.layer, coarse}}))) << product.layer;
  }
}

}  // namespace
}  // namespace scute::product_test
