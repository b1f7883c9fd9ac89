#include "scute/language/export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/base/error.h"
#include "scute/language/test_models.h"
#include "scute/quantize/weight.h"

namespace scute::export_test {
namespace {

using fixtures::Folder;
using testing::HasSubstr;
using testing::Not;
using testing::UnorderedElementsAreArray;
using testing_models::Dialect;

struct Tested {
  MixerKind mixer;
  Dialect dialect;
};
class Export : public testing::TestWithParam<Tested> {
 protected:
  ModelDescription model() const {
    return testing_models::make_model(folder_.path("float"), GetParam().mixer, GetParam().dialect);
  }
  /// Weights of 4 or 8 bits, floats as activations, everything rotated.
  ModelDescription low_bit(bool head = false, int bits = 4) const {
    QuantizeOptions options;
    options.format = {bits, 16};
    options.head = options.embedding = head;
    write_low_bit(quantize(model(), {}, nullptr, nullptr, options), folder_.path("low"), false);
    return describe_model(folder_.path("low"));
  }
  Folder folder_;
};
INSTANTIATE_TEST_SUITE_P(Small, Export,
                         testing::Values(Tested{MixerKind::mamba1, Dialect::state_spaces},
                                         Tested{MixerKind::mamba2, Dialect::state_spaces},
                                         Tested{MixerKind::mamba1, Dialect::hugging_face_untied},
                                         Tested{MixerKind::mamba2, Dialect::hugging_face_untied}),
                         [](const auto& tested) {
                           return std::string(tested.param.mixer == MixerKind::mamba1 ? "Mamba1"
                                                                                      : "Mamba2") +
                                  (tested.param.dialect == Dialect::state_spaces ? "StateSpaces"
                                                                                 : "HuggingFace");
                         });

/// The plain model must compute what the low-bit one does. Both round to f32 (2^-24 = 6e-8) at
/// every step of a different order: a rotation sums 64 or 128 terms, and 2 layers have some 20
/// steps, so that about sqrt(128 · 20) · 6e-8 = 3e-6 of the largest is expected; 1e-4 leaves 30
/// times that, and a rotation left in place changes logits by their own size.
constexpr double kSame = 1e-4;

TEST_P(Export, ThePlainModelComputesWhatTheLowBitOneDoes) {
  const ModelDescription low = low_bit();
  ASSERT_TRUE(low.scheme.rotated_stream && low.scheme.rotated_out_proj);
  const ProbeComparison comparison =
      export_dequantized(low, DType::f32, folder_.path("plain"), false);
  EXPECT_LT(comparison.largest, kSame);
  EXPECT_EQ(comparison.tokens, 64);
  // Rounding to 4 bits is seen, or the comparison would mean little.
  const auto load = [](const std::string& path) {
    return load_model(describe_model(path), {}, LanguageModel::Head::packed);
  };
  const ProbeComparison rounded =
      compare_logits(load(folder_.path("float")), load(folder_.path("plain")), 1);
  EXPECT_GT(rounded.largest, 10 * kSame);
}

TEST_P(Export, QuantizedTablesBecomeFloatsToo) {
  const ModelDescription low = low_bit(true);
  EXPECT_LT(export_dequantized(low, DType::f32, folder_.path("plain"), false).largest, kSame);
}

TEST_P(Export, EightBitWeightsOfFloatInputsToo) {
  const ModelDescription low = low_bit(true, 8);
  EXPECT_EQ(low.json.at("scute", "").at("layers", "").as_array("")[0], Json("W8A16"));
  EXPECT_LT(export_dequantized(low, DType::f32, folder_.path("plain"), false).largest, kSame);
}

TEST_P(Export, NamesAndConfigAreThoseOfTheOriginal) {
  const ModelDescription low = low_bit();
  export_dequantized(low, DType::f32, folder_.path("plain"), false);
  const ModelDescription plain = describe_model(folder_.path("plain"));
  EXPECT_FALSE(plain.low_bit);
  EXPECT_EQ(plain.json.find("scute"), nullptr);
  EXPECT_EQ(plain.json.find("quantization_config"), nullptr);
  std::vector<std::string> expected, found;
  for (const auto& item : read_safetensors(folder_.path("float/model.safetensors")).tensors) {
    expected.push_back(item.name + " " + to_string(item.tensor.shape()));
  }
  for (const auto& item : read_safetensors(folder_.path("plain/model.safetensors")).tensors) {
    found.push_back(item.name + " " + to_string(item.tensor.shape()));
    EXPECT_EQ(item.tensor.dtype(), DType::f32) << item.name;
  }
  EXPECT_THAT(found, UnorderedElementsAreArray(expected));
  if (const Json* type = plain.json.find("torch_dtype"); type != nullptr) {
    EXPECT_EQ(type->as_string(""), "float32");
  }
}

TEST_P(Export, FoldedNormsAreOnes) {
  const PlainModel plain = dequantized(low_bit(), DType::f32);
  int seen = 0;
  for (const NamedTensor& item : plain.tensors) {
    if (!item.name.starts_with("backbone.layers.") || !item.name.ends_with("norm.weight")) continue;
    ++seen;
    for (const float x : item.tensor.values<float>()) EXPECT_EQ(x, 1.0f) << item.name;
  }
  EXPECT_EQ(seen, GetParam().mixer == MixerKind::mamba1 ? 2 : 4);
}

TEST_P(Export, Bf16RoundsMatricesAndKeepsVectors) {
  const ModelDescription low = low_bit();
  const PlainModel wide = dequantized(low, DType::f32), narrow = dequantized(low, DType::bf16);
  for (size_t i = 0; i < wide.tensors.size(); ++i) {
    const Tensor &a = wide.tensors[i].tensor, &b = narrow.tensors[i].tensor;
    const bool matrix = a.rank() > 1 && !wide.tensors[i].name.ends_with("A_log");
    ASSERT_EQ(b.dtype(), matrix ? DType::bf16 : DType::f32) << wide.tensors[i].name;
    if (!matrix) continue;
    EXPECT_EQ(b.values<bf16>()[7].bits, to_bf16(a.values<float>()[7]).bits);
  }
}

TEST_P(Export, ConvolutionIsCodesTimesScales) {
  const ModelDescription original = model();
  const StatisticsSet statistics =
      testing_models::make_statistics(original, folder_.path("ids.npy"));
  const LowBitModel low =
      testing_models::make_low_bit(original, statistics, {}, folder_.path("low"));
  const PlainModel plain = dequantized(describe_model(folder_.path("low")), DType::f32);
  const auto find = [](const std::vector<NamedTensor>& all, const std::string& name) {
    return std::ranges::find(all, name, &NamedTensor::name)->tensor;
  };
  const std::string name = "backbone.layers.1.mixer.conv1d.weight";
  const Tensor codes = find(low.tensors, name), scales = find(low.tensors, name + "_scale");
  const Tensor taps = find(plain.tensors, name);
  for (size_t i = 0; i < 40; ++i) {
    EXPECT_EQ(taps.values<float>()[i],
              static_cast<float>(codes.values<int8_t>()[i]) * scales.values<float>()[i / 4]);
  }
}

TEST_P(Export, RefusesFloatModelsAndFoldersThatExist) {
  const ModelDescription low = low_bit();
  const auto problem = [&](const ModelDescription& model, const std::string& path, bool replace) {
    try {
      export_dequantized(model, DType::f32, path, replace);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(problem(describe_model(folder_.path("float")), folder_.path("plain"), false),
              HasSubstr("a low-bit model"));
  EXPECT_THAT(problem(low, folder_.path("float"), false), HasSubstr("--force"));
  EXPECT_THAT(problem(low, folder_.path("low"), true), HasSubstr("the model's own"));
  EXPECT_FALSE(std::filesystem::exists(folder_.path("plain")));
  EXPECT_THAT(problem(low, folder_.path("float"), true), HasSubstr("recipe.json"))
      << "somebody's float model";
  EXPECT_EQ(problem(low, folder_.path("plain"), false), "");
  EXPECT_EQ(problem(low, folder_.path("plain"), true), "");
  EXPECT_THAT(read_text(folder_.path("low/config.json")), HasSubstr("scute-low-bit"));
}

}  // namespace
}  // namespace scute::export_test
