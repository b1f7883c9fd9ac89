#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>

#include "scute/language/export.h"
#include "scute/language/gguf/export.h"
#include "scute/language/gguf/test_gguf.h"
#include "scute/language/test_hybrid_models.h"
#include "scute/quantize/block_codes.h"

namespace scute::gguf_test {
namespace {

using fixtures::Folder;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing_gguf::read_gguf;
using testing_gguf::ReadFile;
using testing_models::hybrid_model;

/// small_hybrids() by name, without what GGUF has no place for.
MambaConfig hybrid(const std::string& name) {
  for (auto& [one, config] : test::small_hybrids()) {
    if (one != name) continue;
    config.in_proj_bias = config.out_proj_bias = false;
    return config;
  }
  fail(name, "a small hybrid", "none");
}
ModelDescription of_family(const std::string& family, const MambaConfig& config) {
  ModelDescription out = hybrid_model(config);
  out.family = family;
  return out;
}
MambaConfig plain_mamba(MixerKind mixer) {
  MambaConfig config = named_config(mixer == MixerKind::mamba1 ? "mamba-tiny" : "mamba2-tiny");
  config.tied_head = false;
  return config;
}

class Gguf : public testing::Test {
 protected:
  ReadFile written(const ModelDescription& model, GgufType type = GgufType::f32) {
    answer_ = write_gguf(model, type, folder_.path("a.gguf"));
    return read_gguf(folder_.path("a.gguf"));
  }
  std::string problem(const std::string& family, const MambaConfig& config) {
    try {
      written(of_family(family, config));
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  Folder folder_;
  GgufExport answer_;
};

/// The model's own tensor, as floats.
std::vector<float> own(const ModelDescription& model, const std::string& name) {
  for (const DeferredTensor& one : float_tensors(model, DType::f32).tensors) {
    if (one.name == name) return to_vector(one.make());
  }
  fail(name, "a tensor of the model", "none");
}
std::vector<float> mapped(std::vector<float> values, const std::function<double(double)>& f) {
  for (float& x : values) x = static_cast<float>(f(x));
  return values;
}
std::vector<float> scaled(std::vector<float> values, float factor) {
  for (float& x : values) x *= factor;
  return values;
}

TEST_F(Gguf, OfMambaHasEveryTensor) {
  const ModelDescription model = of_family("", plain_mamba(MixerKind::mamba1));
  const ReadFile file = written(model);
  EXPECT_EQ(answer_.architecture, "mamba");
  EXPECT_EQ(answer_.tensors, 3 + 2 * 10);
  EXPECT_EQ(file.tensors.size(), 23U);
  const std::string layer = "backbone.layers.1.";
  for (const auto& [theirs, ours] : std::initializer_list<std::pair<std::string, std::string>>{
           {"token_embd.weight", "backbone.embedding.weight"},
           {"output.weight", "lm_head.weight"},
           {"output_norm.weight", "backbone.norm_f.weight"},
           {"blk.1.attn_norm.weight", layer + "norm.weight"},
           {"blk.1.ssm_in.weight", layer + "mixer.in_proj.weight"},
           {"blk.1.ssm_conv1d.weight", layer + "mixer.conv1d.weight"},
           {"blk.1.ssm_conv1d.bias", layer + "mixer.conv1d.bias"},
           {"blk.1.ssm_x.weight", layer + "mixer.x_proj.weight"},
           {"blk.1.ssm_dt.weight", layer + "mixer.dt_proj.weight"},
           {"blk.1.ssm_dt.bias", layer + "mixer.dt_proj.bias"},
           {"blk.1.ssm_d", layer + "mixer.D"},
           {"blk.1.ssm_out.weight", layer + "mixer.out_proj.weight"}}) {
    ASSERT_TRUE(file.tensors.contains(theirs)) << theirs;
    EXPECT_EQ(file.tensors.at(theirs).floats(), own(model, ours)) << theirs;
  }
  EXPECT_EQ(file.tensors.at("blk.1.ssm_a").floats(),
            mapped(own(model, layer + "mixer.A_log"), [](double x) { return -std::exp(x); }));
  EXPECT_THAT(file.tensors.at("blk.1.ssm_conv1d.weight").shape, ElementsAre(128, 4));
  EXPECT_EQ(file.key<uint32_t>("mamba.ssm.time_step_rank"), 4U);
  EXPECT_EQ(file.key<bool>("mamba.ssm.dt_b_c_rms"), false);
  EXPECT_EQ(file.key<uint32_t>("mamba.attention.head_count"), 0U);
  EXPECT_EQ(file.key<std::string>("tokenizer.ggml.model"), "no_vocab");
  EXPECT_EQ(file.key<uint32_t>("mamba.vocab_size"), 256U);
}

TEST_F(Gguf, ConvolutionsWithoutBiasGetZeros) {
  MambaConfig config = plain_mamba(MixerKind::mamba2);
  config.conv_bias = false;
  const ReadFile file = written(of_family("mamba2", config));
  EXPECT_EQ(file.tensors.at("blk.1.ssm_conv1d.bias").floats(),
            std::vector<float>(static_cast<size_t>(config.conv_channels()), 0.0F));
  EXPECT_EQ(file.key<uint32_t>("mamba2.ssm.time_step_rank"), 2U) << "heads";
  EXPECT_EQ(file.key<uint32_t>("mamba2.ssm.group_count"), 1U);
  EXPECT_THAT(file.tensors.at("blk.0.ssm_a").shape, ElementsAre(2, 1));
  EXPECT_THAT(file.tensors.at("blk.0.ssm_norm.weight").shape, ElementsAre(1, 128));
}

TEST_F(Gguf, MatricesAreBlocksAndTheRestStaysFloat) {
  const ModelDescription model = of_family("", plain_mamba(MixerKind::mamba1));
  for (const auto& [type, rounded, block] :
       {std::tuple(GgufType::q8_0, &round_to_q8_0, kBytesOfQ8),
        std::tuple(GgufType::q4_0, &round_to_q4_0, kBytesOfQ4)}) {
    const ReadFile file = written(model, type);
    EXPECT_EQ(answer_.kept, 2) << "dt_proj's rows of 4";
    for (const auto& [theirs, ours] : std::initializer_list<std::pair<std::string, std::string>>{
             {"token_embd.weight", "backbone.embedding.weight"},
             {"blk.0.ssm_x.weight", "backbone.layers.0.mixer.x_proj.weight"}}) {
      const std::vector<float> values = own(model, ours);
      std::string bytes(values.size() / 32 * block, '\0');
      rounded(values, std::as_writable_bytes(std::span(bytes)));
      EXPECT_EQ(file.tensors.at(theirs).type, static_cast<uint32_t>(type));
      EXPECT_EQ(file.tensors.at(theirs).bytes, bytes) << theirs;
    }
    for (const char* name : {"blk.0.ssm_a", "blk.0.ssm_d", "blk.0.ssm_conv1d.weight",
                             "blk.0.ssm_dt.weight", "blk.0.attn_norm.weight"}) {
      EXPECT_EQ(file.tensors.at(name).type, 0U) << name;
    }
    EXPECT_EQ(file.key<uint32_t>("general.quantization_version"), 2U);
  }
  const ReadFile file = written(model, GgufType::bf16);
  EXPECT_EQ(answer_.kept, 0);
  EXPECT_EQ(file.tensors.at("blk.0.ssm_dt.weight").type, 30U);
  const bf16 first = to_bf16(own(model, "backbone.layers.0.mixer.dt_proj.weight")[0]);
  EXPECT_EQ(std::memcmp(file.tensors.at("blk.0.ssm_dt.weight").bytes.data(), &first, 2), 0);
}

TEST_F(Gguf, OfLowBitModelsHoldsTheDequantizedWeights) {
  QuantizeOptions options;
  options.format = {4, 16};
  options.head = options.embedding = true;
  const ModelDescription float_model = testing_models::make_model(
      folder_.path("float"), MixerKind::mamba2, testing_models::Dialect::state_spaces);
  write_low_bit(quantize(float_model, {}, nullptr, nullptr, options), folder_.path("low"), false);
  const ModelDescription low = describe_model(folder_.path("low"));
  ASSERT_TRUE(low.scheme.rotated_out_proj);
  const ReadFile file = written(low);
  const PlainModel plain = dequantized(low, DType::f32);
  const auto found = std::ranges::find(plain.tensors, "backbone.layers.1.mixer.out_proj.weight",
                                       &NamedTensor::name);
  EXPECT_EQ(file.tensors.at("blk.1.ssm_out.weight").floats(), to_vector(found->tensor));
  EXPECT_NE(file.tensors.at("blk.1.ssm_out.weight").floats(),
            own(float_model, "backbone.layers.1.mixer.out_proj.weight"));
}

TEST_F(Gguf, FalconMambasEpsilonGoesIntoXProj) {
  MambaConfig config = plain_mamba(MixerKind::mamba1);
  config.inner_norms = MambaConfig::InnerNorms::plain;
  const ModelDescription model = of_family("falcon_mamba", config);
  const ReadFile file = written(model);
  EXPECT_EQ(file.key<bool>("mamba.ssm.dt_b_c_rms"), true);
  EXPECT_EQ(file.tensors.at("blk.0.ssm_x.weight").floats(),
            scaled(own(model, "backbone.layers.0.mixer.x_proj.weight"), std::sqrt(10.0F)));
  EXPECT_THAT(answer_.remarks, Contains(HasSubstr("epsilon of their own, 1e-06")));
  config.inner_eps = config.norm_eps;
  EXPECT_EQ(written(of_family("falcon_mamba", config)).tensors.at("blk.0.ssm_x.weight").floats(),
            own(model, "backbone.layers.0.mixer.x_proj.weight"));
}

TEST_F(Gguf, GraniteKeepsFactorsAsKeysAndStacksExperts) {
  const MambaConfig config = hybrid("granite");
  const ModelDescription model = of_family("granitemoehybrid", config);
  const ReadFile file = written(model);
  EXPECT_EQ(answer_.architecture, "granitehybrid");
  EXPECT_THAT(file.key<std::vector<int32_t>>("granitehybrid.attention.head_count_kv"),
              ElementsAre(0, 2, 0));
  EXPECT_EQ(file.key<float>("granitehybrid.embedding_scale"), 12.0F);
  EXPECT_EQ(file.key<float>("granitehybrid.residual_scale"), 0.22F);
  EXPECT_EQ(file.key<float>("granitehybrid.logit_scale"), 8.0F);
  EXPECT_EQ(file.key<float>("granitehybrid.attention.scale"), config.attention.scale);
  EXPECT_EQ(file.key<bool>("granitehybrid.rope.scaling.finetuned"), false);
  EXPECT_EQ(file.key<uint32_t>("granitehybrid.expert_count"), 6U);
  EXPECT_EQ(file.key<uint32_t>("granitehybrid.expert_used_count"), 2U);
  EXPECT_EQ(file.key<uint32_t>("granitehybrid.feed_forward_length"), 24U);
  EXPECT_EQ(file.key<uint32_t>("granitehybrid.expert_shared_feed_forward_length"), 40U);
  EXPECT_EQ(file.tensors.at("token_embd.weight").floats(), own(model, "backbone.embedding.weight"));
  const auto& stack = file.tensors.at("blk.2.ffn_up_exps.weight");
  ASSERT_THAT(stack.shape, ElementsAre(6, 24, 32));
  std::vector<float> all;
  for (int e = 0; e < 6; ++e) {
    const auto one = own(model, fmt::format("backbone.layers.2.mlp.experts.{}.up_proj.weight", e));
    all.insert(all.end(), one.begin(), one.end());
  }
  EXPECT_EQ(stack.floats(), all);
  EXPECT_TRUE(file.tensors.contains("blk.2.ffn_down_shexp.weight"));
  EXPECT_TRUE(file.tensors.contains("blk.2.ffn_norm.weight"));
  const ReadFile coded = written(model, GgufType::q8_0);
  EXPECT_EQ(coded.tensors.at("blk.2.ffn_gate_inp.weight").type, 0U) << "routers stay floats";
}

TEST_F(Gguf, BambasHeadsTurnPairsSideBySide) {
  const ModelDescription model = of_family("bamba", hybrid("bamba"));
  const ReadFile file = written(model);
  EXPECT_EQ(file.key<uint32_t>("granitehybrid.rope.dimension_count"), 4U);
  EXPECT_EQ(file.key<bool>("granitehybrid.rope.scaling.finetuned"), true);
  // Heads of 8, of which 4 dimensions are turned: 0 with 2, 1 with 3.
  const int order[] = {0, 2, 1, 3, 4, 5, 6, 7};
  for (const auto& [theirs, ours, rows] :
       {std::tuple("blk.1.attn_q", "q_proj", 32), std::tuple("blk.1.attn_k", "k_proj", 16)}) {
    const std::string name = fmt::format("backbone.layers.1.attention.{}", ours);
    const auto from = own(model, name + ".weight"), bias = own(model, name + ".bias");
    const auto to = file.tensors.at(fmt::format("{}.weight", theirs)).floats();
    const auto to_bias = file.tensors.at(fmt::format("{}.bias", theirs)).floats();
    for (int i = 0; i < rows; ++i) {
      const int row = i / 8 * 8 + order[i % 8];
      EXPECT_EQ(to_bias[static_cast<size_t>(i)], bias[static_cast<size_t>(row)]) << ours << i;
      for (int j = 0; j < 32; ++j) {
        ASSERT_EQ(to[static_cast<size_t>(i * 32 + j)], from[static_cast<size_t>(row * 32 + j)]);
      }
    }
  }
  EXPECT_EQ(file.tensors.at("blk.1.attn_v.weight").floats(),
            own(model, "backbone.layers.1.attention.v_proj.weight"));
}

TEST_F(Gguf, FalconH1sFactorsGoIntoItsMatrices) {
  MambaConfig config = hybrid("falcon_h1");
  config.attention.in_factor = 0.7F;
  config.embedding_factor = 5.5F;
  config.logit_factor = 0.04F;
  const ModelDescription model = of_family("falcon_h1", config);
  const ReadFile file = written(model);
  const std::string layer = "backbone.layers.0.";
  for (const auto& [theirs, ours, factor] :
       {std::tuple("token_embd.weight", "backbone.embedding.weight", 5.5F),
        std::tuple("output.weight", "backbone.embedding.weight", 0.04F),
        std::tuple("blk.0.attn_q.weight", "backbone.layers.0.attention.q_proj.weight", 0.7F),
        std::tuple("blk.0.attn_k.weight", "backbone.layers.0.attention.k_proj.weight",
                   0.7F * 0.39F),
        std::tuple("blk.0.attn_output.weight", "backbone.layers.0.attention.o_proj.weight", 0.94F),
        std::tuple("blk.0.ffn_gate.weight", "backbone.layers.0.mlp.gate_proj.weight", 0.88F),
        std::tuple("blk.0.ffn_up.weight", "backbone.layers.0.mlp.up_proj.weight", 1.0F),
        std::tuple("blk.0.ffn_down.weight", "backbone.layers.0.mlp.down_proj.weight", 0.22F),
        std::tuple("blk.0.ssm_out.weight", "backbone.layers.0.mixer.out_proj.weight", 0.24F)}) {
    EXPECT_EQ(file.tensors.at(theirs).floats(), scaled(own(model, ours), factor)) << theirs;
  }
  // in_proj's rows: z 64, x 64, B 16, C 16, dt 8.
  const auto from = own(model, layer + "mixer.in_proj.weight");
  const auto to = file.tensors.at("blk.0.ssm_in.weight").floats();
  for (const auto& [row, factor] :
       {std::pair(63, 0.35F), std::pair(64, 0.25F), std::pair(128, 0.18F), std::pair(144, 0.5F),
        std::pair(160, 0.35F), std::pair(167, 0.35F)}) {
    const auto at = static_cast<size_t>(row * 32 + 5);
    EXPECT_EQ(to[at], from[at] * (1.25F * factor)) << row;
  }
  EXPECT_TRUE(file.tensors.contains("blk.0.ffn_norm")) << "without .weight, as its readers ask";
  EXPECT_FALSE(file.tensors.contains("blk.0.ssm_norm.weight"));
}

MambaConfig nemotron(bool experts) {
  MambaConfig config = hybrid("nemotron");
  config.layers = 4;
  config.blocks.erase(config.blocks.begin() + (experts ? 3 : 4));
  config.blocks.back().layer = 3;
  return config;
}

TEST_F(Gguf, NemotronSaysEachLayersWidth) {
  const ReadFile dense = written(of_family("nemotron_h", nemotron(false)));
  EXPECT_EQ(answer_.architecture, "nemotron_h");
  EXPECT_THAT(dense.key<std::vector<int32_t>>("nemotron_h.feed_forward_length"),
              ElementsAre(0, 0, 0, 48));
  EXPECT_THAT(dense.key<std::vector<int32_t>>("nemotron_h.attention.head_count_kv"),
              ElementsAre(0, 2, 0, 0));
  EXPECT_FALSE(dense.keys.contains("nemotron_h.expert_count"));
  const ReadFile experts = written(of_family("nemotron_h", nemotron(true)));
  EXPECT_EQ(answer_.architecture, "nemotron_h_moe");
  EXPECT_EQ(experts.key<uint32_t>("nemotron_h_moe.expert_group_used_count"), 2U);
  EXPECT_EQ(experts.key<float>("nemotron_h_moe.expert_weights_scale"), 2.5F);
  EXPECT_EQ(experts.key<uint32_t>("nemotron_h_moe.moe_latent_size"), 16U);
  EXPECT_EQ(experts.tensors.at("blk.3.exp_probs_b.bias").floats(), std::vector<float>(8, 0.0F))
      << "readers ask for it, this model has none";
  EXPECT_TRUE(experts.tensors.contains("blk.3.ffn_latent_down.weight"));
}

TEST_F(Gguf, JambaKeepsItsNorms) {
  MambaConfig config = hybrid("jamba");
  const ReadFile file = written(of_family("jamba", config));
  EXPECT_EQ(answer_.architecture, "jamba");
  for (const char* name : {"blk.0.ssm_dt_norm.weight", "blk.0.ssm_b_norm.weight",
                           "blk.0.ssm_c_norm.weight", "blk.0.ffn_gate_exps.weight"}) {
    EXPECT_TRUE(file.tensors.contains(name)) << name;
  }
  EXPECT_FALSE(file.keys.contains("jamba.ssm.group_count"));
}

TEST_F(Gguf, RefusesByNameWhatItHasNoPlaceFor) {
  EXPECT_THAT(problem("zamba2", hybrid("zamba2")),
              HasSubstr("one of the format's architectures: mamba (also Falcon-Mamba), mamba2"));
  EXPECT_THAT(problem("zamba2", hybrid("zamba2")), HasSubstr("found zamba2"));
  EXPECT_THAT(problem("", hybrid("state-spaces")), HasSubstr("attention or MLP layers"));
  EXPECT_THAT(problem("nemotron_h", hybrid("nemotron")),
              HasSubstr("experts in every feed-forward"));
  const auto with = [&](const std::string& family, MambaConfig config, auto&& change) {
    change(config);
    return problem(family, config);
  };
  const MambaConfig mamba2 = plain_mamba(MixerKind::mamba2);
  EXPECT_THAT(with("mamba2", mamba2, [](auto& c) { c.in_proj_bias = true; }),
              HasSubstr("in_proj and out_proj without bias"));
  EXPECT_THAT(with("mamba2", mamba2, [](auto& c) { c.dt_max = 0.1F; }),
              HasSubstr("time steps without limits, found limits (0, 0.1)"));
  EXPECT_THAT(with("", mamba2, [](auto& c) { c.D_per_channel = true; }), HasSubstr("one D a head"));
  EXPECT_THAT(with("granitemoehybrid", hybrid("granite"),
                   [](auto& c) {
                     c.inner = 128;
                     c.heads = 16;
                   }),
              HasSubstr("an inner width of 64, twice the model's, found 128"));
  EXPECT_THAT(with("falcon_h1", hybrid("falcon_h1"), [](auto& c) { c.attention.scale = 1; }),
              HasSubstr("scores times 0.35"));
  EXPECT_THAT(with("falcon_h1", hybrid("falcon_h1"),
                   [](auto& c) { c.gated_norm = MambaConfig::GatedNorm::norm_first; }),
              HasSubstr("the gate before the norm"));
  EXPECT_THAT(with("jamba", hybrid("jamba"), [](auto& c) { c.attention.heads = 2; }),
              HasSubstr("as wide as the model together"));
}

TEST_F(Gguf, WeightsThatHaveNoCodeAreNamed) {
  MambaConfig config = plain_mamba(MixerKind::mamba1);
  Weights weights = random_weights(config, 3);
  Tensor broken = weights.take("backbone.layers.1.mixer.in_proj.weight").to_f32();
  Tensor copy(DType::f32, broken.shape());
  copy.mutable_values<float>()[70] = std::numeric_limits<float>::infinity();
  weights.add("backbone.layers.1.mixer.in_proj.weight", copy);
  try {
    written(testing_models::embedded(config, weights), GgufType::q4_0);
    FAIL() << "infinity was rounded";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("blk.1.ssm_in.weight: expected finite weights"));
  }
  EXPECT_FALSE(std::filesystem::exists(folder_.path("a.gguf")));
}

TEST_F(Gguf, RandomModelsOfPublishedSizesCanBeWritten) {
  const ReadFile file = written(random_description("mamba2-tiny", 42), GgufType::bf16);
  EXPECT_EQ(file.key<std::string>("general.name"), "random mamba2-tiny");
  const Weights weights = random_weights(named_config("mamba2-tiny"), 42);
  const auto bytes = weights.at("backbone.layers.0.mixer.in_proj.weight").bytes();
  EXPECT_EQ(file.tensors.at("blk.0.ssm_in.weight").bytes,
            std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

}  // namespace
}  // namespace scute::gguf_test
