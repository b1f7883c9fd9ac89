#include "scute/language/families/tensor_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "scute/base/error.h"
#include "scute/language/families/families.h"
#include "scute/language/families/test_tensors.h"

namespace scute::tensor_names_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// 0, 1, 2, … in the shape.
Tensor counted(const Shape& shape) {
  Tensor out(DType::f32, shape);
  float next = 0;
  for (float& x : out.mutable_values<float>()) x = next++;
  return out;
}

ModelDescription describe(const std::string& keys) {
  return describe_config(Json::parse("{" + keys + "}", "config.json"), "config.json");
}

/// The tensors under the names that a prefix and a table of (ours, published) make of ours.
testing_families::TensorShapes shapes(const Weights& weights) {
  testing_families::TensorShapes out;
  for (const std::string& name : weights.names()) out[name] = weights.at(name).shape();
  return out;
}

TEST(TensorNames, LayersAreNumberedPlainly) {
  EXPECT_EQ(layer_name("backbone.layers.12.mixer.D").layer, 12);
  EXPECT_EQ(layer_name("backbone.layers.12.mixer.D").rest, "mixer.D");
  for (const char* other : {"backbone.layers.12", "backbone.layers.012.x", "backbone.layers.-1.x",
                            "backbone.layers.x.y", "model.layers.1.x", "backbone.layers.",
                            "backbone.layers.99999999999999999999.x"}) {
    EXPECT_EQ(layer_name(other).layer, -1) << other;
  }
}

TEST(TensorNames, RowsAndStacksAreSplitInOrder) {
  Weights weights;
  weights.add("a.weight", counted({4, 2}));
  weights.add("a.bias", counted({4}));
  split_rows(weights, "a", std::array<std::string, 2>{"gate", "up"});
  EXPECT_THAT(weights.names(), ElementsAre("gate.bias", "gate.weight", "up.bias", "up.weight"));
  EXPECT_THAT(to_vector(weights.at("up.weight")), ElementsAre(4, 5, 6, 7));
  EXPECT_THAT(to_vector(weights.at("gate.bias")), ElementsAre(0, 1));
  weights.add("b.weight", counted({4, 1}));
  split_rows(weights, "b", std::array<std::string, 2>{"q", "k"}, std::array<int64_t, 2>{3, 1});
  EXPECT_THAT(to_vector(weights.at("k.weight")), ElementsAre(3));
  weights.add("s.weight", counted({2, 2, 3}));
  split_stack(weights, "s", "experts.", std::array<std::string, 2>{"gate", "up"});
  EXPECT_THAT(to_vector(weights.at("experts.1.gate.weight")), ElementsAre(6, 7, 8));
  split_rows(weights, "none", std::array<std::string, 2>{"x", "y"});
  for (const Shape& shape : {Shape{3, 2}, Shape{0, 2}, Shape{}}) {
    weights.add("c.weight", Tensor(DType::f32, shape));
    EXPECT_THAT(
        [&] {
          split_rows(weights, "c", std::array<std::string, 2>{"x", "y"});
        },
        testing::ThrowsMessage<Error>(HasSubstr("c.weight")))
        << to_string(shape);
  }
  weights.add("d.weight", Tensor(DType::f32, {int64_t{1} << 50, 2, 0}));
  EXPECT_THROW(split_stack(weights, "d", "e.", std::array<std::string, 1>{"x"}), Error);
  weights.add("f.weight", counted({4, 2}));
  EXPECT_THROW(
      split_rows(weights, "f", std::array<std::string, 2>{"x", "y"}, std::array<int64_t, 2>{3, 2}),
      Error);
}

TEST(TensorNames, EqualCopiesAreOneAndOthersAnError) {
  Weights weights;
  weights.add("one", counted({2}));
  weights.add("two", counted({2}));
  weights.add("three", counted({3}));
  rename_copy(weights, "one", "to");
  rename_copy(weights, "two", "to");
  EXPECT_THAT(weights.names(), ElementsAre("three", "to"));
  EXPECT_THAT([&] { rename_copy(weights, "three", "to"); },
              testing::ThrowsMessage<Error>(HasSubstr("other values in three")));
}

TEST(TensorNames, GranitesExpertsAreSplitOnce) {
  const ModelDescription model = describe(
      R"("model_type": "granitemoehybrid", "hidden_size": 2, "num_attention_heads": 1,
         "num_hidden_layers": 1, "layer_types": ["attention"], "num_local_experts": 2,
         "num_experts_per_tok": 1)");
  Weights weights;
  weights.add("model.layers.0.block_sparse_moe.input_linear.weight", counted({2, 2, 2}));
  weights.add("model.layers.0.block_sparse_moe.output_linear.weight", counted({2, 2, 1}));
  weights.add("model.layers.0.shared_mlp.input_linear.weight", counted({4, 1}));
  Weights again = weights;
  use_our_names(model, weights);
  const std::string mlp = "backbone.layers.0.mlp.";
  EXPECT_THAT(to_vector(weights.at(mlp + "experts.1.gate_proj.weight")), ElementsAre(4, 5));
  EXPECT_THAT(to_vector(weights.at(mlp + "experts.0.up_proj.weight")), ElementsAre(2, 3));
  EXPECT_THAT(to_vector(weights.at(mlp + "experts.1.down_proj.weight")), ElementsAre(2, 3));
  EXPECT_THAT(to_vector(weights.at(mlp + "shared.up_proj.weight")), ElementsAre(2, 3));
  again.add("model.layers.0.mlp.experts.1.up_proj.weight", counted({1, 2}));
  EXPECT_THAT([&] { use_our_names(model, again); },
              testing::ThrowsMessage<Error>(HasSubstr("experts.1.up_proj.weight\" twice")));
}

