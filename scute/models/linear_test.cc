#include "scute/models/linear.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "scute/base/error.h"
#include "scute/base/random.h"

namespace scute::linear_test {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using Granularity = WeightFormat::Granularity;

const Execution integer_backend{Compute::f32, Backend::integer};
const Execution simulate_backend{Compute::f32, Backend::simulate};

Tensor random_matrix(int64_t rows, int64_t cols, uint64_t seed, double scale = 1) {
  Tensor out(DType::f32, {rows, cols});
  Random random(seed);
  for (float& x : out.mutable_values<float>()) x = static_cast<float>(scale * random.normal());
  return out;
}

Tensor scalar(float value) { return Tensor::of<float>({1}, std::span(&value, 1)); }

/// Codes of −127 … 127 with a scale a row, as rounding gives them; inputs have the scale 0.03.
LinearTensors random_codes(int64_t outputs, int64_t inputs, uint64_t seed) {
  LinearTensors out;
  out.name = "layer";
  out.outputs = outputs;
  out.inputs = inputs;
  out.weight = Tensor(DType::i8, {outputs, inputs});
  out.scale = Tensor(DType::f32, {outputs, 1});
  Random random(seed);
  for (int8_t& c : out.weight.mutable_values<int8_t>()) {
    c = static_cast<int8_t>(static_cast<int>(random.below(255)) - 127);
  }
  for (float& s : out.scale.mutable_values<float>()) {
    s = static_cast<float>(0.001 + 0.01 * random.uniform());
  }
  out.input_scale = scalar(0.03f);
  return out;
}

Tensor product(const LinearTensors& tensors, const Execution& execution, const Tensor& x) {
  const Linear linear(tensors, execution);
  Run run;
  Tensor y(DType::f32, {x.dim(0), tensors.outputs});
  linear(run, x.matrix<float>(), y.mutable_matrix<float>());
  return y;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return std::ranges::equal(a.bytes(), b.bytes());
}

// A product is at most 128·127 (inputs −128 … 127, weights −127 … 127), and floats hold every whole
// number up to 2^24: 1032 = ⌊2^24 / (128·127)⌋ products cannot leave them, in whatever order they
// are summed.
constexpr int64_t kAlwaysExact = 1032;

TEST(Linear, BothExecutionsGiveTheSameBitsUpTo1032Inputs) {
  static_assert(kAlwaysExact == (1 << 24) / (128 * 127));
  for (const int64_t inputs :
       {int64_t{1}, int64_t{2}, int64_t{7}, int64_t{15}, int64_t{16}, int64_t{33}, int64_t{64},
        int64_t{127}, int64_t{256}, int64_t{511}, int64_t{768}, int64_t{1031}, kAlwaysExact}) {
    SCOPED_TRACE(inputs);
    const LinearTensors tensors = random_codes(37, inputs, 3);
    // Three deviations reach the end of the grid: some inputs saturate.
    const Tensor x = random_matrix(5, inputs, 4, 1.5);
    EXPECT_TRUE(
        same_bits(product(tensors, integer_backend, x), product(tensors, simulate_backend, x)));
  }
}

TEST(Linear, TheLargestSumsOf1032InputsAreStillTheSameBits) {
  LinearTensors tensors = random_codes(2, kAlwaysExact, 3);
  std::ranges::fill(tensors.weight.mutable_values<int8_t>(), int8_t{127});
  tensors.weight.mutable_values<int8_t>()[0] = 126;  // an odd sum close to −2^24
  Tensor x(DType::f32, {2, kAlwaysExact});
  std::ranges::fill(x.mutable_values<float>(), -1000.0f);
  const Tensor y = product(tensors, integer_backend, x);
  EXPECT_TRUE(same_bits(y, product(tensors, simulate_backend, x)));
  const float scale = tensors.scale.values<float>()[1] * 0.03f;
  EXPECT_EQ(y.values<float>()[1], static_cast<float>(-kAlwaysExact * 128 * 127) * scale);
}

TEST(Linear, LongerSumsDifferByNoMoreThanRounding) {
  constexpr int64_t kInputs = 12000;
  LinearTensors tensors = random_codes(16, kInputs, 5);
  for (int8_t& c : tensors.weight.mutable_values<int8_t>()) {
    c = static_cast<int8_t>(std::abs(int{c}));
  }
  Tensor x = random_matrix(3, kInputs, 6, 1.5);
  for (float& v : x.mutable_values<float>()) v = std::abs(v);
  const Tensor exact = product(tensors, integer_backend, x);
  const Tensor simulated = product(tensors, simulate_backend, x);
  // All terms are positive, so that each of at most n additions rounds by 2^-24 of the final sum;
  // the integer sum is rounded once.
  const double bound = (kInputs + 2) * 0x1p-24;
  for (size_t i = 0; i < exact.values<float>().size(); ++i) {
    const auto e = static_cast<double>(exact.values<float>()[i]);
    EXPECT_NEAR(static_cast<double>(simulated.values<float>()[i]), e, bound * e);
  }
  const double sum = static_cast<double>(exact.values<float>()[0]) /
                     static_cast<double>(tensors.scale.values<float>()[0] * 0.03f);
  EXPECT_GT(sum, 0x1p24) << "the sums are not as long as meant";
}

/// The tensors of a rounded weight as a checkpoint has them.
LinearTensors stored(const QuantizedWeight& weight, std::optional<float> input_scale) {
  LinearTensors out;
  out.name = "layer";
  out.outputs = weight.outputs();
  out.inputs = weight.inputs();
  out.scale = weight.scales;
  if (weight.format.bits == 4) {
    out.packed = pack_int4(weight.codes);
    out.shape = Tensor::of<int64_t>({2}, std::vector<int64_t>{out.outputs, out.inputs});
    out.channel_scale = weight.channel_scales;
  } else {
    out.weight = weight.codes;
  }
  if (input_scale) out.input_scale = scalar(*input_scale);
  return out;
}

/// x rounded to its grid times the weight as dequantize() says, in double.
double expected(const Tensor& x, std::optional<float> input_scale, const Tensor& weight, int64_t r,
                int64_t o, double& magnitude) {
  double sum = 0;
  magnitude = 0;
  for (int64_t k = 0; k < weight.dim(1); ++k) {
    float in = x.matrix<float>().row(r)[k];
    if (input_scale) {
      const float code = std::clamp(std::nearbyint(in / *input_scale), -128.0f, 127.0f);
      in = code * *input_scale;
    }
    const double term =
        static_cast<double>(in) * static_cast<double>(weight.matrix<float>().row(o)[k]);
    sum += term;
    magnitude += std::abs(term);
  }
  return sum;
}

TEST(Linear, EveryWeightFormatMultipliesByWhatItsTensorsMean) {
  const Tensor weight = random_matrix(24, 256, 7, 0.1), x = random_matrix(4, 256, 8);
  struct Case {
    WeightFormat format;
    std::optional<float> input;
  };
  const WeightFormat eight, one{.granularity = Granularity::per_tensor};
  for (const Case& c : {Case{eight, 0.02f}, Case{one, 0.02f}, Case{eight, {}}, Case{one, {}},
                        Case{WeightFormat::four_bit(256, 64, true), 0.02f},
                        Case{WeightFormat::four_bit(256, 256, true), 0.02f},
                        Case{WeightFormat::four_bit(256, 64, false), {}},
                        Case{WeightFormat::four_bit(256, 256, false), {}},
                        Case{WeightFormat::four_bit(256, 128, true), {}}}) {
    SCOPED_TRACE(testing::Message() << c.format.bits << " bits, group " << c.format.group
                                    << (c.input ? ", 8-bit inputs" : ""));
    const QuantizedWeight rounded = quantize_nearest(weight, c.format, "w");
    const Tensor real = dequantize(rounded);
    const LinearTensors tensors = stored(rounded, c.input);
    for (const Execution& execution : {integer_backend, simulate_backend}) {
      const Tensor y = product(tensors, execution, x);
      for (int64_t r = 0; r < 4; ++r) {
        for (int64_t o = 0; o < 24; ++o) {
          double magnitude = 0;
          const double wanted = expected(x, c.input, real, r, o, magnitude);
          // 256 products and additions, each rounded to 2^-24 of what it is.
          EXPECT_NEAR(static_cast<double>(y.matrix<float>().row(r)[o]), wanted,
                      260 * 0x1p-24 * magnitude);
        }
      }
    }
    EXPECT_EQ(Linear(tensors, integer_backend).input_scale(), c.input.value_or(0));
  }
}

TEST(Linear, InputsOnTheGridStayAsTheyAre) {
  const LinearTensors tensors = random_codes(8, 64, 9);
  Tensor x(DType::f32, {1, 64}), rounded(DType::f32, {1, 64});
  for (size_t k = 0; k < 64; ++k) {
    const int code = static_cast<int>(k) * 4 - 128;
    rounded.mutable_values<float>()[k] = static_cast<float>(code) * 0.03f;
    x.mutable_values<float>()[k] = (static_cast<float>(code) + 0.3f) * 0.03f;
  }
  for (const Execution& execution : {integer_backend, simulate_backend}) {
    EXPECT_TRUE(same_bits(product(tensors, execution, x), product(tensors, execution, rounded)));
  }
}

TEST(Linear, NegativeFourBitScalesMeanNegatedCodes) {
  // Half of the random groups choose a negative scale, since −8 reaches further than 7.
  const QuantizedWeight rounded =
      quantize_nearest(random_matrix(16, 256, 10), WeightFormat::four_bit(256, 32, true), "w");
  const auto scales = rounded.scales.values<float>();
  ASSERT_TRUE(std::ranges::any_of(scales, [](float s) { return s < 0; }));
  ASSERT_TRUE(std::ranges::any_of(scales, [](float s) { return s > 0; }));
  const QuantizedWeight read = stored(rounded, 0.02f).weight_codes();
  EXPECT_TRUE(same_bits(read.codes, rounded.codes));
  EXPECT_TRUE(same_bits(read.scales, rounded.scales));
  EXPECT_TRUE(same_bits(dequantize(read), dequantize(rounded)));
}

class BadLinear : public testing::Test {
 protected:
  BadLinear()
      : eight_(random_codes(8, 64, 11)),
        four_(stored(
            quantize_nearest(random_matrix(8, 64, 12), WeightFormat::four_bit(64, 16, true), "w"),
            0.02f)) {}
  static void expect_refused(const LinearTensors& tensors, const std::string& part) {
    for (const Execution& execution : {integer_backend, simulate_backend}) {
      EXPECT_THAT([&] { const Linear linear(tensors, execution); },
                  ThrowsMessage<Error>(HasSubstr(part)));
    }
  }
  LinearTensors eight_, four_;
};

TEST_F(BadLinear, ScalesThatMakeNoSense) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float bad : {0.0f, -0.01f, kInfinity, std::nanf(""), 1e-40f}) {
    LinearTensors tensors = random_codes(8, 64, 11);
    tensors.scale.mutable_values<float>()[5] = bad;
    expect_refused(tensors, "layer.weight_scale");
    tensors = random_codes(8, 64, 11);
    tensors.input_scale = scalar(bad);
    expect_refused(tensors, "layer.input_scale");
    tensors = four_;
    tensors.channel_scale = Tensor(DType::f32, {8, 1});
    std::ranges::fill(tensors.channel_scale.mutable_values<float>(), bad);
    expect_refused(tensors, "layer.weight_channel_scale");
    if (bad == -0.01f) continue;  // of 4-bit groups it is sound
    tensors = four_;
    tensors.scale = Tensor(DType::f32, {8, 4});
    std::ranges::fill(tensors.scale.mutable_values<float>(), bad);
    expect_refused(tensors, "layer.weight_scale");
  }
}

