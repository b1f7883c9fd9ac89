#include "scute/language/published_configs.h"

#include <initializer_list>
#include <vector>

namespace scute {
namespace {

/// A JSON list of `count` words: `usual`, and `other` at these places.
std::string words(int count, std::string_view usual, std::string_view other,
                  std::initializer_list<int> places) {
  std::string out = "[";
  for (int i = 0; i < count; ++i) {
    bool there = false;
    for (const int place : places) there |= place == i;
    out += (i == 0 ? "\"" : ", \"") + std::string(there ? other : usual) + "\"";
  }
  return out + "]";
}

std::vector<PublishedConfig> make_configs() {
  return {
      {"falcon-mamba-7b",
       R"({"model_type": "falcon_mamba", "hidden_size": 4096, "intermediate_size": 8192,
      "expand": 16, "num_hidden_layers": 64, "state_size": 16, "time_step_rank": 256,
      "vocab_size": 65024, "tie_word_embeddings": false})",
       ""},
      {"codestral-mamba-7b",
       R"({"model_type": "mamba2", "hidden_size": 4096, "num_hidden_layers": 64,
      "num_heads": 128, "head_dim": 64, "n_groups": 8, "state_size": 128, "expand": 2,
      "vocab_size": 32768, "tie_word_embeddings": false})",
       ""},
      {"bamba-9b", R"({"model_type": "bamba", "hidden_size": 4096, "intermediate_size": 14336,
      "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
      "attn_layer_indices": [9, 18, 27], "mamba_n_heads": 128, "mamba_d_head": 64,
      "mamba_n_groups": 1, "mamba_d_state": 128, "mamba_expand": 2, "vocab_size": 128256,
      "tie_word_embeddings": false})",
       ""},
      {"granite-4.0-h-350m",
       R"({"model_type": "granitemoehybrid", "hidden_size": 768, "num_hidden_layers": 32,
      "num_attention_heads": 12, "num_key_value_heads": 4, "mamba_n_heads": 48,
      "mamba_d_head": 32, "mamba_d_state": 128, "mamba_n_groups": 1, "mamba_expand": 2,
      "shared_intermediate_size": 2048, "num_local_experts": 0,
      "embedding_multiplier": 12, "residual_multiplier": 0.246, "logits_scaling": 3,
      "attention_multiplier": 0.015625, "position_embedding_type": "nope",
      "rms_norm_eps": 1e-05, "tie_word_embeddings": true, "vocab_size": 100352,
      "layer_types": )" +
           words(32, "mamba", "attention", {10, 13, 17, 27}) + "}",
       ""},
      {"granite-4.0-h-1b",
       R"({"model_type": "granitemoehybrid", "hidden_size": 1536, "num_hidden_layers": 40,
      "num_attention_heads": 12, "num_key_value_heads": 4, "mamba_n_heads": 48,
      "mamba_d_head": 64, "mamba_d_state": 128, "mamba_n_groups": 1, "mamba_expand": 2,
      "shared_intermediate_size": 4096, "num_local_experts": 0,
      "embedding_multiplier": 12, "residual_multiplier": 0.22, "logits_scaling": 6,
      "attention_multiplier": 0.0078125, "position_embedding_type": "nope",
      "rms_norm_eps": 1e-05, "tie_word_embeddings": true, "vocab_size": 100352,
      "layer_types": )" +
           words(40, "mamba", "attention", {5, 15, 25, 35}) + "}",
       ""},
      {"granite-4.0-h-micro",
       R"({"model_type": "granitemoehybrid", "hidden_size": 2048, "num_hidden_layers": 40,
      "num_attention_heads": 32, "num_key_value_heads": 8, "mamba_n_heads": 64,
      "mamba_d_head": 64, "mamba_d_state": 128, "mamba_n_groups": 1, "mamba_expand": 2,
      "shared_intermediate_size": 8192, "num_local_experts": 0,
      "embedding_multiplier": 12, "residual_multiplier": 0.22, "logits_scaling": 8,
      "attention_multiplier": 0.015625, "position_embedding_type": "nope",
      "rms_norm_eps": 1e-05, "tie_word_embeddings": true, "vocab_size": 100352,
      "layer_types": )" +
           words(40, "mamba", "attention", {5, 15, 25, 35}) + "}",
       ""},
      {"granite-4.0-h-tiny",
       R"({"model_type": "granitemoehybrid", "hidden_size": 1536, "num_hidden_layers": 40,
      "num_attention_heads": 12, "num_key_value_heads": 4, "mamba_n_heads": 48,
      "mamba_d_head": 64, "mamba_d_state": 128, "mamba_n_groups": 1, "mamba_expand": 2,
      "shared_intermediate_size": 1024, "num_local_experts": 64,
      "embedding_multiplier": 12, "residual_multiplier": 0.22, "logits_scaling": 6,
      "attention_multiplier": 0.0078125, "position_embedding_type": "nope",
      "rms_norm_eps": 1e-05, "tie_word_embeddings": true, "vocab_size": 100352,
      "num_experts_per_tok": 6, "intermediate_size": 512,
      "layer_types": )" +
           words(40, "mamba", "attention", {5, 15, 25, 35}) + "}",
       ""},
      {"falcon-h1-0.5b",
       R"({"model_type": "falcon_h1", "hidden_size": 1024, "num_hidden_layers": 36,
      "mamba_n_heads": 24, "mamba_d_head": 64, "mamba_d_ssm": 1536, "mamba_d_state": 128,
      "mamba_n_groups": 1, "num_attention_heads": 8, "num_key_value_heads": 2,
      "head_dim": 64, "intermediate_size": 2048, "vocab_size": 32784,
      "rope_theta": 100000000000.0, "tie_word_embeddings": false,
      "mamba_rms_norm": false, "embedding_multiplier": 5.656854249492381,
      "lm_head_multiplier": 0.0390625, "key_multiplier": 0.39062499999999994,
      "attention_in_multiplier": 1.0, "attention_out_multiplier": 0.9375,
      "ssm_in_multiplier": 1.25, "ssm_out_multiplier": 0.23570226039551587,
      "ssm_multipliers": [0.3535533905932738, 0.25, 0.3535533905932738, 0.5, 0.3535533905932738],
      "mlp_multipliers": [0.8838834764831844, 0.5859375]})",
       ""},
      {"falcon-h1-1.5b",
       R"({"model_type": "falcon_h1", "hidden_size": 2048, "num_hidden_layers": 24,
      "mamba_n_heads": 48, "mamba_d_head": 64, "mamba_d_ssm": 3072, "mamba_d_state": 256,
      "mamba_n_groups": 1, "num_attention_heads": 8, "num_key_value_heads": 2,
      "head_dim": 128, "intermediate_size": 4608, "vocab_size": 65537,
      "rope_theta": 100000000000.0, "tie_word_embeddings": false,
      "mamba_rms_norm": false, "embedding_multiplier": 5.656854249492381,
      "lm_head_multiplier": 0.0390625, "key_multiplier": 0.39062499999999994,
      "attention_in_multiplier": 1.0, "attention_out_multiplier": 0.9375,
      "ssm_in_multiplier": 1.25, "ssm_out_multiplier": 0.23570226039551587,
      "ssm_multipliers": [0.3535533905932738, 0.25, 0.3535533905932738, 0.5, 0.3535533905932738],
      "mlp_multipliers": [0.8838834764831844, 0.5859375]})",
       "its multipliers are those of 0.5B"},
      {"nemotron-h-4b", R"({"model_type": "nemotron_h", "hidden_size": 3072,
      "hybrid_override_pattern": "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-",
      "mamba_num_heads": 112, "mamba_head_dim": 64, "n_groups": 8, "ssm_state_size": 128,
      "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
      "intermediate_size": 12288, "vocab_size": 131072, "tie_word_embeddings": false})",
       ""},
      {"nemotron-h-8b", R"({"model_type": "nemotron_h", "hidden_size": 4096,
      "hybrid_override_pattern": "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-",
      "mamba_num_heads": 128, "mamba_head_dim": 64, "n_groups": 8, "ssm_state_size": 128,
      "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
      "intermediate_size": 21504, "vocab_size": 131072, "tie_word_embeddings": false})",
       ""},
      {"nemotron-3-nano-4b", R"({"model_type": "nemotron_h", "hidden_size": 3136,
      "hybrid_override_pattern": "M-M-M-MM-M-M*-M-M*-M-M-M*-M-M-MM*-MMM-M-M-",
      "mamba_num_heads": 96, "mamba_head_dim": 80, "n_groups": 8, "ssm_state_size": 128,
      "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128,
      "intermediate_size": 12544, "vocab_size": 131072, "tie_word_embeddings": false})",
       ""},
      {"zamba2-1.2b",
       R"({"model_type": "zamba2", "hidden_size": 2048, "num_hidden_layers": 38,
      "intermediate_size": 8192, "n_mamba_heads": 64, "mamba_ngroups": 1,
      "mamba_d_state": 128, "mamba_expand": 2, "num_attention_heads": 32,
      "num_key_value_heads": 32, "num_mem_blocks": 1, "adapter_rank": 128,
      "use_shared_attention_adapter": true, "use_mem_rope": true, "vocab_size": 32000,
      "tie_word_embeddings": true,
      "layers_block_type": )" +
           words(38, "mamba", "hybrid", {5, 11, 17, 23, 29, 35}) + "}",
       ""},
      {"jamba-tiny", R"({"model_type": "jamba", "hidden_size": 128, "num_hidden_layers": 8,
      "intermediate_size": 14336, "num_attention_heads": 2, "num_key_value_heads": 1,
      "num_experts": 4, "num_experts_per_tok": 2, "attn_layer_period": 4,
      "attn_layer_offset": 2, "expert_layer_period": 2, "expert_layer_offset": 1,
      "mamba_dt_rank": 8, "vocab_size": 65536, "tie_word_embeddings": false})",
       ""},
  };
}

}  // namespace

std::span<const PublishedConfig> published_configs() {
  static const std::vector<PublishedConfig> all = make_configs();
  return all;
}

}  // namespace scute