/// As mamba_ssm writes a layer of attention and one of Mamba-2, each with an MLP.
TEST(TensorNames, StateSpacesAttentionAndMlpsAreSplit) {
  const ModelDescription model = describe(
      R"("d_model": 64, "n_layer": 2, "vocab_size": 8, "ssm_cfg": {"layer": "Mamba2"},
         "attn_layer_idx": [1], "d_intermediate": 128, "attn_cfg": {"causal": true, "num_heads": 4,
         "num_heads_kv": 2, "d_conv": 4})");
  auto wanted = testing_families::expected_tensors(model.config);
  Weights weights;
  for (const auto& [name, shape] : wanted) {
    if (name.find("mlp.") != name.npos || name.find("attention.") != name.npos) continue;
    weights.add(name, Tensor(DType::f32, shape));
  }
  for (const char* layer : {"backbone.layers.0.", "backbone.layers.1."}) {
    weights.add(std::string(layer) + "mlp.fc1.weight", counted({256, 64}));
    weights.add(std::string(layer) + "mlp.fc2.weight", Tensor(DType::f32, {64, 128}));
  }
  const std::string mixer = "backbone.layers.1.mixer.";
  weights.add(mixer + "in_proj.weight", counted({128, 64}));
  weights.add(mixer + "in_proj.bias", counted({128}));
  weights.add(mixer + "conv1d.weight", Tensor(DType::f32, {128, 1, 4}));
  weights.add(mixer + "conv1d.bias", Tensor(DType::f32, {128}));
  weights.add(mixer + "out_proj.weight", Tensor(DType::f32, {64, 64}));
  weights.add(mixer + "out_proj.bias", Tensor(DType::f32, {64}));
  const auto published = shapes(weights);
  EXPECT_TRUE(use_our_names(model, weights).empty());
  EXPECT_EQ(shapes(weights), wanted);
  Weights back = weights;
  use_published_names(model, back);
  EXPECT_EQ(shapes(back), published);
  EXPECT_THAT(to_vector(back.at(mixer + "in_proj.bias")),
              testing::ElementsAreArray(to_vector(counted({128}))));
  EXPECT_EQ(to_vector(weights.at("backbone.layers.1.attention.k_proj.bias")).front(), 64);
  EXPECT_EQ(to_vector(weights.at("backbone.layers.1.attention.v_proj.bias")).front(), 96);
  // [up; gate]
  EXPECT_EQ(to_vector(weights.at("backbone.layers.0.mlp.up_proj.weight")).front(), 0);
  EXPECT_EQ(to_vector(weights.at("backbone.layers.0.mlp.gate_proj.weight")).front(), 128 * 64);
}

/// Our names as Bamba's are published, behind another beginning.
Weights bamba_weights(const MambaConfig& config, const std::string& stem) {
  Weights weights;
  for (const auto& [name, shape] : testing_families::expected_tensors(config)) {
    std::string to = name;
    for (const auto& [ours, published] : std::initializer_list<std::pair<const char*, const char*>>{
             {"backbone.embedding.", "backbone.embed_tokens."},
             {"backbone.norm_f.", "backbone.final_layernorm."},
             {".norm.weight", ".input_layernorm.weight"},
             {".norm2.", ".pre_ff_layernorm."},
             {".mixer.input_layernorm.", ".mamba.norm."},
             {".mixer.", ".mamba."},
             {".attention.", ".self_attn."},
             {".mlp.", ".feed_forward."},
             {"backbone.", stem.c_str()}}) {
      const size_t at = to.find(ours);
      if (at != to.npos) to.replace(at, std::string(ours).size(), published);
    }
    weights.add(to, Tensor(DType::f32, shape));
  }
  return weights;
}

TEST(TensorNames, NewFamiliesMayBeginWithSomethingElseToo) {
  const ModelDescription model = describe(
      R"("model_type": "bamba", "hidden_size": 64, "num_attention_heads": 4, "mamba_n_heads": 16,
         "attn_layer_indices": [1], "num_hidden_layers": 2, "intermediate_size": 96,
         "num_key_value_heads": 2, "vocab_size": 16)");
  for (const auto& [stem, remarks] :
       std::initializer_list<std::pair<const char*, size_t>>{{"model.", 0},
                                                             {"", 0},
                                                             {"backbone.", 0},
                                                             {"net.model.", 1},
                                                             {"language_model.model.", 1}}) {
    Weights weights = bamba_weights(model.config, stem);
    EXPECT_EQ(use_our_names(model, weights).size(), remarks) << stem;
    EXPECT_EQ(shapes(weights), testing_families::expected_tensors(model.config)) << stem;
  }
}