TEST_F(BadLinear, AShapeThatLies) {
  four_.shape = Tensor::of<int64_t>({2}, std::vector<int64_t>{8, 63});
  expect_refused(four_, "layer.weight_shape");
}

TEST_F(BadLinear, GroupsThatDoNotDivide) {
  four_.scale = Tensor(DType::f32, {8, 3});
  std::ranges::fill(four_.scale.mutable_values<float>(), 0.1f);
  expect_refused(four_, "layer.weight_scale");
}

TEST_F(BadLinear, FourBitsWithoutASecondLevelBesideEightBitInputs) {
  four_.channel_scale = Tensor();
  expect_refused(four_, "two levels");
}

TEST_F(BadLinear, FloatWeightsBesideAnInputScale) {
  LinearTensors tensors;
  tensors.name = "layer";
  tensors.outputs = 8;
  tensors.inputs = 64;
  tensors.weight = random_matrix(8, 64, 13);
  tensors.input_scale = scalar(0.1f);
  expect_refused(tensors, "float weights");
}

/// Reads one linear map of 4 × 8 from these tensors.
LinearTensors read(const std::vector<NamedTensor>& tensors) {
  Weights weights("file");
  for (const NamedTensor& item : tensors) weights.add(item.name, item.tensor);
  WeightReader reader(weights);
  LinearTensors out(reader, "a", 4, 8);
  reader.finish();
  return out;
}

