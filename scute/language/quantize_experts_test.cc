// Quantizing experts: where what they read and give is rotated, and what that is worth.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>

#include "scute/base/error.h"
#include "scute/kernels/hadamard.h"
#include "scute/language/test_hybrid_models.h"

namespace scute::quantize_experts_test {
namespace {

using namespace testing_models;
using testing::HasSubstr;

TEST(QuantizeExperts, ExpertsAreRotatedWhereTheirOwnWidthHasATransform) {
  MambaConfig config = test::small_hybrids()[1].second;  // Granite
  QuantizeOptions options;
  options.format = LayerFormat::parse("W8A16", "");
  config.experts.inner = 44;
  const LowBitModel low = quantize(hybrid_model(config), {}, nullptr, nullptr, options);
  EXPECT_TRUE(low.description.scheme.rotated_down_proj);  // of the shared expert
  EXPECT_FALSE(low.description.scheme.rotated_experts);
  EXPECT_THAT(low.remarks, testing::Contains(HasSubstr("the experts' down_proj's input is not "
                                                       "rotated: its width 44")));
  const SiteList sites = LanguageModelSites(config).list;
  EXPECT_EQ(sites.find("layer_0.experts.1.down_proj:input@rotated"), nullptr);
  ModelDescription wrong = as_read(low);
  wrong.scheme.rotated_experts = true;
  EXPECT_THROW(load_model(wrong, Execution{}, LanguageModel::Head::packed), Error);
}

/// The model with what `edit` makes of each matrix's name and values.
template <class Edit>
ModelDescription edited(const ModelDescription& model, const Edit& edit) {
  Weights weights("hybrid");
  for (const std::string& name : model.embedded->weights.names()) {
    Tensor tensor = model.embedded->weights.at(name);
    if (name.ends_with("_proj.weight") || name.find(".latent_") != name.npos) {
      tensor = Tensor::of<float>(tensor.shape(), to_vector(tensor));
      if (tensor.rank() == 2) edit(name, tensor.mutable_matrix<float>());
    }
    weights.add(name, std::move(tensor));
  }
  return embedded(model.config, weights);
}

void scale_output(MatView<float> matrix, float times) {
  for (int64_t i = 0; i < matrix.cols; ++i) matrix.row(7)[i] *= times;
}

void scale_input(MatView<float> matrix, float times) {
  for (int64_t i = 0; i < matrix.rows; ++i) matrix.row(i)[7] *= times;
}

/// One channel of what each expert's down_proj reads is thirty times as large as it was.
ModelDescription with_outliers_in_experts(const MambaConfig& config) {
  const float above = config.feed_forward.gated() ? 30.0F : std::sqrt(30.0F);
  return edited(hybrid_model(config), [above](const std::string& name, MatView<float> matrix) {
    const bool up = name.ends_with(".up_proj.weight");
    if (up && name.find(".experts.") != name.npos) scale_output(matrix, above);
  });
}

TEST(QuantizeExperts, OutliersInsideExpertsAreSpreadByTheirRotation) {
  for (auto& [name, config] : test::small_hybrids()) {
    if (config.experts.count == 0) continue;
    // Every token goes to all of them, so that no rounding sends it elsewhere.
    config.experts.chosen = config.experts.count;
    config.experts.kept = config.experts.groups;
    const Folder folder;
    const ModelDescription model = with_outliers_in_experts(config);
    const StatisticsSet statistics = hybrid_statistics(model, folder);
    const auto logits = [&](const char* format, bool rotated) {
      QuantizeOptions options;
      options.format = LayerFormat::parse("FP", "");
      options.experts = LayerFormat::parse(format, "");
      options.hadamard = rotated;
      const LowBitModel low =
          quantize(model, hybrid_plan(statistics), &statistics, nullptr, options);
      EXPECT_EQ(low.description.scheme.rotated_experts, rotated);
      return hybrid_logits(build_model(low, Execution{}));
    };
    // What 8-bit inputs add to the same weights; 4-bit weights alone cost more than that.
    for (const auto& [eight, sixteen] : {std::pair("W8A8", "W8A16"), std::pair("W4A8", "W4A16")}) {
      const auto added = [&, &low = eight, &floats = sixteen](bool rotated) {
        return relative_error(logits(low, rotated), logits(floats, rotated));
      };
      const double rotated = added(true), plain = added(false);
      // 0.1 to 0.3, and 0.4 and 0.8 behind a squared ReLU.
      EXPECT_LT(rotated, (config.feed_forward.gated() ? 0.5 : 0.9) * plain) << name << eight;
    }
  }
}

MambaConfig latent_config() { return test::small_hybrids()[3].second; }  // Nemotron

/// The two sites of layer 4 in the latent width, each without ":input".
constexpr std::array<const char*, 2> kLatentSites = {"layer_4.experts.up_proj",
                                                     "layer_4.latent_out"};

std::string plain_site(const std::string& of) { return of + ":input"; }
std::string twin_site(const std::string& of) { return of + ":input@rotated"; }

/// All that a model shows in the latent width.
class LatentTap : public Tap {
 public:
  bool wants(const Site& site) const override {
    return site.name.starts_with("layer_4.") && site.shape == Shape{16};
  }
  void see(const Site& site, MatView<const float> values) override {
    const auto [at, is_new] =
        seen.emplace(site.name, Tensor(DType::f32, {values.rows, values.cols}));
    ASSERT_TRUE(is_new) << site.name;
    std::copy_n(values.data, values.size(), at->second.mutable_values<float>().begin());
  }
  std::map<std::string, Tensor> seen;
};

std::map<std::string, Tensor> shown_by(const LanguageModel& model) {
  LatentTap tap;
  Run run(&tap);
  State state = model.new_state();
  const auto hidden = run.matrix(40, model.config().width);
  model.hidden(run, hybrid_ids(model.config(), 40), state, hidden);
  return std::move(tap.seen);
}

TEST(QuantizeExperts, TheLatentTwinsAreTheVectorsThatARotatedModelRounds) {
  MambaConfig config = latent_config();
  config.feed_forward.bias = true;  // latent_in's is rotated with its outputs
  const ModelDescription model = hybrid_model(config);
  const auto plain = shown_by(load_model(model, Execution{}, LanguageModel::Head::packed));
  QuantizeOptions options;
  options.format = LayerFormat::parse("FP", "");
  const auto rotated =
      shown_by(build_model(quantize(model, {}, nullptr, nullptr, options), Execution{}));
  EXPECT_EQ(plain.size(), 4U);
  EXPECT_EQ(rotated.size(), 2U);
  for (const char* of : kLatentSites) {
    Tensor expected = Tensor::of<float>({40, 16}, to_vector(plain.at(plain_site(of))));
    hadamard_rows(expected.mutable_matrix<float>());
    EXPECT_EQ(to_vector(plain.at(twin_site(of))), to_vector(expected)) << of;
    EXPECT_LT(apart(to_vector(rotated.at(twin_site(of))), to_vector(expected)), 2e-5) << of;
  }
}

// No family publishes experts that have both.
TEST(QuantizeExperts, LatentExpertsWithGatesAreFoldedToo) {
  MambaConfig config = latent_config();
  config.feed_forward.form = FeedForwardConfig::Form::silu;
  const ModelDescription model = hybrid_model(config);
  QuantizeOptions options;
  options.format = LayerFormat::parse("FP", "");
  const LowBitModel low = quantize(model, {}, nullptr, nullptr, options);
  EXPECT_TRUE(low.description.scheme.rotated_latent);
  EXPECT_LT(apart(hybrid_logits(build_model(low, Execution{})),
                  hybrid_logits(load_model(model, Execution{}, LanguageModel::Head::packed))),
            2e-5);
  const SiteList sites = LanguageModelSites(config).list;
  EXPECT_NE(sites.find("layer_4.experts.gate_proj:input@rotated"), nullptr);
}

TEST(QuantizeExperts, ALatentWidthWithoutATransformIsNotRotated) {
  MambaConfig config = latent_config();
  config.experts.latent = 44;
  QuantizeOptions options;
  options.format = LayerFormat::parse("W8A16", "");
  const LowBitModel low = quantize(hybrid_model(config), {}, nullptr, nullptr, options);
  EXPECT_TRUE(low.description.scheme.rotated_experts);
  EXPECT_FALSE(low.description.scheme.rotated_latent);
  EXPECT_THAT(low.remarks, testing::Contains(HasSubstr("what latent experts read and give is not "
                                                       "rotated: its width 44")));
  const SiteList sites = LanguageModelSites(config).list;
  for (const char* of : kLatentSites) EXPECT_EQ(sites.find(twin_site(of)), nullptr);
  ModelDescription wrong = as_read(low);
  wrong.scheme.rotated_latent = true;
  EXPECT_THAT([&] { load_model(wrong, Execution{}, LanguageModel::Head::packed); },
              testing::ThrowsMessage<Error>(HasSubstr("experts in a latent width that has")));
}

TEST(QuantizeExperts, WithoutALatentWidthNoneIsRotated) {
  QuantizeOptions options;
  options.format = LayerFormat::parse("W8A16", "");
  const MambaConfig config = test::small_hybrids()[1].second;  // Granite
  const LowBitModel low = quantize(hybrid_model(config), {}, nullptr, nullptr, options);
  EXPECT_FALSE(low.description.scheme.rotated_latent);
  EXPECT_THAT(low.remarks, testing::Not(testing::Contains(HasSubstr("latent"))));
  ModelDescription wrong = as_read(low);
  wrong.scheme.rotated_latent = true;
  EXPECT_THAT([&] { load_model(wrong, Execution{}, LanguageModel::Head::packed); },
              testing::ThrowsMessage<Error>(HasSubstr("experts in a latent width that has")));
}

/// One channel of what latent experts read, and one of what they give together, is forty times as
/// large as it was, and counts as much.
ModelDescription with_latent_outliers(const MambaConfig& config) {
  return edited(hybrid_model(config), [](const std::string& name, MatView<float> matrix) {
    constexpr float kTimes = 40;
    const bool of_expert = name.find(".experts.") != name.npos;
    if (name.ends_with(".latent_in.weight")) scale_output(matrix, kTimes);
    if (of_expert && name.ends_with(".up_proj.weight")) scale_input(matrix, 1 / kTimes);
    if (of_expert && name.ends_with(".down_proj.weight")) scale_output(matrix, kTimes);
    if (name.ends_with(".latent_out.weight")) scale_input(matrix, 1 / kTimes);
  });
}

TEST(QuantizeExperts, OutliersInTheLatentWidthAreSpreadByItsRotation) {
  MambaConfig config = latent_config();
  config.experts.chosen = config.experts.count;
  config.experts.kept = config.experts.groups;
  const Folder folder;
  const ModelDescription model = with_latent_outliers(config);
  const StatisticsSet statistics = hybrid_statistics(model, folder);
  const auto range = [&](const std::string& site) {
    const Decision& decision = hybrid_plan(statistics).sites.at(site);
    return std::max(-decision.lo, decision.hi);
  };
  for (const char* of : kLatentSites) {  // a quarter, were the others nothing
    EXPECT_LT(range(twin_site(of)), 0.45 * range(plain_site(of))) << of;
  }
  const auto logits = [&](const char* format, bool rotated) {
    QuantizeOptions options;
    options.format = LayerFormat::parse("FP", "");
    options.experts = LayerFormat::parse(format, "");
    options.hadamard = rotated;
    const LowBitModel low = quantize(model, hybrid_plan(statistics), &statistics, nullptr, options);
    EXPECT_EQ(low.description.scheme.rotated_latent, rotated);
    return hybrid_logits(build_model(low, Execution{}));
  };
  const auto added = [&](bool rotated) {
    return relative_error(logits("W8A8", rotated), logits("W8A16", rotated));
  };
  const double rotated = added(true), plain = added(false);
  EXPECT_LT(rotated, 0.7 * plain) << rotated << " of " << plain;
}

}  // namespace
}  // namespace scute::quantize_experts_test
