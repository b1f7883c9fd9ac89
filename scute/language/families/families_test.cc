// Families against what was published: parameters of every size, and golden models' tensors.
#include "scute/language/families/families.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "scute/base/error.h"
#include "scute/io/checkpoint.h"
#include "scute/language/families/test_tensors.h"

namespace scute::families_test {
namespace {

using testing_families::expected_tensors;
using testing_families::TensorShapes;

MambaConfig config_of(const std::string& json) {
  return describe_config(Json::parse("{" + json + "}", "config.json"), "config.json").config;
}

std::string joined_words(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "\"" : ", \"") + word + "\"";
  return "[" + out + "]";
}

/// `layers` words, `other` at the places of `at`.
std::string kinds(int64_t layers, const std::vector<size_t>& at, const char* other = "attention") {
  std::vector<std::string> words(static_cast<size_t>(layers), "mamba");
  for (const size_t layer : at) words[layer] = other;
  return joined_words(words);
}

std::string granite(const std::string& sizes, const std::string& layers) {
  return R"("model_type": "granitemoehybrid", "vocab_size": 100352, "tie_word_embeddings": true,
      "mamba_d_state": 128, "position_embedding_type": "nope", "layer_types": )" +
         layers + ", " + sizes;
}

std::string granite_40(const std::string& sizes) {
  return granite(sizes, kinds(40, {5, 15, 25, 35}));
}

std::string falcon_h1(const std::string& sizes) {
  return R"("model_type": "falcon_h1", "num_key_value_heads": 2, "rope_theta": 1e11, )" + sizes;
}

/// A pattern of so many letters of each kind; their order changes no count.
std::string nemotron(int64_t mixers, int64_t attention, int64_t others, char other,
                     const std::string& sizes) {
  const std::string pattern = std::string(static_cast<size_t>(mixers), 'M') +
                              std::string(static_cast<size_t>(attention), '*') +
                              std::string(static_cast<size_t>(others), other);
  return R"("model_type": "nemotron_h", "hybrid_override_pattern": ")" + pattern + "\", " + sizes;
}

struct Published {
  const char* name;
  std::string config;
  double millions;
};

std::vector<Published> published_pure() {
  return {
      {"falcon-mamba-7b",
       R"("model_type": "falcon_mamba", "hidden_size": 4096, "expand": 16, "intermediate_size": 8192,
          "num_hidden_layers": 64, "time_step_rank": 256, "vocab_size": 65024,
          "tie_word_embeddings": false)",
       7273},
      {"Mamba-Codestral-7B", R"("model_type": "mamba2")", 7285},
      {"mamba2-8b-3t-4k",
       R"("d_model": 4096, "n_layer": 56, "vocab_size": 256000, "tie_embeddings": false,
          "ssm_cfg": {"layer": "Mamba2", "ngroups": 8})",
       8237},
      {"mamba2attn-2.7b",
       R"("d_model": 2560, "n_layer": 64, "vocab_size": 50277, "pad_vocab_size_multiple": 16,
          "d_intermediate": 0, "ssm_cfg": {"layer": "Mamba2"},
          "attn_layer_idx": [9, 18, 27, 36, 45, 56],
          "attn_cfg": {"causal": true, "d_conv": 4, "head_dim": 128, "num_heads": 30,
          "out_proj_bias": false, "qkv_proj_bias": false, "rotary_emb_dim": 64})",
       2698},
  };
}

