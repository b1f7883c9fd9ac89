#include "scute/language/model_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "scute/language/quantize.h"
#include "scute/language/random_model.h"

namespace scute::model_folder_test {
namespace {

using testing::HasSubstr;

/// A folder of its own for each test, removed afterwards.
class ModelFolder : public testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::temp_directory_path() / ("scute_folder_" + std::to_string(getpid()));
    std::filesystem::create_directories(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  std::string folder() const { return root_.string(); }
  void write_config(const std::string& more = "") {
    write_file(folder() + "/config.json",
               R"({"d_model": 64, "n_layer": 2, "vocab_size": 256)" + more + "}");
  }
  void write_weights(const std::function<void(Weights&)>& edit = {}) {
    Weights weights = random_weights(named_config("mamba-tiny"), 1);
    if (edit) edit(weights);
    std::vector<NamedTensor> tensors;
    for (const std::string& name : weights.names()) tensors.push_back({name, weights.at(name)});
    write_safetensors(folder() + "/model.safetensors", tensors, {});
  }
  std::string load_problem() const {
    try {
      load_model(describe_model(folder()), Compute::f32, LanguageModel::Head::packed);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

 private:
  std::filesystem::path root_;
};

TEST_F(ModelFolder, LoadsWhatItsConfigDescribes) {
  write_config();
  write_weights();
  EXPECT_EQ(load_problem(), "");
}

TEST_F(ModelFolder, NamesMissingExtraAndMisshapenTensors) {
  write_config();
  write_weights([](Weights& w) {
    w.erase("backbone.layers.0.mixer.D");
    w.add("rotary.inv_freq", Tensor(DType::f32, {4}));
    w.erase("backbone.norm_f.weight");
    w.add("backbone.norm_f.weight", Tensor(DType::f32, {65}));
  });
  const std::string text = load_problem();
  EXPECT_THAT(text, HasSubstr("missing backbone.layers.0.mixer.D"));
  EXPECT_THAT(text, HasSubstr("unknown tensor rotary.inv_freq"));
  EXPECT_THAT(text, HasSubstr("backbone.norm_f.weight has the shape (65), not (64)"));
}

TEST_F(ModelFolder, ATiedHeadMayBeStoredTwiceButNotDiffer) {
  write_config();
  write_weights([](Weights& w) { w.add("lm_head.weight", w.at("backbone.embedding.weight")); });
  EXPECT_EQ(load_problem(), "");
  write_weights([](Weights& w) { w.add("lm_head.weight", Tensor(DType::bf16, {256, 64})); });
  EXPECT_THAT(load_problem(), HasSubstr("tie"));
  write_config(R"(, "tie_embeddings": false)");
  EXPECT_EQ(load_problem(), "");
  write_weights();
  EXPECT_THAT(load_problem(), HasSubstr("missing lm_head.weight"));
}

TEST_F(ModelFolder, NamesMayBeginWithSomethingElse) {
  write_config();
  const auto remark = [&](const std::string& from, const std::string& to) {
    write_weights([&](Weights& w) {
      for (const std::string& name : w.names()) {
        w.rename(name, to + name.substr(from.size()));
      }
    });
    EXPECT_EQ(load_problem(), "") << to;
    const ModelDescription model = describe_model(folder());
    return model.remarks.empty() ? "" : model.remarks.back();
  };
  EXPECT_EQ(remark("", ""), "");
  EXPECT_THAT(remark("", "net."), HasSubstr("net.backbone."));
  EXPECT_THAT(remark("backbone.", ""), HasSubstr("backbone."));
  EXPECT_THAT(remark("backbone.", "decoder."), HasSubstr("decoder.…"));
  EXPECT_THAT(remark("", "_orig_mod."), HasSubstr("_orig_mod."));
}

TEST_F(ModelFolder, ProblemsAreCountedAndTheFirstSaid) {
  write_config();
  write_weights([](Weights& w) {
    for (const std::string& name : w.names()) {
      if (name.starts_with("backbone.layers")) w.rename(name, "backbone.blocks" + name.substr(15));
    }
  });
  const std::string text = load_problem();
  EXPECT_THAT(text, HasSubstr("40 problems"));
  EXPECT_THAT(text, HasSubstr("12 more such"));
  EXPECT_LT(text.size(), 2000U);
}

TEST_F(ModelFolder, WeightsOfOtherToolsAreRefusedByTheirMethod) {
  write_weights();
  write_config(R"(, "quantization_config": {"quant_method": "gptq", "bits": 4})");
  EXPECT_THAT(load_problem(), HasSubstr("another tool: gptq, 4 bits"));
  write_config();
  write_weights([](Weights& w) {
    w.rename("backbone.layers.0.mixer.in_proj.weight", "backbone.layers.0.mixer.in_proj.qweight");
  });
  EXPECT_THAT(load_problem(), HasSubstr("another tool: gptq or awq"));
  write_weights([](Weights& w) {
    w.add("backbone.layers.0.mixer.in_proj.weight.absmax", Tensor(DType::f32, {4}));
  });
  EXPECT_THAT(load_problem(), HasSubstr("bitsandbytes"));
}

/// The logits of a few tokens, as bytes.
std::vector<float> logits_of(const std::string& folder) {
  const LanguageModel model =
      load_model(describe_model(folder), Compute::f32, LanguageModel::Head::packed);
  const std::vector<int32_t> ids{1, 5, 3, 7, 2, 30, 11, 4};
  Run run;
  State state = model.new_state();
  const auto hidden = run.matrix(std::ssize(ids), model.config().width);
  model.hidden(run, ids, state, hidden);
  Tensor out(DType::f32, {std::ssize(ids), model.config().vocabulary});
  model.logits(run, hidden, out.mutable_matrix<float>());
  const auto values = out.values<float>();
  return {values.begin(), values.end()};
}

TEST_F(ModelFolder, LeftoversOfTheOtherDialectChangeNoBit) {
  std::filesystem::copy("tests/golden/mamba1-f32/model.safetensors",
                        folder() + "/model.safetensors");
  const auto logits = [&](const std::string& epsilon, const std::string& leftovers) {
    write_file(
        folder() + "/config.json",
        R"({"model_type": "mamba", "hidden_size": 24, "num_hidden_layers": 2, "vocab_size": 40,
                   "state_size": 5, "conv_kernel": 3, "expand": 2, "layer_norm_epsilon": )" +
            epsilon + leftovers + "}");
    return logits_of(folder());
  };
  const std::string leftovers = R"(, "d_model": 48, "n_layer": 1, "ssm_cfg": {"d_state": 16},
      "rms_norm": false, "pad_vocab_size_multiple": 16, "tie_embeddings": false, "d_inner": 9)";
  const auto plain = logits("0.1", "");
  EXPECT_EQ(logits("0.1", leftovers), plain);
  EXPECT_NE(logits("1e-5", leftovers), plain);
  EXPECT_EQ(logits("1e-5", leftovers), logits_of("tests/golden/mamba1-f32"));
}

TEST_F(ModelFolder, TensorsAreCheckedBeforeAnyWork) {
  write_weights();
  write_config(R"(, "pad_vocab_size_multiple": 3)");
  EXPECT_THAT([&] { quantize(describe_model(folder()), Plan{}, nullptr, nullptr, {}); },
              testing::ThrowsMessage<Error>(HasSubstr("has the shape (256, 64), not (258, 64)")));
  write_config();
  std::filesystem::copy("examples/tiny-mamba1/tokenizer.json", folder() + "/tokenizer.json");
  EXPECT_THAT([&] { quantize(describe_model(folder()), Plan{}, nullptr, nullptr, {}); },
              testing::ThrowsMessage<Error>(HasSubstr("at most 256 ids")));
}

TEST_F(ModelFolder, ReadsMistralsLayout) {
  const MambaConfig config = named_config("mamba2-tiny");
  Weights weights = random_weights(config, 1);
  std::vector<NamedTensor> tensors;
  for (const std::string& name : weights.names()) {
    tensors.push_back({"model." + name, weights.at(name)});
  }
  write_safetensors(folder() + "/consolidated.safetensors", tensors, {});
  write_file(folder() + "/params.json",
             R"({"dim": 64, "n_layers": 2, "vocab_size": 256, "n_groups": 1, "rms_norm": true,
                 "residual_in_fp32": true, "fused_add_norm": true, "pad_vocab_size_multiple": 1,
                 "tie_embeddings": true, "model_type": "mamba"})");
  EXPECT_EQ(load_problem(), "");
  const ModelDescription model = describe_model(folder());
  EXPECT_EQ(model.config.state, config.state);
  EXPECT_EQ(model.config.heads, config.heads);
  EXPECT_EQ(model.remarks.size(), 2U);  // the layout, and names that begin with model.
  EXPECT_EQ(hash_model(model).size(), 64U);
  std::filesystem::remove(folder() + "/consolidated.safetensors");
  EXPECT_THAT(load_problem(), HasSubstr("consolidated.safetensors"));
}

TEST_F(ModelFolder, SaysWhatAFolderLacks) {
  EXPECT_THAT(load_problem(), HasSubstr("config.json"));
  write_config();
  EXPECT_THAT(load_problem(), HasSubstr("model.safetensors"));
  EXPECT_THROW(describe_model(folder() + "/nowhere"), Error);
}

TEST_F(ModelFolder, NamesWhatOtherToolsFoldersAre) {
  write_file(folder() + "/model.gguf", "GGUF\x03");
  EXPECT_THAT(load_problem(), HasSubstr("model.gguf: a GGUF file"));
  EXPECT_THAT([&] { describe_model(folder() + "/model.gguf"); },
              testing::ThrowsMessage<Error>(HasSubstr("GGUF")));
  std::filesystem::create_directories(folder() + "/release/mp_rank_00");
  EXPECT_THAT(load_problem(), testing::AllOf(HasSubstr("Megatron-core"), HasSubstr("release")));
  std::filesystem::remove_all(folder() + "/release");
  // compressed-tensors in FP8, as other tools write it.
  write_config(R"(, "quantization_config": {"quant_method": "compressed-tensors"})");
  const std::string header =
      R"({"a.weight": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}})";
  write_file(folder() + "/model.safetensors", std::string(1, static_cast<char>(header.size())) +
                                                  std::string(7, '\0') + header + "x");
  EXPECT_THAT(load_problem(), testing::AllOf(HasSubstr("F8_E4M3"), HasSubstr("another tool")));
}

TEST_F(ModelFolder, RefusesATokenizerLargerThanTheModel) {
  write_config(R"(, "pad_vocab_size_multiple": 1)");
  std::filesystem::copy("examples/tiny-mamba1/tokenizer.json", folder() + "/tokenizer.json");
  EXPECT_THROW(load_tokenizer(describe_model(folder())), Error);
}

TEST_F(ModelFolder, TheHashIsOfContentsNotOfThePlace) {
  write_config();
  write_weights();
  const std::string here = hash_model(describe_model(folder()));
  std::filesystem::copy(folder(), folder() + "/copy");
  EXPECT_EQ(hash_model(describe_model(folder() + "/copy")), here);
  write_weights([](Weights& w) {
    w.erase("backbone.norm_f.weight");
    w.add("backbone.norm_f.weight", Tensor(DType::f32, {64}));
  });
  EXPECT_NE(hash_model(describe_model(folder())), here);
}

TEST(RandomModel, HasTheReleasedSizes) {
  // Parameters of the released models, in millions (README.md).
  const auto parameters = [](const char* name) {
    const MambaConfig c = named_config(name);
    int64_t layer =
        c.width + c.projected() * c.width + c.conv_channels() * (c.taps + 1) + c.width * c.inner;
    if (c.mixer == MixerKind::mamba1) {
      layer +=
          (c.dt_rank + 2 * c.state) * c.inner + c.inner * (c.dt_rank + 1) + c.inner * (c.state + 1);
    } else {
      layer += 3 * c.heads + c.inner;
    }
    return static_cast<double>(layer * c.layers + c.width + c.vocabulary * c.width) / 1e6;
  };
  EXPECT_NEAR(parameters("mamba-130m"), 129.1, 0.06);
  EXPECT_NEAR(parameters("mamba-2.8b"), 2768.3, 0.06);
  EXPECT_NEAR(parameters("mamba2-130m"), 129.0, 0.06);
  EXPECT_NEAR(parameters("mamba2-2.7b"), 2702.6, 0.06);
  EXPECT_THROW(named_config("mamba-131m"), Error);
}

TEST(RandomModel, HasThePublishedSizesOfHybridsAndSevenBillion) {
  const std::map<std::string_view, double> millions{
      {"falcon-mamba-7b", 7273},    {"codestral-mamba-7b", 7285}, {"bamba-9b", 9780},
      {"granite-4.0-h-350m", 340},  {"granite-4.0-h-1b", 1462},   {"granite-4.0-h-micro", 3191},
      {"granite-4.0-h-tiny", 6939}, {"falcon-h1-0.5b", 521},      {"falcon-h1-1.5b", 1555},
      {"nemotron-h-4b", 4489},      {"nemotron-h-8b", 8101},      {"nemotron-3-nano-4b", 3974},
      {"zamba2-1.2b", 1215}};
  for (const auto& [name, published] : millions) {
    const Weights shapes = random_shapes(named_config(name));
    double all = 0;
    for (const std::string& tensor : shapes.names()) {
      all += static_cast<double>(element_count(shapes.at(tensor).shape(), tensor));
    }
    EXPECT_NEAR(all / 1e6, published, 0.501) << name;
  }
}

TEST(RandomModel, ComesOneTensorAfterTheOtherToo) {
  const MambaConfig config = named_config("mamba2-tiny");
  const Weights whole = random_weights(config, 3);
  size_t count = 0;
  make_random_weights(config, 3, [&](const std::string& name, const Tensor& tensor) {
    EXPECT_TRUE(std::ranges::equal(tensor.bytes(), whole.at(name).bytes())) << name;
    ++count;
  });
  EXPECT_EQ(count, whole.size());
}

TEST(RandomModel, IsTheSameForTheSameSeed) {
  const MambaConfig config = named_config("mamba2-tiny");
  const auto name = "backbone.layers.1.mixer.in_proj.weight";
  const auto bytes = [&](uint64_t seed) {
    const Weights weights = random_weights(config, seed);
    const auto all = weights.at(name).bytes();
    return std::vector<std::byte>(all.begin(), all.end());
  };
  EXPECT_EQ(bytes(1), bytes(1));
  EXPECT_NE(bytes(1), bytes(2));
  EXPECT_NO_THROW(LanguageModel(config, random_weights(config, 1), Compute::bf16));
}

}  // namespace
}  // namespace scute::model_folder_test
