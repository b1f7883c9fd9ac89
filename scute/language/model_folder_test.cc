#include "scute/language/model_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "scute/language/random_model.h"

namespace scute {
namespace {

using testing::HasSubstr;

ModelDescription from(const std::string& json) {
  return describe_config(Json::parse(json, "config.json"), "config.json");
}

std::string problem(const std::string& json) {
  try {
    from(json);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(DescribeConfig, StateSpacesMamba1HasItsDefaults) {
  const auto m = from(R"({"d_model": 768, "n_layer": 24, "vocab_size": 50277, "ssm_cfg": {}})");
  EXPECT_EQ(m.dialect, "state-spaces");
  EXPECT_EQ(m.config.mixer, MixerKind::mamba1);
  EXPECT_EQ(m.config.vocabulary, 50280);
  EXPECT_EQ(m.vocabulary_unpadded, 50277);
  EXPECT_EQ(m.config.inner, 1536);
  EXPECT_EQ(m.config.dt_rank, 48);
  EXPECT_EQ(m.config.state, 16);
  EXPECT_TRUE(m.config.tied_head);
}

TEST(DescribeConfig, StateSpacesMamba2OfEightBillion) {
  const auto m = from(R"({"d_model": 4096, "n_layer": 56, "vocab_size": 256000,
      "pad_vocab_size_multiple": 128, "tie_embeddings": false,
      "ssm_cfg": {"layer": "Mamba2", "ngroups": 8, "chunk_size": 128}})");
  EXPECT_EQ(m.config.heads, 128);
  EXPECT_EQ(m.config.groups, 8);
  EXPECT_EQ(m.config.state, 128);
  EXPECT_EQ(m.config.projected(), 18560);
  EXPECT_EQ(m.config.conv_channels(), 10240);
  EXPECT_FALSE(m.config.tied_head);
}

TEST(DescribeConfig, HuggingFaceMamba2WithInfinity) {
  const auto m = from(R"({"model_type": "mamba2", "hidden_size": 64, "num_hidden_layers": 2,
      "state_size": 16, "num_heads": 8, "head_dim": 16, "n_groups": 2, "expand": 2,
      "vocab_size": 112, "time_step_limit": [0.0, Infinity], "tie_word_embeddings": true})");
  EXPECT_EQ(m.dialect, "Hugging Face");
  EXPECT_TRUE(std::isinf(m.config.dt_max));
  EXPECT_EQ(m.config.groups, 2);
}

TEST(DescribeConfig, NamesWhatItDoesNotCompute) {
  const std::string base = R"("d_model": 64, "n_layer": 2, "vocab_size": 100)";
  EXPECT_THAT(problem("{" + base + R"(, "attn_layer_idx": [1]})"), HasSubstr("attn_layer_idx"));
  EXPECT_THAT(problem("{" + base + R"(, "d_intermediate": 128})"), HasSubstr("d_intermediate"));
  EXPECT_THAT(problem("{" + base + R"(, "rms_norm": false})"), HasSubstr("rms_norm"));
  EXPECT_THAT(problem("{" + base + R"(, "ssm_cfg": {"layer": "Mamba3"}})"), HasSubstr("Mamba3"));
  EXPECT_THAT(problem("{" + base + R"(, "ssm_cfg": {"bias": true}})"), HasSubstr("bias"));
  EXPECT_THAT(problem("{" + base + R"(, "pad_vocab_size_multiple": 0})"), HasSubstr("at least 1"));
  EXPECT_THAT(problem("{" + base + R"(, "ssm_cfg": {"layer": "Mamba2", "headdim": 24}})"),
              HasSubstr("headdim"));
  EXPECT_THAT(problem(R"({"d_model": "64", "n_layer": 2, "vocab_size": 100})"),
              HasSubstr("d_model"));
  EXPECT_THAT(problem(R"({"d_model": 64})"), HasSubstr("n_layer"));
  EXPECT_THAT(problem(R"({"model_type": "llama"})"), HasSubstr("llama"));
  EXPECT_THAT(problem(R"({"d_model": 9000000000, "n_layer": 2, "vocab_size": 100})"),
              HasSubstr("model width"));
  EXPECT_THAT(problem("[]"), HasSubstr("Mamba config"));
}

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

TEST_F(ModelFolder, SaysWhatAFolderLacks) {
  EXPECT_THAT(load_problem(), HasSubstr("config.json"));
  write_config();
  EXPECT_THAT(load_problem(), HasSubstr("model.safetensors"));
  EXPECT_THROW(describe_model(folder() + "/nowhere"), Error);
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
}  // namespace scute
