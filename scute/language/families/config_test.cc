// What each family's config means, in both dialects, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "scute/base/error.h"
#include "scute/language/families/test_configs.h"
#include "scute/language/model_folder.h"

namespace scute::config_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing_families::described_as;
using testing_families::problem_of;

std::vector<PartKind> parts_of(const MambaConfig& config) {
  std::vector<PartKind> out;
  for (const BlockConfig& block : config.blocks) {
    out.insert(out.end(), block.parts.begin(), block.parts.end());
  }
  return out;
}

constexpr PartKind kMixer = PartKind::mixer, kAttention = PartKind::attention,
                   kMlp = PartKind::feed_forward, kExperts = PartKind::experts;

/// Small models of each family, in the words of transformers 4 and 5.
struct TwoDialects {
  const char* family;
  std::string common, four, five;
};

std::vector<TwoDialects> two_dialects() {
  const std::string rope4 = R"("rope_theta": 5000.0, "rope_scaling": null, )";
  const std::string rope5 =
      R"("rope_parameters": {"rope_theta": 5000.0, "rope_type": "default"}, )";
  const std::string sizes =
      R"("hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, )";
  return {
      {"bamba", sizes + R"("mamba_n_heads": 16, "num_hidden_layers": 3)",
       rope4 + R"("attn_layer_indices": [1], "partial_rotary_factor": 0.5)",
       R"("rope_parameters": {"rope_theta": 5000.0, "rope_type": "default",
           "partial_rotary_factor": 0.5},
           "layer_types": ["linear_attention", "full_attention", "linear_attention"])"},
      {"granitemoehybrid",
       sizes + R"("mamba_n_heads": 16, "num_hidden_layers": 3, "position_embedding_type": "rope")",
       rope4 + R"("layers_block_type": ["mamba", "attention", "mamba"])",
       rope5 + R"("layer_types": ["linear_attention", "full_attention", "linear_attention"])"},
      {"falcon_h1", sizes + R"("mamba_n_heads": 16, "num_hidden_layers": 3)",
       rope4 + R"("time_step_limit": [0.0, Infinity])",
       rope5 + R"("time_step_limit": [0.0, {"__float__": "Infinity"}])"},
      {"nemotron_h", sizes + R"("head_dim": 16)",
       R"("hybrid_override_pattern": "M-*EM", "mamba_n_groups": 4, "mamba_d_conv": 3)",
       R"("layers_block_type": ["linear_attention", "mlp", "full_attention", "moe", "mamba"],
          "n_groups": 4, "conv_kernel": 3)"},
      {"jamba", sizes + R"("attn_layer_period": 2, "attn_layer_offset": 1, "num_hidden_layers": 3)",
       R"("layers_block_type": ["mamba", "attention", "mamba"])",
       R"("layer_types": ["linear_attention", "full_attention", "linear_attention"])"},
      {"zamba2", sizes + R"("use_mem_rope": true)",
       rope4 + R"("layers_block_type": ["m", "g", "m"], "num_hidden_layers": 3)",
       rope5 + R"("layers_block_type": ["linear_attention", "hybrid", "mamba"])"},
  };
}

TEST(FamilyConfig, BothDialectsMeanTheSame) {
  for (const TwoDialects& model : two_dialects()) {
    const std::string base =
        "\"model_type\": \"" + std::string(model.family) + "\", " + model.common;
    const ModelDescription four = described_as(base + ", " + model.four);
    EXPECT_EQ(four.config, described_as(base + ", " + model.five).config) << model.family;
    EXPECT_EQ(four.family, model.family);
    EXPECT_FALSE(four.config.pure()) << model.family;
    EXPECT_EQ(four.config.blocks, four.config.all_blocks());
  }
}