TEST(LinearTensors, RefusesPackedWeightsWithoutAnyGroup) {
  const auto linear = [] {
    return Linear(read({{"a.weight_packed", Tensor(DType::i32, {4, 1})},
                        {"a.weight_shape", Tensor::of<int64_t>({2}, std::vector<int64_t>{4, 8})},
                        {"a.weight_scale", Tensor(DType::f32, {4, 0})}}),
                  integer_backend);
  };
  EXPECT_THAT(linear, ThrowsMessage<Error>(HasSubstr("a.weight_scale")));
}

TEST(LinearTensors, NamesWhatIsMissingMisshapenOrLeft) {
  const Tensor codes(DType::i8, {4, 8});
  EXPECT_THAT(
      [&] {
        read({{"a.weight", codes}});
      },
      ThrowsMessage<Error>(HasSubstr("missing a.weight_scale")));
  EXPECT_THAT(
      [&] {
        read({{"a.weight", codes}, {"a.weight_scale", Tensor(DType::f32, {3, 1})}});
      },
      ThrowsMessage<Error>(HasSubstr("a.weight_scale")));
  EXPECT_THAT(
      [&] {
        read({{"a.weight", Tensor(DType::f32, {4, 8})},
              {"a.weight_scale", Tensor(DType::f32, {4, 1})}});
      },
      ThrowsMessage<Error>(HasSubstr("unknown tensor a.weight_scale")));
  EXPECT_THAT(
      [&] {
        read({{"a.weight", Tensor(DType::i32, {4, 8})}});
      },
      ThrowsMessage<Error>(HasSubstr("a.weight")));
}

