#include "scute/decide/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "scute/base/error.h"
#include "scute/observe/test_data.h"

namespace scute::plan_test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_data::draw;
using testing_data::families;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Statistic some(uint64_t seed) { return statistic_of(draw(families()[seed % 3], 4000, seed)); }

PlanOptions with(std::string_view policy, GridSpec grid = {}) {
  PlanOptions out;
  out.policy = Policy::parse(policy);
  out.grid = grid;
  return out;
}

std::map<std::string, Statistic> statistics() {
  return {{"layer_0.x_proj:input", some(1)},
          {"layer_2.x_proj:input", some(2)},
          {"layer_10.x_proj:input", some(3)},
          {"layer_10.in_proj:input@rotated", some(4)},
          {"lm_head:input", some(5)}};
}

TEST(NaturalLess, OrdersNumbersByValue) {
  std::vector<std::string> names{"layer_10.a", "layer_2.b", "layer_2.a", "layer_1", "b2c10",
                                 "b2c9",       "x01",       "x1",        "x",       "x1a"};
  std::ranges::sort(names, natural_less);
  EXPECT_THAT(names, ElementsAre("b2c9", "b2c10", "layer_1", "layer_2.a", "layer_2.b", "layer_10.a",
                                 "x", "x01", "x1", "x1a"));
  for (const auto& a : names) {
    EXPECT_FALSE(natural_less(a, a)) << a;
    for (const auto& b : names) EXPECT_FALSE(natural_less(a, b) && natural_less(b, a)) << a << b;
  }
}

TEST(Plan, JsonSurvivesARoundTripAndKeepsNaturalOrder) {
  Plan plan = make_plan(statistics(), with("mse", {.bits = 6}));
  plan.meta["model_sha256"] = "abc";
  const Json json = plan.to_json();
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.as_object("")) keys.push_back(key);
  EXPECT_THAT(keys, ElementsAre("layer_0.x_proj:input", "layer_2.x_proj:input",
                                "layer_10.in_proj:input@rotated", "layer_10.x_proj:input",
                                "lm_head:input", "meta"));
  const Plan back = Plan::from_json(Json::parse(json.dump(2), "p"), "p");
  EXPECT_EQ(back.to_json(), json);
  EXPECT_EQ(back.sites.at("lm_head:input").grid.bits, 6);
  EXPECT_EQ(back.sites.at("lm_head:input").because, plan.sites.at("lm_head:input").because);
}

TEST(Plan, AcceptsOnlyPercentileLoAndHi) {
  const Plan plan = Plan::from_json(
      Json::parse(R"({"llm": {"percentile": 99.9, "lo": -3.15, "hi": 3}})", "p"), "p");
  const Decision& d = plan.sites.at("llm");
  EXPECT_EQ(d.lo, -3.15);
  EXPECT_EQ(d.hi, 3);
  EXPECT_EQ(d.grid.bits, 8);
  EXPECT_TRUE(d.grid.symmetric);
  EXPECT_EQ(d.scale, static_cast<double>(static_cast<float>(3.15 / 127)));
  EXPECT_TRUE(plan.meta.is_null());
}

TEST(Plan, AnEditedRangeCountsAndIsRemarked) {
  const Plan plan = make_plan(statistics(), with("minmax"));
  Json json = plan.to_json();
  json["lm_head:input"]["hi"] = 100;
  const Plan edited = Plan::from_json(json, "p");
  EXPECT_EQ(edited.sites.at("lm_head:input").scale, static_cast<double>(100.0f / 127));
  EXPECT_THAT(edited.sites.at("lm_head:input").remark, HasSubstr("edited by hand"));
  EXPECT_THAT(edited.sites.at("layer_0.x_proj:input").remark, "");
}

TEST(Plan, ALosslessSiteHasANullSqnrAndReadsBack) {
  const std::map<std::string, Statistic> exact{
      {"a", statistic_of(std::vector<float>{-127, 0, 64})}};
  const Plan plan = make_plan(exact, with("minmax"));
  const Json json = plan.to_json();
  EXPECT_TRUE(json.at("a", "").at("sqnr_db", "").is_null());
  EXPECT_EQ(Plan::from_json(json, "p").sites.at("a").sqnr, std::numeric_limits<double>::infinity());
}