TEST(FamilyConfig, PureModelsHaveNoBlocks) {
  for (const char* keys :
       {R"("model_type": "mamba")", R"("model_type": "falcon_mamba")", R"("model_type": "mamba2")",
        R"("d_model": 64, "n_layer": 2, "vocab_size": 8)",
        R"("model_type": "nemotron_h", "hybrid_override_pattern": "MMM")",
        R"("model_type": "zamba2", "layers_block_type": ["mamba", "mamba"])"}) {
    const MambaConfig config = described_as(keys).config;
    EXPECT_TRUE(config.blocks.empty()) << keys;
    EXPECT_TRUE(config.pure()) << keys;
  }
}

TEST(FamilyConfig, FalconMambaHasInnerNormsAndItsOwnWidth) {
  // As published: expand 16 is not what E follows from.
  const ModelDescription seven = described_as(
      R"("model_type": "falcon_mamba", "hidden_size": 4096, "expand": 16, "intermediate_size": 8192,
         "vocab_size": 65024, "tie_word_embeddings": false, "time_step_rank": 256)");
  EXPECT_EQ(seven.config.inner, 8192);
  EXPECT_EQ(seven.config.inner_norms, MambaConfig::InnerNorms::plain);
  EXPECT_EQ(seven.config.inner_eps, 1e-6F);
  EXPECT_THAT(seven.ignored, testing::Contains("expand"));
  EXPECT_EQ(described_as(R"("model_type": "falcon_mamba", "mixer_rms_eps": 1e-5)").config.inner_eps,
            1e-5F);
  const std::string mamba = R"("model_type": "mamba", "hidden_size": 4096, "vocab_size": 65024)";
  EXPECT_THAT(problem_of(mamba), AllOf(HasSubstr("falcon_mamba"), HasSubstr("ambiguous")));
  EXPECT_EQ(problem_of(mamba + R"(, "use_bcdt_rms": false)"), "");
  const MambaConfig biased = described_as(R"("model_type": "mamba", "use_bias": true)").config;
  EXPECT_TRUE(biased.in_proj_bias && biased.out_proj_bias);
}

TEST(FamilyConfig, StateSpacesMayHaveAttentionAndMlps) {
  const std::string base =
      R"("d_model": 64, "n_layer": 2, "vocab_size": 8, "attn_layer_idx": [1], )";
  const MambaConfig c = described_as(base + R"("d_intermediate": 130, "attn_cfg": {"causal": true,
      "num_heads": 6, "num_heads_kv": 2, "head_dim": 16, "d_conv": 4, "rotary_emb_dim": 8,
      "rotary_emb_base": 100.0, "out_proj_bias": false, "softmax_scale": 0.5})")
                            .config;
  const AttentionConfig wanted{.heads = 6,
                               .key_heads = 2,
                               .head_width = 16,
                               .scale = 0.5F,
                               .qkv_bias = true,
                               .rotated = 8,
                               .theta = 100,
                               .taps = 4};
  EXPECT_EQ(c.attention, wanted);
  EXPECT_THAT(parts_of(c), testing::ElementsAre(kMixer, kMlp, kAttention, kMlp));
  EXPECT_EQ(c.blocks[1].inner, 256);
  EXPECT_TRUE(c.blocks[1].second);
  const MambaConfig defaults =
      described_as(base + R"("attn_cfg": {"causal": true, "num_heads": 4})").config;
  EXPECT_EQ(defaults.attention.head_width, 16);
  EXPECT_EQ(defaults.attention.scale, 0.25F);
  EXPECT_EQ(defaults.attention.key_heads, 4);
  EXPECT_TRUE(defaults.attention.out_bias);
  for (const auto& [keys, named] :
       {std::pair(R"("attn_cfg": {"num_heads": 4})", "causal"),
        {R"("attn_cfg": {"causal": true, "num_heads": 4, "mlp_dim": 8})", "mlp_dim"},
        {R"("attn_cfg": {"causal": true, "num_heads": 4, "rotary_emb_interleaved": true})",
         "rotary_emb_interleaved"},
        {R"("attn_cfg": {"causal": true, "num_heads": 5})", "num_heads"},
        {R"("attn_cfg": {"causal": true, "num_heads": 4, "rotary_emb_dim": 17})", "rotated"}}) {
    EXPECT_THAT(problem_of(base + keys), HasSubstr(named)) << keys;
  }
  EXPECT_THAT(problem_of(R"("d_model": 64, "n_layer": 2, "vocab_size": 8, "attn_layer_idx": [2])"),
              HasSubstr("attn_layer_idx"));
  const MambaConfig biased =
      described_as(R"("d_model": 64, "n_layer": 2, "vocab_size": 8, "ssm_cfg": {"bias": true})")
          .config;
  EXPECT_TRUE(biased.in_proj_bias && biased.out_proj_bias && biased.blocks.empty());
}

