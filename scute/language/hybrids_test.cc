// Hybrids with random weights: what no reference is needed for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "scute/base/error.h"
#include "scute/base/threads.h"
#include "scute/language/random_model.h"
#include "scute/language/test_hybrid_models.h"
#include "scute/language/test_hybrids.h"

namespace scute::hybrids_test {
namespace {

constexpr int64_t kIds = 37;

std::vector<int32_t> some_ids(int64_t vocabulary) {
  std::vector<int32_t> out;
  for (int64_t i = 0; i < kIds; ++i) out.push_back(static_cast<int32_t>(i * 17 % vocabulary));
  return out;
}

/// Logits of the ids in calls of these lengths, on so many threads.
std::vector<float> logits_in(const LanguageModel& model, const std::vector<int64_t>& lengths,
                             int threads) {
  const auto ids = some_ids(model.config().vocabulary);
  const int64_t V = model.config().vocabulary;
  std::vector<float> out(static_cast<size_t>(kIds * V));
  const Threads pool(threads);
  Run run;
  run.use(pool.team());
  State state = model.new_state();
  int64_t at = 0;
  for (const int64_t length : lengths) {
    const Arena::Scope scope(run.arena());
    const auto hidden = run.matrix(length, model.config().width);
    const auto part = std::span(ids).subspan(static_cast<size_t>(at), static_cast<size_t>(length));
    model.hidden(run, part, state, hidden);
    model.logits(run, hidden, {out.data() + at * V, length, V});
    at += length;
  }
  EXPECT_EQ(at, kIds);
  return out;
}

class Hybrids : public testing::TestWithParam<std::pair<std::string, MambaConfig>> {};

TEST_P(Hybrids, APromptCutAnywhereGivesTheSameBits) {
  const MambaConfig& config = GetParam().second;
  const LanguageModel model(config, random_weights(config, 7), Compute::f32);
  const auto whole = logits_in(model, {kIds}, 1);
  float largest = 0;
  for (const float x : whole) largest = std::max(largest, std::abs(x));
  EXPECT_GT(largest, 1e-3F);
  EXPECT_EQ(logits_in(model, std::vector<int64_t>(kIds, 1), 1), whole) << "token by token";
  EXPECT_EQ(logits_in(model, {1, 5, 20, 11}, 1), whole);
  EXPECT_EQ(logits_in(model, {kIds}, 3), whole) << "three threads";
  EXPECT_EQ(logits_in(model, {30, 7}, 3), whole) << "three threads, cut";
}

TEST_P(Hybrids, EveryNameOfASiteIsThatOfASite) {
  Scheme rotated;
  rotated.rotated_stream = GetParam().second.shared.count == 0;
  for (const Scheme& scheme : {Scheme(), rotated}) {
    const SiteList list = LanguageModelSites(GetParam().second, scheme).list;
    for (const auto& [alias, name] : list.aliases()) {
      EXPECT_NE(list.find(alias), nullptr) << alias << ", " << name;
    }
    EXPECT_EQ(list.match("*", "").size(), list.sites().size());
    const bool twin = scheme.rotated_stream;
    const Site* keys = list.find(twin ? "layer_1.k_proj:input@rotated" : "layer_1.k_proj:input");
    if (GetParam().second.shared.count > 0) continue;
    ASSERT_NE(keys, nullptr);
    EXPECT_EQ(keys->name, twin ? "layer_1.q_proj:input@rotated" : "layer_1.q_proj:input");
  }
}

/// What stands at a layer's sites, by kind of part: names and aliases that plans may use.
std::vector<std::string> names_of_part(const MambaConfig& config, PartKind kind) {
  const bool gated = config.feed_forward.gated();
  std::vector<std::string> out;
  switch (kind) {
    case PartKind::mixer:
      return {"in_proj:input", "out_proj:input", "out_proj:output", "ssm_state_act:input"};
    case PartKind::attention:
      out = {"q_proj:input",  "k_proj:input",  "v_proj:input", "q_act:input",  "q_act:output",
             "k_cache:input", "v_cache:input", "o_proj:input", "o_proj:output"};
      if (config.attention.taps > 0) out.emplace_back("qkv_conv:input");
      return out;
    case PartKind::feed_forward:
      out = {"up_proj:input", "down_proj:input", "down_proj:input@rotated", "down_proj:output"};
      break;
    case PartKind::experts:
      out = {"up_proj:input",
             "router:input",
             "router:output",
             "experts.down_proj:input",
             "experts.down_proj:input@rotated",
             "experts.1.down_proj:input",
             "experts.1.down_proj:input@rotated"};
      if (config.experts.latent > 0) {
        out.insert(out.end(),
                   {"experts.up_proj:input", "experts.up_proj:input@rotated", "latent_in:input",
                    "latent_out:input", "latent_out:input@rotated", "fc1_latent_proj:input",
                    "fc2_latent_proj:input", "fc2_latent_proj:input@rotated"});
      }
      if (config.experts.shared_inner > 0) {
        out.insert(out.end(), {"shared_experts.up_proj:input", "shared_experts.down_proj:input",
                               "shared_experts.down_proj:input@rotated"});
        if (gated) out.emplace_back("shared_experts.gate_proj:input");
      }
      break;
  }
  if (gated) out.emplace_back("gate_proj:input");
  return out;
}

TEST_P(Hybrids, EveryPartHasItsSites) {
  const MambaConfig& config = GetParam().second;
  const SiteList list = LanguageModelSites(config).list;
  const auto expect = [&](int64_t layer, const std::string& name) {
    EXPECT_NE(list.find("layer_" + std::to_string(layer) + "." + name), nullptr) << layer << name;
  };
  for (const BlockConfig& block : config.all_blocks()) {
    for (const PartKind kind : block.parts) {
      for (const std::string& name : names_of_part(config, kind)) expect(block.layer, name);
    }
    if (block.shared < 0) continue;
    for (const PartKind kind : {PartKind::attention, PartKind::feed_forward}) {
      for (const std::string& name : names_of_part(config, kind)) {
        if (name != "down_proj:output") expect(block.layer, "shared." + name);
      }
    }
    for (const char* name : {"linear:input", "adapter_gate:input", "adapter_up:input"}) {
      expect(block.layer, std::string("shared.") + name);
    }
    if (config.shared.attention_adapters) expect(block.layer, "shared.adapter_q:input");
  }
}

INSTANTIATE_TEST_SUITE_P(All, Hybrids, testing::ValuesIn(test::small_hybrids()),
                         [](const auto& made) {
                           std::string name = made.param.first;
                           std::erase(name, '-');
                           return name;
                         });

TEST(HybridsAlone, AnExpertThatLacksAMatrixIsNamed) {
  const MambaConfig config = test::small_hybrids()[2].second;  // Jamba
  Weights weights = random_weights(config, 3);
  std::string name;
  for (const std::string& one : weights.names()) {
    if (one.find(".experts.1.down_proj.") != std::string::npos) name = one;
  }
  ASSERT_NE(name, "");
  weights.erase(name);
  EXPECT_THAT(
      [&] {
        load_model(testing_models::embedded(config, weights), Execution{},
                   LanguageModel::Head::packed);
      },
      testing::ThrowsMessage<Error>(testing::HasSubstr("missing " + name)));
}

}  // namespace
}  // namespace scute::hybrids_test
