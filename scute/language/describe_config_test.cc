#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <utility>

#include "scute/base/error.h"
#include "scute/language/model_folder.h"

namespace scute::describe_config_test {
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

/// As state-spaces/mamba-130m-hf publishes it, with keys of both dialects.
constexpr const char* kBoth = R"("architectures": ["MambaForCausalLM"], "conv_kernel": 3,
    "d_inner": 48, "d_model": 24, "expand": 2, "fused_add_norm": true, "hidden_act": "silu",
    "hidden_size": 32, "layer_norm_epsilon": 0.1, "model_type": "mamba", "n_layer": 1,
    "num_hidden_layers": 2, "pad_vocab_size_multiple": 8, "rms_norm": true, "ssm_cfg": {"d_state": 4},
    "state_size": 5, "tie_embeddings": false, "time_step_rank": 3, "vocab_size": 43)";

TEST(DescribeConfig, HuggingFacesKeysCountWhereBothDialectsStand) {
  const auto m = from("{" + std::string(kBoth) + "}");
  EXPECT_EQ(m.dialect, "Hugging Face");
  EXPECT_EQ(m.config.width, 32);
  EXPECT_EQ(m.config.layers, 2);
  EXPECT_EQ(m.config.vocabulary, 43);
  EXPECT_EQ(m.config.state, 5);
  EXPECT_EQ(m.config.taps, 3);
  EXPECT_EQ(m.config.dt_rank, 3);
  EXPECT_EQ(m.config.norm_eps, 0.1F);
  EXPECT_TRUE(m.config.tied_head);
  EXPECT_THAT(m.ignored,
              testing::ElementsAre("d_inner", "d_model", "n_layer", "pad_vocab_size_multiple",
                                   "rms_norm", "ssm_cfg", "tie_embeddings"));
  // Without hidden_size it is not Hugging Face's.
  EXPECT_EQ(
      from(R"({"model_type": "mamba", "d_model": 24, "n_layer": 1, "vocab_size": 8})").dialect,
      "state-spaces");
}

TEST(DescribeConfig, AnotherActivationIsRefusedInEveryDialect) {
  const std::string own = R"({"d_model": 64, "n_layer": 2, "vocab_size": 100, )";
  for (const std::string& json :
       {"{" + std::string(kBoth).replace(std::string(kBoth).find("silu"), 4, "relu") + "}",
        own + R"("hidden_act": "relu"})", own + R"("ssm_cfg": {"activation": "relu"}})",
        std::string(R"({"model_type": "mamba2", "hidden_size": 4096, "hidden_act": "relu"})")}) {
    EXPECT_THAT(problem(json), HasSubstr("relu")) << json;
  }
  EXPECT_EQ(problem(own + R"("hidden_act": "swish"})"), "");
}

TEST(DescribeConfig, HuggingFacesWordsMustAgreeWithStateSpaces) {
  const std::string one = R"({"d_model": 64, "n_layer": 2, "vocab_size": 104, )";
  const std::string two = one + R"("ssm_cfg": {"layer": "Mamba2", "ngroups": 2}, )";
  for (const char* agrees :
       {R"("layer_norm_epsilon": 1e-5})", R"("use_bias": false, "expand": 2.0})",
        R"("tie_word_embeddings": true, "hidden_size": 64, "time_step_rank": "auto"})",
        R"("norm_before_gate": false, "state_size": 16, "conv_kernel": 4})"}) {
    EXPECT_EQ(problem(one + agrees), "") << agrees;
  }
  for (const char* key :
       {R"("layer_norm_epsilon": 0.1)", R"("norm_epsilon": 1e-6)", R"("rms_norm_eps": 1e-6)",
        R"("norm_eps": 1e-6)", R"("use_bias": true)", R"("use_conv_bias": false)",
        R"("tie_word_embeddings": false)", R"("norm_before_gate": true)", R"("hidden_size": 32)",
        R"("num_hidden_layers": 3)", R"("state_size": 8)", R"("conv_kernel": 3)", R"("expand": 3)",
        R"("intermediate_size": 96)", R"("time_step_rank": 5)"}) {
    const std::string name = std::string(key).substr(1, std::string(key).find('"', 1) - 1);
    EXPECT_THAT(problem(one + key + "}"), HasSubstr(name)) << key;
  }
  EXPECT_EQ(problem(two + R"("n_groups": 2, "time_step_limit": [0, Infinity]})"), "");
  for (const char* key : {R"("n_groups": 1)", R"("num_heads": 4)", R"("head_dim": 32)",
                          R"("time_step_limit": [0.0, 0.1])"}) {
    EXPECT_THAT(problem(two + key + "}"), HasSubstr(std::string(key).substr(1, 6))) << key;
  }
  // Keys of the other mixer.
  EXPECT_THAT(problem(one + R"("ssm_cfg": {"dt_limit": [0.0, 0.1]}})"), HasSubstr("dt_limit"));
  EXPECT_THAT(problem(one + R"("ssm_cfg": {"layer": "Mamba2", "dt_rank": 4}})"),
              HasSubstr("dt_rank"));
}