TEST(FamilyConfig, BambaRotatesHalfOfAHead) {
  const ModelDescription m = described_as(
      R"("model_type": "bamba", "architectures": ["BambaForCausalLM"],
         "attn_layer_indices": [9, 18, 27], "attn_rotary_emb": 64, "mamba_d_state": 128,
         "rope_theta": 10000.0, "max_position_embeddings": 262144, "z_loss_coefficient": 0.0)");
  const AttentionConfig& a = m.config.attention;
  EXPECT_EQ(a.head_width, 128);
  EXPECT_EQ(a.rotated, 64);
  EXPECT_EQ(a.scale, static_cast<float>(1 / std::sqrt(128.0)));
  EXPECT_EQ(m.config.blocks.size(), 64U);
  EXPECT_EQ(m.config.blocks[18].parts, std::vector{kAttention});
  EXPECT_EQ(m.config.blocks[19].inner, 14336);
  EXPECT_THAT(m.ignored, testing::ElementsAre("max_position_embeddings", "z_loss_coefficient"));
  EXPECT_EQ(described_as(R"("model_type": "bamba")").config.state, 256);
  EXPECT_EQ(described_as(R"("model_type": "bamba")").config.attention, AttentionConfig());
}

TEST(FamilyConfig, GraniteHasFourFactorsAndRotatesOnlyWhenSaid) {
  const std::string base = R"("model_type": "granitemoehybrid", "hidden_size": 64,
      "mamba_n_heads": 16, "num_attention_heads": 4, "attention_multiplier": 0.0625,
      "embedding_multiplier": 12, "residual_multiplier": 0.22, "logits_scaling": 8,
      "rope_theta": 1e7, "layer_types": ["mamba", "attention"], )";
  const MambaConfig c = described_as(base + R"("num_local_experts": 6)").config;
  EXPECT_EQ(c.attention.scale, 0.0625F);
  EXPECT_EQ(c.attention.key_heads, 4);
  EXPECT_EQ(c.attention.rotated, 0);
  EXPECT_EQ(c.embedding_factor, 12);
  EXPECT_EQ(c.residual_factor, 0.22F);
  EXPECT_EQ(c.logit_factor, 0.125F);
  EXPECT_EQ(c.norm_eps, 1e-6F);
  EXPECT_EQ(c.experts.routing, ExpertsConfig::Routing::softmax_of_chosen);
  EXPECT_EQ(c.experts.inner, 11008);
  EXPECT_EQ(c.experts.shared_inner, 1024);
  EXPECT_THAT(parts_of(c), testing::ElementsAre(kMixer, kExperts, kAttention, kExperts));
  const MambaConfig dense = described_as(base + R"("num_local_experts": 0)").config;
  EXPECT_EQ(dense.experts, ExpertsConfig());
  EXPECT_EQ(dense.blocks[1].inner, 1024);
  EXPECT_EQ(described_as(base + R"("position_embedding_type": "rope")").config.attention.rotated,
            16);
  EXPECT_THAT(problem_of(base + R"("position_embedding_type": "alibi")"), HasSubstr("alibi"));
  EXPECT_THAT(problem_of(base + R"("num_local_experts": -1)"), HasSubstr("number of experts"));
  EXPECT_THAT(problem_of(base + R"("logits_scaling": 0)"), HasSubstr("logits_scaling"));
}