TEST(Plan, ErrorsNameSiteAndKey) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"lo": 1, "hi": 0})", "/lo"},
      {R"({"lo": -1})", "hi"},
      {R"({"lo": NaN, "hi": 0})", "/lo"},
      {R"({"lo": 0, "hi": Infinity})", "/hi"},
      {R"({"lo": 0, "hi": 1e39})", "/hi"},
      {R"({"lo": "0", "hi": 1})", "/lo"},
      {R"({"lo": 0, "hi": 1, "bits": 1})", "/bits"},
      {R"({"lo": 0, "hi": 1, "bits": 17})", "/bits"},
      {R"({"lo": 0, "hi": 1, "bits": 7.5})", "/bits"},
      {R"({"lo": 0, "hi": 1, "percentile": 101})", "/percentile"},
      {R"({"lo": 0, "hi": 1, "coverage": 2})", "/coverage"},
      {R"({"lo": 0, "hi": 1, "range_before": [1]})", "/range_before"},
      {R"({"lo": 0, "hi": 1, "symetric": false})", "symmetric"},
      {R"([0, 1])", "object"},
  };
  for (const auto& [entry, said] : cases) {
    Json json = Json::object();
    json["layer_7.x"] = Json::parse(entry, "t");
    EXPECT_THAT([&] { Plan::from_json(json, "plan.json"); },
                ThrowsMessage<Error>(
                    AllOf(HasSubstr("plan.json"), HasSubstr("layer_7.x"), HasSubstr(said))))
        << entry;
  }
  EXPECT_THROW(Plan::from_json(Json("text"), "p"), Error);
}

TEST(MakePlan, LaterGlobsWinAndUnusedOnesAreErrors) {
  PlanOptions options = with("minmax");
  options.per_site = {{"layer_*", Policy::parse("percentile:99")},
                      {"layer_10.*", Policy::parse("mse")}};
  const Plan plan = make_plan(statistics(), options);
  EXPECT_EQ(plan.sites.at("layer_0.x_proj:input").policy, "percentile");
  EXPECT_EQ(plan.sites.at("layer_10.x_proj:input").policy, "mse");
  EXPECT_EQ(plan.sites.at("lm_head:input").policy, "minmax");
  options.per_site.push_back({"lm_haed:input", Policy::parse("mse")});
  EXPECT_THAT([&] { make_plan(statistics(), options); },
              ThrowsMessage<Error>(AllOf(HasSubstr("lm_haed"), HasSubstr("lm_head:input"))));
}

TEST(MakePlan, TheSameForAnyNumberOfThreads) {
  auto all = statistics();
  PlanOptions options = with("auto");
  const Json alone = make_plan(all, options).to_json();
  options.threads = 3;
  EXPECT_EQ(make_plan(all, options).to_json(), alone);
  // All problems, not those that were met first.
  all.emplace("layer_21.x_proj:input", Statistic());
  all.emplace("layer_31.x_proj:input", Statistic());
  EXPECT_THAT([&] { make_plan(all, options); },
              ThrowsMessage<Error>(AllOf(HasSubstr("layer_21"), HasSubstr("layer_31"))));
}

TEST(MakePlan, HeadroomWidensEveryRangeAndIsRecorded) {
  const Plan plain = make_plan(statistics(), with("percentile:0.99"));
  PlanOptions options = with("percentile:0.99");
  options.headroom = 1.25;
  const Plan wide = make_plan(statistics(), options);
  for (const auto& [site, decision] : wide.sites) {
    EXPECT_EQ(decision.lo, 1.25 * plain.sites.at(site).lo) << site;
    EXPECT_EQ(decision.hi, 1.25 * plain.sites.at(site).hi) << site;
    EXPECT_EQ(decision.headroom, 1.25);
    EXPECT_LT(decision.clipped, plain.sites.at(site).clipped) << "measured of the wider range";
    EXPECT_THAT(decision.because, HasSubstr("1.25 times as wide"));
  }
  const Json json = wide.to_json();
  EXPECT_EQ(Plan::from_json(json, "f").to_json(), json);
  EXPECT_EQ(json.at("lm_head:input", "").at("headroom", ""), Json(1.25));
  EXPECT_EQ(plain.to_json().at("lm_head:input", "").find("headroom"), nullptr);
  for (const double wrong : {0.0, -1.0, std::numeric_limits<double>::infinity()}) {
    options.headroom = wrong;
    EXPECT_THAT([&] { make_plan(statistics(), options); },
                ThrowsMessage<Error>(HasSubstr("a factor above 0")));
  }
  Json edited = json;
  edited["lm_head:input"]["headroom"] = 0;
  EXPECT_THAT([&] { Plan::from_json(edited, "f"); },
              ThrowsMessage<Error>(HasSubstr("f: lm_head:input/headroom")));
}

