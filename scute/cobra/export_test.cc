#include "scute/cobra/export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "scute/base/error.h"
#include "scute/cobra/test_cobra_quantize.h"
#include "scute/cobra/writer.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "scute/language/test_models.h"
#include "tests/cobra/test_models.h"

namespace scute::export_test {
namespace {

namespace fs = std::filesystem;
using namespace cobra_models;
using fixtures::Folder;
using testing::HasSubstr;
using testing::ThrowsMessage;

class ExportedCobra : public testing::Test {
 protected:
  /// A low-bit one in "low".
  CobraDescription make(const char* format, const char* language) {
    CobraQuantizeOptions options;
    options.format = LayerFormat::parse(format, "");
    options.buckets["llm"] = LayerFormat::parse(language, "");
    write_cobra(quantize_cobra(describe_cobra(kModelPath), plan_of(small_statistics(), "minmax"),
                               &small_statistics(), options),
                folder_.path("low"), true);
    return describe_cobra(folder_.path("low"));
  }
  SafetensorsFile file(const std::string& name) const {
    return read_safetensors(folder_.path(name));
  }

  Folder folder_;
};

// Inputs in floats and no clips: both compute the same but for rounding.
TEST_F(ExportedCobra, WeightsAloneAreTheSameModel) {
  CobraQuantizeOptions options;
  options.format = LayerFormat::parse("W4A16", "");
  const CobraDescription model = describe_cobra(kModelPath);
  write_cobra(quantize_cobra(model, Plan{}, nullptr, options), folder_.path("four"), false);
  const ProbeComparison four =
      export_cobra(describe_cobra(folder_.path("four")), DType::f32, folder_.path("a"), false);
  EXPECT_LT(four.largest, 1e-4);
  EXPECT_GT(four.tokens, 0);
  options.format = LayerFormat::parse("W8A8", "");  // without ranges: W8A16
  write_cobra(quantize_cobra(model, Plan{}, nullptr, options), folder_.path("eight"), false);
  const ProbeComparison eight =
      export_cobra(describe_cobra(folder_.path("eight")), DType::f32, folder_.path("b"), false);
  EXPECT_LT(eight.largest, 1e-4);
}

TEST_F(ExportedCobra, EightBitWeightsAreCodesTimesScale) {
  const CobraDescription low = make("W8A8", "W8A8");
  const ProbeComparison check = export_cobra(low, DType::f32, folder_.path("plain"), false);
  EXPECT_GT(check.largest, 0) << "activations are not rounded any more";
  EXPECT_LT(check.largest, 0.5);
  const auto codes = file("low/vision/dino/model.safetensors").tensors;
  const auto plain = file("plain/vision/dino/model.safetensors").tensors;
  const std::string name = "blocks.1.mlp.fc1";
  const Tensor* values = find(plain, name + ".weight");
  ASSERT_NE(values, nullptr);
  const float scale = find(codes, name + ".weight_scale")->values<float>()[0];
  const int8_t code = find(codes, name + ".weight")->values<int8_t>()[3];
  EXPECT_EQ(values->values<float>()[3], static_cast<float>(code) * scale);
  for (const NamedTensor& item : plain) {
    EXPECT_EQ(item.name.find("_scale"), std::string::npos) << item.name;
  }
  const Tensor* kernel = find(plain, "patch_embed.proj.weight");
  ASSERT_NE(kernel, nullptr);
  EXPECT_EQ(kernel->rank(), 4);
  const CobraDescription found = describe_cobra(folder_.path("plain"));
  EXPECT_FALSE(found.low_bit || found.language.low_bit);
  EXPECT_TRUE(found.ranges.empty());
  EXPECT_TRUE(fs::exists(folder_.path("plain/llm/tokenizer.json")));
}

TEST_F(ExportedCobra, TheResultCanBeQuantizedAgain) {
  export_cobra(make("W4A16", "FP"), DType::f32, folder_.path("plain"), false);
  const CobraDescription plain = describe_cobra(folder_.path("plain"));
  EXPECT_NO_THROW(quantize_cobra(plain, Plan{}, nullptr, {}));
}

TEST_F(ExportedCobra, BFloat16IsHalfTheSize) {
  const CobraDescription low = make("W8A8", "W8A8");
  export_cobra(low, DType::f32, folder_.path("f32"), false);
  export_cobra(low, DType::bf16, folder_.path("bf16"), false);
  for (const char* part : {"vision/siglip", "projector", "llm"}) {
    const std::string name = std::string("/") + part + "/model.safetensors";
    EXPECT_LT(file_size(folder_.path("bf16" + name)),
              0.7 * static_cast<double>(file_size(folder_.path("f32" + name))))
        << part;
  }
}

TEST_F(ExportedCobra, EveryKindOfModel) {
  for (const char* variant : {"finetuned_alone", "ldpnet", "meta_linear", "openclip_gelu"}) {
    SCOPED_TRACE(variant);
    const CobraFolder original(std::string("variants/") + variant);
    CobraQuantizeOptions options;
    options.format = LayerFormat::parse("W4A16", "");
    write_cobra(quantize_cobra(describe_cobra(original.path()), Plan{}, nullptr, options),
                folder_.path("low"), true);
    const CobraDescription low = describe_cobra(folder_.path("low"));
    EXPECT_LT(export_cobra(low, DType::f32, folder_.path("plain"), true).largest, 1e-4);
  }
}

TEST_F(ExportedCobra, RefusesFloatModelsAndLeavesNothing) {
  EXPECT_THAT(
      [&] { export_cobra(describe_cobra(kModelPath), DType::f32, folder_.path("plain"), false); },
      ThrowsMessage<Error>(HasSubstr("a low-bit Cobra")));
  EXPECT_FALSE(fs::exists(folder_.path("plain")));
}

}  // namespace
}  // namespace scute::export_test