TEST(FamilyConfig, GraniteWithoutAMixerMayHaveMambaKeysThatFitNothing) {
  const std::string attention = R"("model_type": "granitemoehybrid", "hidden_size": 64,
      "num_attention_heads": 4, "mamba_d_head": 40, "mamba_n_heads": 7, "num_local_experts": 0,
      "position_embedding_type": "rope", "rope_theta": 1e7, "layer_types": ["attention", )";
  const ModelDescription only = described_as(attention + R"("attention"])");
  EXPECT_THAT(parts_of(only.config), testing::ElementsAre(kAttention, kMlp, kAttention, kMlp));
  EXPECT_THAT(only.ignored, testing::Contains("mamba_d_head"));
  EXPECT_THAT(problem_of(attention + R"("mamba"])"), HasSubstr("mamba_n_heads"));
}

TEST(FamilyConfig, FalconH1sMultipliersActWhereTheyAreSaidTo) {
  const std::string base = R"("model_type": "falcon_h1", "hidden_size": 64, "mamba_n_heads": 16,
      "num_hidden_layers": 2, "head_dim": 24, "rope_theta": 1e11)";
  const ModelDescription m = described_as(base + R"(, "embedding_multiplier": 5.6,
      "lm_head_multiplier": 0.039, "key_multiplier": 0.39, "attention_in_multiplier": 1.5,
      "attention_out_multiplier": 0.94, "ssm_in_multiplier": 1.25, "ssm_out_multiplier": 0.24,
      "ssm_multipliers": [0.35, 0.25, 0.18, 0.5, 0.3], "mlp_multipliers": [0.88, 0.22])");
  const MambaConfig& c = m.config;
  EXPECT_EQ(c.segment_factors, (std::array<float, 5>{0.35F, 0.25F, 0.18F, 0.5F, 0.3F}));
  EXPECT_EQ(c.attention.in_factor, 1.5F);
  EXPECT_EQ(c.attention.key_factor, 0.39F);
  EXPECT_EQ(c.attention.out_factor, 0.94F);
  EXPECT_EQ(c.in_factor, 1.25F);
  EXPECT_EQ(c.out_factor, 0.24F);
  EXPECT_EQ(c.feed_forward.gate_factor, 0.88F);
  EXPECT_EQ(c.feed_forward.out_factor, 0.22F);
  EXPECT_EQ(c.embedding_factor, 5.6F);
  EXPECT_EQ(c.logit_factor, 0.039F);
  EXPECT_EQ(c.attention.theta, 1e11);
  EXPECT_EQ(c.attention.rotated, 24);
  EXPECT_THAT(m.remarks, testing::ElementsAre(HasSubstr("ssm_multipliers are rounded")));
  EXPECT_EQ(c.blocks.front().parts, (std::vector{kMixer, kAttention}));
  // mamba_d_ssm: 1024 when missing, expand · D when null.
  EXPECT_EQ(c.inner, 1024);
  EXPECT_EQ(described_as(base + R"(, "mamba_d_ssm": null)").config.inner, 128);
  const auto gated = [&](const std::string& keys) {
    return described_as(base + keys).config.gated_norm;
  };
  EXPECT_EQ(gated(""), MambaConfig::GatedNorm::none);
  EXPECT_EQ(gated(R"(, "mamba_rms_norm": true)"), MambaConfig::GatedNorm::norm_first);
  EXPECT_EQ(gated(R"(, "mamba_rms_norm": true, "mamba_norm_before_gate": false)"),
            MambaConfig::GatedNorm::gate_first);
  const MambaConfig biased =
      described_as(base + R"(, "mamba_proj_bias": true, "mlp_bias": true)").config;
  EXPECT_TRUE(biased.in_proj_bias && !biased.out_proj_bias && biased.feed_forward.bias);
  EXPECT_TRUE(described_as(base + R"(, "projectors_bias": true)").config.out_proj_bias);
  EXPECT_THAT(problem_of(base + R"(, "ssm_multipliers": [1, 1])"), HasSubstr("5 factors"));
}

