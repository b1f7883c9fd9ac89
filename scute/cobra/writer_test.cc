#include "scute/cobra/writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>

#include "scute/base/error.h"
#include "scute/cobra/test_cobra_quantize.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "scute/language/test_models.h"
#include "tests/cobra/test_models.h"

namespace scute::writer_test {
namespace {

namespace fs = std::filesystem;
using namespace cobra_models;
using fixtures::Folder;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr auto kAll = CobraModel::Parts::all;

class CobraWriter : public testing::Test {
 protected:
  LowBitCobra quantize(const char* format = "W8A8", const char* language = "W8A8") const {
    CobraQuantizeOptions options;
    options.format = LayerFormat::parse(format, "");
    options.buckets["llm"] = LayerFormat::parse(language, "");
    return quantize_cobra(model, plan_of(small_statistics(), "auto"), &small_statistics(), options);
  }
  static CobraQuantizeOptions four_bits() {
    CobraQuantizeOptions out;
    out.format = LayerFormat::parse("W4A16", "");
    return out;
  }
  std::string file(const std::string& name) const { return folder.path("low/" + name); }
  /// Rewrites a tensor file of the folder.
  void change(const std::string& name,
              const std::function<void(std::vector<NamedTensor>&)>& edit) const {
    SafetensorsFile stored = read_safetensors(file(name));
    edit(stored.tensors);
    write_safetensors(file("changed"), stored.tensors, stored.metadata);
    fs::rename(file("changed"), file(name));
  }
  void drop(const std::string& name, const std::string& tensor) const {
    change(name, [&](std::vector<NamedTensor>& tensors) {
      ASSERT_EQ(std::erase_if(tensors, [&](const auto& t) { return t.name == tensor; }), 1u);
    });
  }
  void edit_config(const std::string& from, const std::string& to) const {
    std::string text = read_text(file("config.json"));
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    write_file(file("config.json"), text.replace(at, from.size(), to));
  }
  CobraModel load() const { return load_cobra(describe_cobra(folder.path("low")), {}, kAll); }