TEST(TensorNames, JambasFirstReleasesWroteMoe) {
  const ModelDescription model = describe(
      R"("model_type": "jamba", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2,
         "num_experts": 2, "intermediate_size": 96)");
  Weights weights;
  const std::string layer = "model.layers.";
  for (const char* name : {"0.moe.experts.0.up_proj.weight", "1.moe.experts.0.up_proj.weight",
                           "1.moe.experts.1.up_proj.weight", "1.moe.router.weight"}) {
    weights.add(layer + name, Tensor(DType::f32, {1}));
  }
  use_our_names(model, weights);
  EXPECT_THAT(weights.names(), ElementsAre("backbone.layers.0.mlp.up_proj.weight",
                                           "backbone.layers.1.mlp.experts.0.up_proj.weight",
                                           "backbone.layers.1.mlp.experts.1.up_proj.weight",
                                           "backbone.layers.1.mlp.router.weight"));
}

TEST(TensorNames, NemotronsFurtherPredictorsAreLeftOutAndSaid) {
  const ModelDescription model =
      describe(R"("model_type": "nemotron_h", "hybrid_override_pattern": "*E")");
  Weights weights;
  for (const char* name : {"backbone.layers.0.mixer.q_proj.weight",
                           "backbone.layers.1.mixer.gate.e_score_correction_bias",
                           "backbone.layers.1.mixer.fc1_latent_proj.weight",
                           "backbone.layers.1.mixer.shared_experts.up_proj.weight",
                           "mtp.layers.0.mixer.q_proj.weight"}) {
    weights.add(name, Tensor(DType::f32, {1}));
  }
  EXPECT_THAT(use_our_names(model, weights), ElementsAre(HasSubstr("mtp.")));
  EXPECT_THAT(weights.names(), ElementsAre("backbone.layers.0.attention.q_proj.weight",
                                           "backbone.layers.1.mlp.latent_in.weight",
                                           "backbone.layers.1.mlp.router.correction_bias",
                                           "backbone.layers.1.mlp.shared.up_proj.weight"));
}

TEST(TensorNames, Zamba2sSharedBlocksAreFoundFromEveryLayer) {
  const ModelDescription model = describe(
      R"("model_type": "zamba2", "hidden_size": 64, "num_mem_blocks": 2, "num_attention_heads": 4,
         "use_shared_attention_adapter": true,
         "layers_block_type": ["hybrid", "mamba", "hybrid", "hybrid", "hybrid"])");
  Weights weights;
  const auto add = [&](int layer, const std::string& rest, const Tensor& tensor) {
    weights.add(fmt::format("model.layers.{}.shared_transformer.{}", layer, rest), tensor);
  };
  add(0, "input_layernorm.weight", counted({2}));
  add(3, "input_layernorm.weight", counted({2}));  // block 0 again
  add(2, "input_layernorm.weight", counted({3}));  // block 1
  add(0, "feed_forward.gate_up_proj.weight", counted({4, 1}));
  add(0, "self_attn.linear_k_adapter_list.2.0.weight", counted({1}));
  add(0, "feed_forward.gate_up_proj_adapter_list.0.1.weight", counted({4, 1}));
  add(2, "feed_forward.gate_up_proj_adapter_list.3.0.weight", counted({1}));
  add(2, "feed_forward.gate_up_proj_adapter_list.4.0.weight", counted({1}));  // of no layer
  use_our_names(model, weights);
  EXPECT_THAT(
      weights.names(),
      ElementsAre(
          "backbone.layers.0.adapter.gate.up.weight", "backbone.layers.0.adapter.up.up.weight",
          "backbone.layers.2.shared_transformer.feed_forward."
          "gate_up_proj_adapter_list.4.0.weight",
          "backbone.layers.3.adapter.k.down.weight", "backbone.layers.4.adapter.mlp.down.weight",
          "backbone.shared.0.mlp.gate_proj.weight", "backbone.shared.0.mlp.up_proj.weight",
          "backbone.shared.0.norm.weight", "backbone.shared.1.norm.weight"));
  EXPECT_THAT(to_vector(weights.at("backbone.shared.0.mlp.up_proj.weight")), ElementsAre(2, 3));
  weights.add("backbone.layers.3.shared_transformer.input_layernorm.weight",
              Tensor(DType::f32, {2}));
  EXPECT_THAT([&] { use_our_names(model, weights); },
              testing::ThrowsMessage<Error>(HasSubstr("backbone.shared.0.norm.weight")));
}

}  // namespace
}  // namespace scute::tensor_names_test