TEST(FamilyConfig, NemotronHIsOneBlockALayer) {
  const std::string base = R"("model_type": "nemotron_h", "hybrid_override_pattern": "M-*E", )";
  const ModelDescription m = described_as(
      base + R"("num_hidden_layers": 52, "expand": 2, "hidden_size": 2688, "mamba_num_heads": 64,
      "attention_bias": true, "rope_theta": 10000, "partial_rotary_factor": 1.0,
      "moe_latent_size": 1024, "n_group": 4, "topk_group": 2, "norm_topk_prob": false,
      "norm_eps": 1e-6, "rms_norm_eps": 1e-6, "sliding_window": null)");
  const MambaConfig& c = m.config;
  EXPECT_EQ(c.layers, 4);
  EXPECT_EQ(c.inner, 4096);
  EXPECT_EQ(c.norm_eps, 1e-6F);
  EXPECT_THAT(parts_of(c), testing::ElementsAre(kMixer, kMlp, kAttention, kExperts));
  EXPECT_EQ(c.blocks[3].layer, 3);
  EXPECT_FALSE(c.blocks[3].second);
  EXPECT_EQ(c.attention.rotated, 0);
  EXPECT_FALSE(c.attention.qkv_bias);
  EXPECT_EQ(c.feed_forward.form, FeedForwardConfig::Form::squared_relu);
  EXPECT_EQ(c.experts.latent, 1024);
  EXPECT_EQ(c.experts.groups, 4);
  EXPECT_EQ(c.experts.kept, 2);
  EXPECT_FALSE(c.experts.normalized);
  EXPECT_EQ(c.experts.routing, ExpertsConfig::Routing::sigmoid);
  EXPECT_THAT(m.ignored, testing::IsSupersetOf({"expand", "rope_theta", "attention_bias",
                                                "num_hidden_layers", "partial_rotary_factor"}));
  EXPECT_EQ(described_as(base + R"("intermediate_size": [0, 48, 0, 0])").config.blocks[1].inner,
            48);
  for (const auto& [keys, named] :
       {std::pair(R"("intermediate_size": [48])", "one for each of 4 layers"),
        {R"("norm_eps": 1e-6, "rms_norm_eps": 1e-5)", "norm_eps"},
        {R"("n_groups": 8, "mamba_n_groups": 4)", "mamba_n_groups"},
        {R"("head_dim": 64, "attention_head_dim": 128)", "attention_head_dim"},
        {R"("use_conv_bias": true, "mamba_conv_bias": false)", "as use_conv_bias says"},
        {R"("mlp_hidden_act": "silu")", "mlp_hidden_act"},
        {R"("sliding_window": 512)", "sliding_window"},
        {R"("layers_block_type": ["mamba"])", "hybrid_override_pattern"},
        {R"("n_routed_experts": 0)", "number of experts"},
        {R"("n_group": 3)", "number of groups"},
        {R"("num_experts_per_tok": 9)", "experts for a token"},
        {R"("n_routed_experts": 8, "n_group": 4, "num_experts_per_tok": 3)", "kept groups"}}) {
    EXPECT_THAT(problem_of(base + keys), HasSubstr(named)) << keys;
  }
  EXPECT_THAT(problem_of(R"("model_type": "nemotron_h")"), HasSubstr("layers_block_type"));
  for (const char* pattern : {"M|M", "Mm", ""}) {
    EXPECT_THAT(problem_of(R"("model_type": "nemotron_h", "hybrid_override_pattern": ")" +
                           std::string(pattern) + "\""),
                HasSubstr("hybrid_override_pattern"))
        << pattern;
  }
}