std::vector<Published> published_bamba_and_granite() {
  return {
      {"Bamba-9B",
       R"("model_type": "bamba", "attn_layer_indices": [9, 18, 27], "attn_rotary_emb": 64,
          "vocab_size": 128256, "mamba_d_state": 128)",
       9780},
      {"granite-4.0-h-350m",
       granite(R"("hidden_size": 768, "mamba_n_heads": 48, "mamba_d_head": 32,
                  "num_attention_heads": 12, "num_key_value_heads": 4, "num_local_experts": 0,
                  "shared_intermediate_size": 2048)",
               kinds(32, {10, 13, 17, 27})),
       340},
      {"granite-4.0-h-1b",
       granite_40(R"("hidden_size": 1536, "mamba_n_heads": 48, "num_attention_heads": 12,
                     "num_key_value_heads": 4, "num_local_experts": 0,
                     "shared_intermediate_size": 4096)"),
       1462},
      {"granite-4.0-h-micro",
       granite_40(R"("hidden_size": 2048, "mamba_n_heads": 64, "num_attention_heads": 32,
                     "num_key_value_heads": 8, "num_local_experts": 0,
                     "shared_intermediate_size": 8192)"),
       3191},
      {"granite-4.0-h-tiny",
       granite_40(R"("hidden_size": 1536, "mamba_n_heads": 48, "num_attention_heads": 12,
                     "num_key_value_heads": 4, "num_local_experts": 64, "num_experts_per_tok": 6,
                     "intermediate_size": 512, "shared_intermediate_size": 1024)"),
       6939},
      {"granite-4.0-h-small",
       granite_40(R"("hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8,
                     "num_local_experts": 72, "num_experts_per_tok": 10, "intermediate_size": 768,
                     "shared_intermediate_size": 1536)"),
       32207},
  };
}

std::vector<Published> published_falcon_h1() {
  return {
      {"Falcon-H1-0.5B",
       falcon_h1(R"("hidden_size": 1024, "num_hidden_layers": 36, "mamba_d_ssm": 1536,
          "mamba_n_heads": 24, "mamba_d_head": 64, "mamba_d_state": 128, "num_attention_heads": 8,
          "head_dim": 64, "intermediate_size": 2048, "vocab_size": 32784)"),
       521},
      {"Falcon-H1-1.5B",
       falcon_h1(R"("hidden_size": 2048, "num_hidden_layers": 24, "mamba_d_ssm": 3072,
          "mamba_n_heads": 48, "mamba_d_head": 64, "num_attention_heads": 8, "head_dim": 128,
          "intermediate_size": 4608, "vocab_size": 65537)"),
       1555},
      {"Falcon-H1-3B",
       falcon_h1(R"("hidden_size": 2560, "num_hidden_layers": 32, "mamba_d_ssm": 4096,
          "mamba_n_heads": 32, "mamba_d_head": 128, "num_attention_heads": 10, "head_dim": 128,
          "intermediate_size": 6144, "vocab_size": 65536)"),
       3149},
      {"Falcon-H1-7B",
       falcon_h1(R"("hidden_size": 3072, "num_hidden_layers": 44, "mamba_d_ssm": 3072,
          "mamba_n_heads": 24, "mamba_d_head": 128, "num_attention_heads": 12, "head_dim": 128,
          "intermediate_size": 12288, "vocab_size": 130048)"),
       7586},
  };
}

std::vector<Published> published_nemotron() {
  return {
      {"Nemotron-H-4B", nemotron(24, 4, 24, '-', R"("hidden_size": 3072, "mamba_num_heads": 112,
           "intermediate_size": 12288)"),
       4489},
      {"Nemotron-H-8B", nemotron(24, 4, 24, '-', R"("attention_head_dim": 128)"), 8101},
      {"Nemotron-H-47B", nemotron(45, 5, 48, '-', R"("hidden_size": 8192, "mamba_num_heads": 256,
           "ssm_state_size": 256, "num_attention_heads": 64, "intermediate_size": 30720)"),
       46792},
      {"Nemotron-Nano-9B-v2", nemotron(27, 4, 25, '-', R"("hidden_size": 4480, "mamba_head_dim": 80,
           "num_attention_heads": 40, "intermediate_size": 15680)"),
       8888},
      {"Nemotron-3-Nano-4B",
       nemotron(21, 4, 17, '-', R"("hidden_size": 3136, "mamba_num_heads": 96, "mamba_head_dim": 80,
           "num_attention_heads": 40, "intermediate_size": 12544)"),
       3974},
      {"Nemotron-3-Nano-30B-A3B",
       nemotron(23, 6, 23, 'E', R"("hidden_size": 2688, "mamba_num_heads": 64, "expand": 2,
           "num_key_value_heads": 2, "n_routed_experts": 128, "num_experts_per_tok": 6,
           "moe_intermediate_size": 1856, "moe_shared_expert_intermediate_size": 3712,
           "routed_scaling_factor": 2.5)"),
       31578},
  };
}

