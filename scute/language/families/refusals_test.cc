// Limits, rope and layer lists that every family reads by the same rules, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"
#include "scute/language/families/test_configs.h"
#include "scute/language/model_folder.h"

namespace scute::refusals_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing_families::described_as;
using testing_families::problem_of;

struct ClassDefaults {
  const char* keys;
  int64_t width, vocabulary, layers, state, inner;
  float eps;
  bool tied;
  int64_t heads = 0, key_heads = 0;  ///< of attention, where there is some
  int64_t mlp = 0;                   ///< width of the first feed-forward
};

/// families.md's tables; what is given is what a family cannot be without, or what calls for the
/// part whose defaults are wanted.
TEST(FamilyRules, MissingKeysHaveTheDefaultsOfTheClass) {
  for (const ClassDefaults& d : std::initializer_list<ClassDefaults>{
           {R"("model_type": "mamba")", 768, 50280, 32, 16, 1536, 1e-5F, true},
           {R"("model_type": "falcon_mamba")", 768, 50280, 32, 16, 1536, 1e-5F, true},
           {R"("model_type": "mamba2")", 4096, 32768, 64, 128, 8192, 1e-5F, false},
           {R"("model_type": "bamba", "attn_layer_indices": [0])", 4096, 128000, 32, 256, 8192,
            1e-5F, false, 32, 8, 14336},
           {R"("model_type": "granitemoehybrid", "num_local_experts": 0)", 4096, 32000, 32, 256,
            8192, 1e-6F, false, 0, 0, 1024},
           {R"("model_type": "falcon_h1")", 4096, 128000, 32, 256, 1024, 1e-5F, false, 32, 8,
            14336},
           {R"("model_type": "nemotron_h", "hybrid_override_pattern": "M*-")", 4096, 131072, 3, 128,
            8192, 1e-5F, false, 32, 8, 21504},
           {R"("model_type": "jamba")", 4096, 65536, 32, 16, 8192, 1e-6F, false, 32, 8, 14336},
           {R"("model_type": "zamba2")", 2560, 32000, 54, 64, 5120, 1e-5F, true, 32, 32}}) {
    const MambaConfig c = described_as(d.keys).config;
    EXPECT_EQ(c.width, d.width) << d.keys;
    EXPECT_EQ(c.vocabulary, d.vocabulary) << d.keys;
    EXPECT_EQ(c.layers, d.layers) << d.keys;
    EXPECT_EQ(c.state, d.state) << d.keys;
    EXPECT_EQ(c.inner, d.inner) << d.keys;
    EXPECT_EQ(c.norm_eps, d.eps) << d.keys;
    EXPECT_EQ(c.tied_head, d.tied) << d.keys;
    EXPECT_EQ(c.taps, 4) << d.keys;
    EXPECT_EQ(c.attention.heads, d.heads) << d.keys;
    EXPECT_EQ(c.attention.key_heads, d.key_heads) << d.keys;
    const auto found =
        std::ranges::find_if(c.blocks, [](const BlockConfig& block) { return block.inner > 0; });
    EXPECT_EQ(found == c.blocks.end() ? 0 : found->inner, d.mlp) << d.keys;
  }
}

TEST(FamilyRules, InfinityInFourSpellings) {
  for (const char* family :
       {"mamba2", "bamba", "granitemoehybrid", "falcon_h1", "nemotron_h", "zamba2"}) {
    const std::string base = "\"model_type\": \"" + std::string(family) +
                             R"(", "hybrid_override_pattern": "M", "mamba_d_ssm": 8192)";
    for (const char* limit :
         {"", R"(, "time_step_limit": null)", R"(, "time_step_limit": [0.0, Infinity])",
          R"(, "time_step_limit": [0.0, {"__float__": "Infinity"}])"}) {
      const MambaConfig c = described_as(base + limit).config;
      EXPECT_TRUE(c.dt_min == 0 && std::isinf(c.dt_max)) << family << limit;
    }
    const MambaConfig c = described_as(base + R"(, "time_step_limit": [0.02, 0.1])").config;
    EXPECT_TRUE(c.dt_min == 0.02F && c.dt_max == 0.1F) << family;
    EXPECT_THAT(problem_of(base + R"(, "time_step_limit": [0.0, {"__float__": "NaN"}])"),
                HasSubstr("time_step_limit"));
  }
}

TEST(FamilyRules, RefusesWhatItDoesNotKnowByName) {
  const std::string bamba = R"("model_type": "bamba", "attn_layer_indices": [1])";
  for (const auto& [keys, named] :
       {std::pair(R"("rope_scaling": {"type": "linear", "factor": 2})", "linear"),
        {R"("rope_scaling": {"rope_type": "yarn", "factor": 2})", "rope_scaling: rope_type"},
        {R"("rope_parameters": {"rope_type": "llama3", "factor": 8})", "llama3"},
        {R"("partial_rotary_factor": 1.0)", "partial_rotary_factor"},
        {R"("attn_rotary_emb": 128)", "attn_rotary_emb"},
        {R"("hidden_act": "relu")", "relu"},
        {R"("sliding_window": 4096)", "sliding_window"},
        {R"("head_dim": 64)", "head_dim"},
        {R"("rms_norm_eps": null)", "rms_norm_eps"},
        {R"("mamba_n_heads": 100)", "mamba_n_heads"},
        {R"("mamba_n_heads": 0)", "mamba_n_heads"},
        {R"("num_key_value_heads": 5)", "key heads"},
        {R"("num_attention_heads": 0)", "num_attention_heads"},
        {R"("mamba_n_groups": 3)", "groups"},
        {R"("layer_types": ["mamba", "rwkv"])", "rwkv"},
        {R"("layer_types": ["m", "mamba"])", "layer_types[0]"},
        {R"("layer_types": [])", "layer_types"},
        {R"("layer_types": ["mamba", "attention"], "layers_block_type": ["mamba", "mamba"])",
         "the same layers as layer_types"},
        {R"("hidden_size": 0)", "hidden_size"},
        {R"("hidden_size": 4611686018427387904)", "hidden_size"},
        {R"("hidden_size": -9223372036854775807)", "hidden_size: expected at least -2^53"},
        {R"("layer_types": ["mamba", "moe"])", "layer_types[1]"},
        {R"("architectures": ["JambaForCausalLM"])", "JambaForCausalLM"}}) {
    const std::string problem = problem_of(bamba + ", " + keys);
    EXPECT_THAT(problem, HasSubstr(named)) << keys;
    EXPECT_EQ(problem.find('\n'), problem.npos);
  }
  EXPECT_THAT(problem_of(R"("model_type": "bamba", "attn_layer_indices": [0],
                            "layer_types": ["mamba", "attention"])"),
              HasSubstr("attn_layer_indices"));
  EXPECT_THAT(problem_of(R"("model_type": "mamba", "num_hidden_layers": 4503599627370496)"),
              HasSubstr("number of layers"));
  EXPECT_THAT(problem_of(R"("model_type": "lfm2")"),
              AllOf(HasSubstr("\"lfm2\""), HasSubstr("nemotron_h"), HasSubstr("zamba2")));
}

}  // namespace
}  // namespace scute::refusals_test