TEST(MakePlan, RulesDecideTheirSitesMemberByMemberUnlessTheUserSaysOtherwise) {
  PlanOptions options = with("mse");
  options.headroom = 1.5;
  options.rules = {{"*x_proj*", Policy::parse("minmax"), GridSpec{16, true}, 2.0},
                   {"layer_2.*", {}, {}, 3.0},
                   {"nowhere", Policy::parse("minmax"), {}, {}}};
  options.per_site = {{"layer_10.x_proj:input", Policy::parse("percentile")}};
  const auto sites = make_plan(statistics(), options).sites;
  const auto expect = [&](const char* site, const char* policy, int bits, double headroom) {
    EXPECT_EQ(sites.at(site).policy, policy) << site;
    EXPECT_EQ(sites.at(site).grid.bits, bits) << site;
    EXPECT_EQ(sites.at(site).headroom, headroom) << site;
  };
  expect("layer_0.x_proj:input", "minmax", 16, 2);
  expect("layer_2.x_proj:input", "minmax", 16, 3);
  expect("layer_10.x_proj:input", "percentile", 16, 2);
  expect("lm_head:input", "mse", 8, 1.5);
}

TEST(MakePlan, TheStatesAlongTheWayDecideTheState) {
  std::map<std::string, Statistic> all{
      {"layer_1.ssm_state_act:input", statistic_of(std::vector<float>{-1, 1})},
      {"layer_1.ssm_state_act:steps", statistic_of(std::vector<float>{-4, 2})},
      {"layer_2.ssm_state_act:input", statistic_of(std::vector<float>{-1, 1})},
      {"layer_3.ssm_state_act:input", statistic_of(std::vector<float>{-1, 3})},
      {"layer_3.ssm_state_act:steps", Statistic()}};
  const Plan plan = make_plan(all, with("minmax"));
  EXPECT_EQ(plan.sites.size(), 3u);
  EXPECT_EQ(plan.sites.at("layer_1.ssm_state_act:input").lo, -4);
  EXPECT_THAT(plan.sites.at("layer_1.ssm_state_act:input").because, HasSubstr("steps"));
  EXPECT_EQ(plan.sites.at("layer_2.ssm_state_act:input").lo, -1);
  EXPECT_EQ(plan.sites.at("layer_3.ssm_state_act:input").hi, 3);
  EXPECT_THAT(plan.sites.at("layer_3.ssm_state_act:input").because, Not(HasSubstr("steps")));
}

TEST(UserPain15, AllUndecidableSitesAreNamedAtOnce) {
  auto all = statistics();
  all["layer_9.in_proj:input"] = statistic_of(std::vector<float>{1, kNan});
  all["layer_11.in_proj:input"] = Statistic();
  EXPECT_THAT([&] { make_plan(all, {}); },
              ThrowsMessage<Error>(AllOf(HasSubstr("2 of 7"), HasSubstr("layer_9.in_proj:input"),
                                         HasSubstr("layer_11.in_proj:input"))));
  all.erase("layer_11.in_proj:input");
  PlanOptions tolerant;
  tolerant.allow_nonfinite = true;
  EXPECT_EQ(make_plan(all, tolerant).sites.size(), 6u);
}

TEST(UserPain07And25, TwoHundredSitesTimesTwentyPercentilesWithoutTheModel) {
  std::map<std::string, Statistic> all;
  const Statistic one = statistic_of(draw(families()[1], 300000, 5));
  for (int i = 0; i < 200; ++i) all.emplace("layer_" + std::to_string(i) + ".x_proj:input", one);
  const auto start = std::chrono::steady_clock::now();
  double last = 0;
  for (int i = 0; i < 20; ++i) {
    const Plan plan = make_plan(all, with("percentile:" + std::to_string(0.98 + i * 0.001)));
    const double hi = plan.sites.at("layer_7.x_proj:input").hi;
    EXPECT_GT(hi, last);
    last = hi;
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  RecordProperty("seconds", std::to_string(took.count()));
  // The target is 1 s; twenty times that leaves room for sanitizers and busy machines.
  EXPECT_LT(took.count(), 20);
}

}  // namespace
}  // namespace scute::plan_test