TEST(Linear, TwoLevelsKeepHalfAByteAWeightAndGiveTheBitsOfTheir8BitCodes) {
  for (const int64_t group : {128, 384, 64, 32}) {
    SCOPED_TRACE(group);
    const QuantizedWeight weight =
        quantize_nearest(random_matrix(96, 384, 20), WeightFormat::four_bit(384, group, true), "w");
    const LinearTensors tensors = stored(weight, 0.02f), eight = stored(as_int8(weight), 0.02f);
    for (const int64_t rows : {1, 5}) {
      const Tensor x = random_matrix(rows, 384, 21);
      EXPECT_TRUE(
          same_bits(product(tensors, integer_backend, x), product(eight, integer_backend, x)));
    }
    const auto bytes = static_cast<double>(Linear(tensors, integer_backend).bytes());
    const auto of_eight = static_cast<double>(Linear(eight, integer_backend).bytes());
    // A float for each 64 inputs is a sixteenth of a byte each; groups of 32 stay 8-bit codes.
    EXPECT_LE(bytes, (group >= 128 ? 0.56 : group >= 64 ? 0.57 : 1.0) * of_eight);
  }
}

TEST(Linear, AnInputRangeGivesTheBitsOfTheLinearBuiltWithThatScale) {
  const Tensor x = random_matrix(5, 64, 4, 1.5);
  for (const Execution& execution : {integer_backend, simulate_backend}) {
    LinearTensors tensors = random_codes(37, 64, 3);
    Linear changed(tensors, execution);
    changed.set_input_range(-0.25f, 0.1f);  // where it came from must not matter
    changed.set_input_range(-2.7f, 3.3f);
    EXPECT_EQ(changed.input_scale(), 3.3f / 127);
    scute::Run run;
    Tensor y(DType::f32, {5, 37});
    changed(run, x.matrix<float>(), y.mutable_matrix<float>());
    EXPECT_FALSE(same_bits(y, product(tensors, execution, x)));
    tensors.input_scale = scalar(3.3f / 127);
    EXPECT_TRUE(same_bits(y, product(tensors, execution, x)));
  }
}

TEST(Linear, AnInputRangeLeavesFloatInputsAlone) {
  LinearTensors tensors = random_codes(37, 64, 3);
  tensors.input_scale = Tensor();
  const Tensor x = random_matrix(5, 64, 4);
  Linear changed(tensors, Compute::f32);
  changed.set_input_range(-0.25f, 0.1f);
  EXPECT_EQ(changed.input_scale(), 0);
  scute::Run run;
  Tensor y(DType::f32, {5, 37});
  changed(run, x.matrix<float>(), y.mutable_matrix<float>());
  EXPECT_TRUE(same_bits(y, product(tensors, Compute::f32, x)));
}

}  // namespace
}  // namespace scute::linear_test