TEST(FamilyConfig, JambaAlternatesByPeriods) {
  const std::string base =
      R"("model_type": "jamba", "hidden_size": 64, "num_attention_heads": 4,
      "num_key_value_heads": null, )";
  const MambaConfig c = described_as(base + R"("num_hidden_layers": 4, "attn_layer_period": 4,
      "attn_layer_offset": 2, "num_experts": 4, "mamba_dt_rank": 8)")
                            .config;
  EXPECT_THAT(parts_of(c), testing::ElementsAre(kMixer, kMlp, kMixer, kExperts, kAttention, kMlp,
                                                kMixer, kExperts));
  EXPECT_EQ(c.mixer, MixerKind::mamba1);
  EXPECT_EQ(c.inner_norms, MambaConfig::InnerNorms::weighted);
  EXPECT_EQ(c.inner_eps, 1e-6F);
  EXPECT_EQ(c.experts.inner, 14336);
  const MambaConfig dense = described_as(base + R"("num_experts": 1)").config;
  EXPECT_EQ(dense.experts, ExpertsConfig());
  EXPECT_EQ(dense.blocks.size(), 64U);
  for (const auto& [keys, named] :
       {std::pair(R"("attn_layer_period": 0)", "attn_layer_period"),
        {R"("expert_layer_offset": 2)", "expert_layer_offset"},
        {R"("mamba_inner_layernorms": false)", "mamba_inner_layernorms"},
        {R"("num_hidden_layers": 9000000000)", "num_hidden_layers"},
        {R"("layers_block_type": ["mamba", "attention"])", "attn_layer_period"}}) {
    EXPECT_THAT(problem_of(base + keys), HasSubstr(named)) << keys;
  }
}

/// Its share that RoPE turns was computed in doubles, beyond what an integer holds.
TEST(FamilyConfig, SizesThatNoDoubleHoldsAreRefused) {
  for (const char* key : {"head_dim", "num_key_value_heads", "mamba_d_state"}) {
    try {
      described_as(R"("model_type": "falcon_h1", "hidden_size": 16, "vocab_size": 16,
          "intermediate_size": 16, "mamba_n_heads": 4, "mamba_d_ssm": 32, "num_hidden_layers": 1, ")" +
                   std::string(key) + R"(": 9223372036854775746)");
      ADD_FAILURE() << key;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(std::string(key) + ": expected at most 2^53"),
                std::string::npos)
          << error.what();
    }
  }
}

TEST(FamilyConfig, Zamba2CountsTheLayersThatShareABlock) {
  const std::string base = R"("model_type": "zamba2", "hidden_size": 64, "num_attention_heads": 4,
      "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"])";
  const MambaConfig c = described_as(base + R"(, "use_mem_rope": true, "num_mem_blocks": 2,
      "use_shared_attention_adapter": true, "rms_norm_eps": 1e-6, "attention_head_dim": 7)")
                            .config;
  EXPECT_EQ(c.blocks[1].shared, 0);
  EXPECT_EQ(c.blocks[2].shared, -1);
  EXPECT_EQ(c.blocks[3].shared, 1);
  EXPECT_EQ(c.attention.head_width, 32);
  EXPECT_EQ(c.attention.scale, 0.25F);
  EXPECT_EQ(c.attention.rotated, 32);
  EXPECT_EQ(c.attention.key_heads, 4);
  EXPECT_EQ(
      c.shared,
      (SharedConfig{.count = 2, .inner = 256, .adapter_rank = 128, .attention_adapters = true}));
  EXPECT_EQ(c.feed_forward.form, FeedForwardConfig::Form::gelu);
  EXPECT_EQ(c.gated_eps, 1e-5F);
  EXPECT_TRUE(c.tied_head);
  EXPECT_EQ(described_as(base).config.attention.rotated, 0);
  const MambaConfig biased = described_as(base + R"(, "add_bias_linear": true)").config;
  EXPECT_TRUE(biased.in_proj_bias && biased.out_proj_bias && biased.feed_forward.bias);
  for (const auto& [keys, named] : {std::pair(R"("use_long_context": true)", "use_long_context"),
                                    {R"("hidden_act": "gelu_new")", "gelu_new"},
                                    {R"("num_mem_blocks": 3)", "number of shared blocks"},
                                    {R"("lora_rank": 128)", "lora_rank"},
                                    {R"("use_shared_block_lora": true)", "2024"},
                                    {R"("num_hidden_layers": 5)", "num_hidden_layers"}}) {
    EXPECT_THAT(problem_of(base + ", " + keys), HasSubstr(named)) << keys;
  }
}

}  // namespace
}  // namespace scute::config_test