  Folder folder;
  CobraDescription model = describe_cobra(kModelPath);
};

TEST_F(CobraWriter, TheFolderIsCompleteAndTheSameModel) {
  for (const char* format : {"W8A8", "W4A8", "W4A16"}) {
    SCOPED_TRACE(format);
    const LowBitCobra low = quantize(format, format);
    const ProbeComparison check = write_cobra(low, folder.path("low"), true);
    EXPECT_TRUE(check.identical);
    EXPECT_GT(check.values, (16 + 16) * 4096);  // the logits are among them
    for (const char* name : {"config.json", "recipe.json", "plan.json", "statistics.safetensors",
                             "vision/dino/config.json", "vision/dino/model.safetensors",
                             "vision/siglip/model.safetensors", "projector/model.safetensors",
                             "llm/config.json", "llm/model.safetensors", "llm/tokenizer.json"}) {
      EXPECT_TRUE(fs::exists(file(name))) << name;
    }
    EXPECT_FALSE(fs::exists(file("checkpoints")));
    const CobraDescription stored = describe_cobra(folder.path("low"));
    EXPECT_TRUE(stored.low_bit);
    EXPECT_EQ(stored.ranges, low.description.ranges);
    EXPECT_TRUE(
        compare_probes(probe_cobra(load(), 5), probe_cobra(build_cobra(low, {}), 5)).identical);
  }
}

TEST_F(CobraWriter, AFloatLanguageModelIsWrittenToo) {
  write_cobra(quantize("W8A8", "FP"), folder.path("low"), false);
  const CobraDescription stored = describe_cobra(folder.path("low"));
  EXPECT_FALSE(stored.language.low_bit);
  EXPECT_TRUE(fs::exists(file("llm/tokenizer.json")));
  const LanguageModel original =
      load_model(cobra_language(model), Execution{}, LanguageModel::Head::packed);
  const LanguageModel copy =
      load_model(cobra_language(stored), Execution{}, LanguageModel::Head::packed);
  EXPECT_TRUE(compare_logits(original, copy, 2).identical);
  EXPECT_THAT([&] { quantize_cobra(stored, Plan{}, nullptr, {}); },
              ThrowsMessage<Error>(HasSubstr("a float model")));
}

TEST_F(CobraWriter, PartsCanBeLoadedWithoutTheLanguageModel) {
  write_cobra(quantize(), folder.path("low"), false);
  ASSERT_TRUE(describe_cobra(folder.path("low")).ranges.contains("llm"));
  EXPECT_NO_THROW(
      load_cobra(describe_cobra(folder.path("low")), Execution{}, CobraModel::Parts::vision));
}

// Other projectors (linear, two layers, a convolution), one tower, towers in the checkpoint, other
// names of their tensors.
TEST_F(CobraWriter, EveryKindOfModelIsTheSameWhenLoadedAgain) {
  for (const char* variant :
       {"finetuned", "finetuned_alone", "ldpnet", "meta_linear", "openclip_gelu"}) {
    SCOPED_TRACE(variant);
    const CobraFolder original(std::string("variants/") + variant);
    const CobraDescription other = describe_cobra(original.path());
    const LowBitCobra low = quantize_cobra(other, Plan{}, nullptr, four_bits());
    EXPECT_TRUE(write_cobra(low, folder.path("low"), true).identical);
    StatisticsSet statistics = measure(other, kPicturesPath);
    const LowBitCobra eight = quantize_cobra(other, Plan{}, &statistics, CobraQuantizeOptions{});
    EXPECT_TRUE(write_cobra(eight, folder.path("low"), true).identical);
    EXPECT_NE(
        find(eight.projector, variant == std::string("meta_linear") ? "projector.input_scale"
                                                                    : "projector.0.input_scale"),
        nullptr);
  }
}

TEST_F(CobraWriter, AMissingScaleIsAnError) {
  write_cobra(quantize(), folder.path("low"), false);
  fs::copy(folder.path("low"), folder.path("kept"), fs::copy_options::recursive);
  const auto expect = [&](const std::string& part, const std::string& tensor) {
    SCOPED_TRACE(tensor);
    drop(part + "/model.safetensors", tensor);
    EXPECT_THAT([&] { load(); }, ThrowsMessage<Error>(HasSubstr(tensor)));
    fs::remove_all(folder.path("low"));
    fs::copy(folder.path("kept"), folder.path("low"), fs::copy_options::recursive);
  };
  expect("vision/dino", "blocks.1.mlp.fc1.weight_scale");
  // Without the check of formats this one would silently become a model with float inputs.
  expect("vision/siglip", "blocks.0.attn.proj.input_scale");
  expect("projector", "projector.2.input_scale");
  expect("vision/dino", "blocks.1.norm1.bias");
  EXPECT_NO_THROW(load());
}

TEST_F(CobraWriter, TensorsThatAreNotWhatTheConfigSaysAreErrors) {
  write_cobra(quantize(), folder.path("low"), false);
  change("projector/model.safetensors", [](std::vector<NamedTensor>& tensors) {
    for (NamedTensor& item : tensors) {
      if (item.name != "projector.0.input_scale") continue;
      const float nan = std::nanf("");
      item.tensor = Tensor::of<float>({1}, std::span(&nan, 1));
    }
  });
  EXPECT_THAT([&] { load(); }, ThrowsMessage<Error>(HasSubstr("projector.0.input_scale")));
  write_cobra(quantize(), folder.path("low"), true);
  edit_config(R"("projector.4": "W8A8")", R"("projector.4": "W4A8")");
  EXPECT_THAT([&] { load(); }, ThrowsMessage<Error>(HasSubstr("projector.4.weight_packed")));
  edit_config(R"("projector.4": "W4A8")", R"("projector.4": "W3A8")");
  EXPECT_THAT([&] { load(); }, ThrowsMessage<Error>(HasSubstr("W3A8")));
  edit_config(R"("projector.4")", R"("projector.5")");
  EXPECT_THAT([&] { load(); }, ThrowsMessage<Error>(HasSubstr("projector.4")));
  edit_config(R"("scute": {)", R"("scute2": {)");
  EXPECT_THAT([&] { load(); }, ThrowsMessage<Error>(HasSubstr("\"scute\" object")));
}

TEST_F(CobraWriter, AFolderThatExistsIsReplacedOnlyWhenTold) {
  const LowBitCobra low = quantize();
  write_cobra(low, folder.path("low"), false);
  EXPECT_NO_THROW(write_cobra(low, folder.path("low"), false)) << "what nobody changed";
  std::ofstream(file("llm/config.json"), std::ios::app) << "\n";
  EXPECT_THAT([&] { write_cobra(low, folder.path("low"), false); },
              ThrowsMessage<Error>(HasSubstr("--force")));
  write_file(file("vision/mine.txt"), "keep me");
  EXPECT_THAT([&] { write_cobra(low, folder.path("low"), true); },
              ThrowsMessage<Error>(HasSubstr("mine.txt")));
  EXPECT_EQ(read_text(file("vision/mine.txt")), "keep me");
  fs::remove(file("vision/mine.txt"));
  EXPECT_NO_THROW(write_cobra(low, folder.path("low"), true));
  // The model that is being read is no place to write to.
  EXPECT_THROW(write_cobra(low, kModelPath, true), Error);
}

TEST_F(CobraWriter, WhatDoesNotLoadAsItWasLeavesNothing) {
  LowBitCobra low = quantize();
  // A clip in memory that the config does not know.
  low.description.ranges["vision.dino"] = {-0.01F, 0.01F};
  EXPECT_THAT([&] { write_cobra(low, folder.path("low"), false); },
              ThrowsMessage<Error>(HasSubstr("a difference")));
  EXPECT_TRUE(fs::is_empty(fs::path(folder.path("low")).parent_path()));
}

}  // namespace
}  // namespace scute::writer_test