std::vector<Published> published_jamba_and_zamba2() {
  const std::vector<size_t> seven{6, 12, 18, 24, 30, 36, 42, 47, 53, 59, 65, 71, 77};
  return {
      {"Jamba-v0.1", R"("model_type": "jamba")", 51570},
      {"Zamba2-1.2B",
       R"("model_type": "zamba2", "hidden_size": 2048, "n_mamba_heads": 64, "mamba_d_state": 128,
          "use_mem_rope": true, "use_shared_attention_adapter": true, "layers_block_type": )" +
           kinds(38, {5, 11, 17, 23, 29, 35}, "hybrid"),
       1215},
      {"Zamba2-2.7B", R"("model_type": "zamba2", "n_mamba_heads": 80, "num_mem_blocks": 2)", 2662},
      {"Zamba2-7B",
       R"("model_type": "zamba2", "hidden_size": 3584, "n_mamba_heads": 112, "mamba_ngroups": 2,
          "num_mem_blocks": 2, "use_mem_rope": true, "layers_block_type": )" +
           kinds(81, seven, "hybrid"),
       7357},
  };
}

TEST(Families, HaveThePublishedNumbersOfParameters) {
  for (const auto& list : {published_pure(), published_bamba_and_granite(), published_falcon_h1(),
                           published_nemotron(), published_jamba_and_zamba2()}) {
    for (const Published& model : list) {
      const auto count = static_cast<double>(testing_families::parameters(config_of(model.config)));
      EXPECT_NEAR(count / 1e6, model.millions, 0.501) << model.name;
    }
  }
}

TEST(Families, AreInOneTableOnce) {
  std::set<std::string_view> types, readers;
  for (const ModelFamily& family : families()) {
    EXPECT_TRUE(types.insert(family.type).second) << family.type;
    EXPECT_TRUE(readers.insert(family.architecture).second) << family.architecture;
    EXPECT_EQ(find_family(family.type), &family);
    EXPECT_EQ(family.architecture.ends_with("ForCausalLM"), !family.type.empty());
  }
  EXPECT_EQ(find_family("llama"), nullptr);
}

class GoldenFamily : public testing::TestWithParam<const char*> {};

TensorShapes shapes_of(const Weights& weights) {
  TensorShapes out;
  for (const std::string& name : weights.names()) out[name] = weights.at(name).shape();
  return out;
}

TEST_P(GoldenFamily, HasExactlyTheTensorsOfItsConfig) {
  // What all names of a tied model begin with is dropped when the file is read.
  const std::string kStem = "model.";
  const std::string folder = std::string("../shared/golden/families/") + GetParam();
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "SKIPPED: no " << folder;
  const ModelDescription model = describe_model(folder);
  EXPECT_TRUE(model.remarks.empty() || model.remarks.size() == 1U)
      << testing::PrintToString(model.remarks);
  Weights weights = read_weights(model);
  EXPECT_EQ(shapes_of(weights), expected_tensors(model.config));
  // And back: the published names and bytes, but for a copy of the tied head.
  Weights published = weights;
  use_published_names(model, published);
  const Weights stored = read_checkpoint(folder);
  EXPECT_EQ(stored.size(), published.size());
  for (const std::string& name : stored.names()) {
    const std::string there =
        name.starts_with(kStem) || published.contains(name) ? name : kStem + name;
    ASSERT_TRUE(published.contains(there)) << there;
    EXPECT_EQ(stored.at(name).shape(), published.at(there).shape()) << there;
    EXPECT_TRUE(std::ranges::equal(stored.at(name).bytes(), published.at(there).bytes())) << there;
  }
  // Our names stay as they are: what quantize wrote is read by the same way.
  EXPECT_THAT(use_our_names(model, weights), testing::SizeIs(testing::Le(1)));
  EXPECT_EQ(shapes_of(weights), expected_tensors(model.config));
}

INSTANTIATE_TEST_SUITE_P(All, GoldenFamily,
                         testing::Values("bamba", "falcon-h1", "falcon-mamba", "granite-h-dense",
                                         "granite-h-moe", "jamba", "mamba1-bias",
                                         "mamba2-codestral", "nemotron-h-dense", "nemotron-h-moe",
                                         "zamba2"),
                         [](const auto& golden) {
                           std::string name = golden.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace scute::families_test