TEST(DescribeConfig, AbsentKeysHaveTheDefaultsOfTheirClass) {
  const auto one = from(R"({"model_type": "mamba"})").config;
  EXPECT_EQ(one.width, 768);
  EXPECT_EQ(one.layers, 32);
  EXPECT_EQ(one.vocabulary, 50280);
  EXPECT_TRUE(one.tied_head);
  const auto two = from(R"({"model_type": "mamba2", "hidden_size": 4096})").config;
  EXPECT_EQ(two.layers, 64);
  EXPECT_EQ(two.vocabulary, 32768);
  EXPECT_EQ(two.groups, 8);
  EXPECT_EQ(two.heads, 128);
  EXPECT_EQ(two.inner, 8192);
  EXPECT_FALSE(two.tied_head);
  EXPECT_THAT(problem(R"({"model_type": "mamba2", "hidden_size": 64, "head_dim": 8})"),
              HasSubstr("128 × 8"));
  // intermediate_size counts in MambaConfig alone.
  EXPECT_EQ(from(R"({"model_type": "mamba", "intermediate_size": 96})").config.inner, 96);
  EXPECT_EQ(from(R"({"model_type": "mamba2", "intermediate_size": 96})").config.inner, 8192);
}

TEST(DescribeConfig, WhatTransformersIgnoresIsRemarkedOn) {
  const std::string base = R"({"model_type": "mamba2", "hidden_size": 4096)";
  for (const char* key :
       {R"("norm_before_gate": true)", R"("rms_norm": false)", R"("residual_in_fp32": false)"}) {
    const auto m = from(base + ", " + key + "}");
    ASSERT_EQ(m.remarks.size(), 1U) << key;
    EXPECT_THAT(m.remarks[0], HasSubstr("no effect"));
  }
  EXPECT_TRUE(from(base + "}").remarks.empty());
}

TEST(DescribeConfig, InfinitiesInEveryForm) {
  const auto limit = [](const std::string& pair) {
    const auto c = from(R"({"model_type": "mamba2", "time_step_limit": )" + pair + "}").config;
    return std::pair(c.dt_min, c.dt_max);
  };
  const std::pair<float, float> none(0.0F, std::numeric_limits<float>::infinity());
  for (const char* pair : {"[0.0, Infinity]", R"([0.0, {"__float__": "Infinity"}])", "[0.0, null]",
                           "null", R"([0.0, "inf"])", R"([0, "+Infinity"])", "[null, null]",
                           R"([{"__float__": "-Infinity"}, {"__float__": "Infinity"}])"}) {
    EXPECT_EQ(limit(pair), none) << pair;
  }
  EXPECT_EQ(limit("[0.5, 1]"), std::pair(0.5F, 1.0F));
  for (const char* pair : {R"([0, "much"])", R"([0, {"__float__": "NaN"}])", R"([0, {"x": 1}])",
                           "[0]", "[1, 0]", "3"}) {
    EXPECT_THROW(limit(pair), Error) << pair;
  }
  const auto own = from(R"({"d_model": 64, "n_layer": 2, "vocab_size": 8, "ssm_cfg": {"layer":
      "Mamba2", "dt_limit": [0.0, {"__float__": "Infinity"}]}})");
  EXPECT_TRUE(std::isinf(own.config.dt_max));
}

TEST(DescribeConfig, ExpandMayBeAFraction) {
  EXPECT_EQ(from(R"({"model_type": "mamba", "hidden_size": 25, "expand": 1.5})").config.inner, 37);
  EXPECT_EQ(from(R"({"d_model": 24, "n_layer": 2, "vocab_size": 8, "ssm_cfg": {"expand": 1.5}})")
                .config.inner,
            36);
  for (const char* wrong : {"0", "-1", "0.001", "1e300", "Infinity", "\"2\""}) {
    EXPECT_THAT(problem(std::string(R"({"model_type": "mamba", "expand": )") + wrong + "}"),
                HasSubstr("expand"))
        << wrong;
  }
}

TEST(DescribeConfig, OtherModelsAreRefusedByName) {
  EXPECT_THAT(
      problem(R"({"model_type": "caduceus", "d_model": 24, "n_layer": 2, "vocab_size": 8})"),
      HasSubstr("\"caduceus\", a model that is not known"));
  EXPECT_THAT(problem(R"({"model_type": "mamba", "architectures": ["FalconMambaForCausalLM"]})"),
              HasSubstr("FalconMamba"));
  EXPECT_THAT(problem(R"({"model_type": "mamba", "use_bcdt_rms": true})"),
              HasSubstr("use_bcdt_rms"));
  EXPECT_THAT(problem(R"({"d_model": 24, "n_layer": 2, "vocab_size": 8, "bidirectional": true})"),
              HasSubstr("bidirectional"));
  EXPECT_THAT(problem(R"({"d_model": 24, "n_layer": 2, "vocab_size": 8,
      "ssm_cfg": {"layer": "W4A8QMamba"}})"),
              HasSubstr("Quamba"));
}

TEST(DescribeConfig, NamesWhatItDoesNotCompute) {
  const std::string base = R"("d_model": 64, "n_layer": 2, "vocab_size": 100)";
  EXPECT_THAT(problem("{" + base + R"(, "attn_layer_idx": [1]})"), HasSubstr("attn_layer_idx"));
  EXPECT_THAT(problem("{" + base + R"(, "d_intermediate": -1})"), HasSubstr("d_intermediate"));
  EXPECT_THAT(problem("{" + base + R"(, "rms_norm": false})"), HasSubstr("rms_norm"));
  EXPECT_THAT(problem("{" + base + R"(, "ssm_cfg": {"layer": "Mamba3"}})"), HasSubstr("Mamba3"));
  EXPECT_THAT(problem("{" + base + R"(, "ssm_cfg": {"bias": 1}})"), HasSubstr("bias"));
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

}  // namespace
}  // namespace scute::describe_config_test
