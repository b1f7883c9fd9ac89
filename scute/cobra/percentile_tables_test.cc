#include "scute/cobra/percentile_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/cobra/percentile_config.h"
#include "scute/language/test_models.h"
#include "scute/recipe/statistics_io.h"

namespace scute::percentile_tables_test {
namespace {

using fixtures::Folder;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Dict = TorchValue::Dict;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::string message_of(auto&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TorchValue number(double value) { return TorchValue{value}; }
TorchValue whole(int64_t value) { return TorchValue{value}; }
TorchValue text(std::string value) { return TorchValue{std::move(value)}; }

/// The eight percentiles of exact quantiles of a logistic distribution: Q(p) = ln(p / (1 − p)),
/// which the tail rules send to rule 1.
Dict logistic_percentiles(double shift = 0) {
  Dict out;
  for (const double p : {25.0, 50.0, 75.0, 90.0, 99.0, 99.9, 99.99, 99.999}) {
    out.emplace_back(p == std::floor(p) ? fmt::format("p{:.1f}", p) : fmt::format("p{}", p),
                     number(std::log(p / (100 - p)) + shift));
  }
  return out;
}

Dict bucket(Dict percentiles, double min = -12, double max = 14) {
  return {{"min", number(min)},
          {"max", number(max)},
          {"numel", whole(1000000)},
          {"percentiles", TorchValue{std::move(percentiles)}}};
}

Dict observer(const std::string& name, Dict percentiles) {
  Dict out = bucket(std::move(percentiles));
  out.emplace_back("mode", text("collect"));
  out.emplace_back("target", text(name));
  out.emplace_back("module", text("model." + name));
  out.emplace_back("percent", number(99.999));
  return out;
}

/// The schema of the original's collector.
TorchValue collected(Dict observers, std::vector<std::string> targets) {
  TorchValue::List names;
  for (std::string& name : targets) names.push_back(text(std::move(name)));
  Dict config{{"created_at", text("2025-11-12T00:00:00")}, {"num_batches", whole(8)}};
  return TorchValue{Dict{{"config", TorchValue{std::move(config)}},
                         {"targets", TorchValue{std::move(names)}},
                         {"observers", TorchValue{std::move(observers)}}}};
}

TorchValue flat(Dict one) { return TorchValue{Dict{{"vision.dino", TorchValue{std::move(one)}}}}; }

PercentileTable table_from(Dict one) {
  return percentile_tables_of(flat(std::move(one)), "s.pt").buckets.at("vision.dino");
}

Dict set(Dict dict, const std::string& key, TorchValue value) {
  std::erase_if(dict, [&](const auto& entry) { return entry.first == key; });
  dict.emplace_back(key, std::move(value));
  return dict;
}

Dict without(Dict dict, const std::string& key) {
  std::erase_if(dict, [&](const auto& entry) { return entry.first == key; });
  return dict;
}

TEST(PercentileTables, ReadsTheObserversForm) {
  Dict dino = observer("vision.dino", logistic_percentiles());
  dino.emplace_back("p99.0", number(std::log(99.0)));  // repeated beside "percentiles"
  const PercentileTables got = percentile_tables_of(
      collected({{"vision.dino", TorchValue{dino}}}, {"vision.dino", "vision.siglip"}), "s.pt");
  ASSERT_EQ(got.buckets.size(), 1u);
  const PercentileTable& table = got.buckets.at("vision.dino");
  EXPECT_EQ(table.min, -12);
  EXPECT_EQ(table.max, 14);
  EXPECT_EQ(table.numel, 1000000);
  EXPECT_EQ(table.module, "model.vision.dino");
  EXPECT_EQ(*table.find(99), std::log(99.0));
  EXPECT_EQ(table.recorded(), "p25, p50, p75, p90, p99, p99.9, p99.99, p99.999");
  EXPECT_THAT(got.missing, ::testing::ElementsAre("vision.siglip"));
  EXPECT_EQ(got.config.at("num_batches", "").as_int(""), 8);
}

TEST(PercentileTables, ReadsTheFlatFormFromAFile) {
  const Folder folder;
  const std::string path = folder.path("s.pt");
  Dict root{{"DINOv2", TorchValue{bucket(logistic_percentiles())}},
            {"llm", TorchValue{bucket({{"p99_9", number(1)}, {"P50", whole(0)}})}},
            {"meta", TorchValue{Dict{{"who", text("another tool")}}}}};
  write_torch(path, TorchValue{root});
  EXPECT_TRUE(holds_percentile_tables(path));
  const PercentileTables got = read_percentile_tables(path);
  EXPECT_EQ(got.buckets.size(), 2u);
  EXPECT_EQ(*got.buckets.at("llm").find(99.9), 1);
  EXPECT_EQ(*got.buckets.at("llm").find(50), 0);
  EXPECT_EQ(got.buckets.at("llm").find(99), nullptr);
  EXPECT_TRUE(got.buckets.contains("vision.dino"));
  EXPECT_EQ(got.config.at("who", "").as_string(""), "another tool");
  EXPECT_THAT(message_of([&] { read_statistics(path); }), HasSubstr("scute decide"));

  StatisticsSet own;
  own.sites.emplace("llm", statistic_of(std::vector<float>{1, 2}));
  write_statistics(folder.path("own.pt"), own);
  EXPECT_FALSE(holds_percentile_tables(folder.path("own.pt")));
  EXPECT_FALSE(holds_percentile_tables("s.safetensors"));
}

TEST(PercentileTables, NumbersMayBeTensorsOfOneElement) {
  Dict one = bucket(logistic_percentiles());
  one = set(one, "min", TorchValue{Tensor::of<float>({}, std::vector<float>{-12.5f})});
  one = set(one, "numel", TorchValue{Tensor::of<int64_t>({1}, std::vector<int64_t>{7})});
  const PercentileTable table = table_from(one);
  EXPECT_EQ(table.min, -12.5);
  EXPECT_EQ(table.numel, 7);
}

TEST(PercentileTables, WhatThePipelinesDocumentShowsIsEnough) {
  Dict one = without(bucket(logistic_percentiles()), "numel");
  EXPECT_EQ(table_from(one).numel, -1);
  EXPECT_EQ(decide_from_table(Policy::parse("percentile:0.999"), "vision.dino", table_from(one), {})
                .percentile,
            99.9);
  // Keys that were numbers in Python.
  Dict bare;
  for (auto& [key, value] : logistic_percentiles()) bare.emplace_back(key.substr(1), value);
  one = set(one, "percentiles", TorchValue{std::move(bare)});
  EXPECT_EQ(table_from(one).percentiles, table_from(bucket(logistic_percentiles())).percentiles);
}

TEST(PercentileTables, MistakesNameFileBucketAndKey) {
  const Dict good = bucket(logistic_percentiles());
  const auto says = [](Dict one) { return message_of([&] { table_from(std::move(one)); }); };
  EXPECT_EQ(says(good), "no error");
  const auto place = [](const char* key) {
    return HasSubstr(fmt::format("s.pt: vision.dino{}", key));
  };
  EXPECT_THAT(says(without(good, "max")), AllOf(place(""), HasSubstr("\"max\""), HasSubstr("min")));
  EXPECT_THAT(says(set(good, "min", text("low"))), place(": min"));
  EXPECT_THAT(says(set(good, "numel", whole(-1))), place(": numel"));
  EXPECT_THAT(says(set(good, "numel", number(1.5))), place(": numel"));
  EXPECT_THAT(
      says(set(good, "min", number(kNaN))),
      AllOf(place(""), HasSubstr("NaN or infinite activations"), HasSubstr("collect again")));
  EXPECT_THAT(says(set(good, "min", number(15))), HasSubstr("max at least min"));
  EXPECT_THAT(says(set(good, "percentiles", TorchValue{Dict{}})),
              AllOf(place(""), HasSubstr("p99_9"), HasSubstr("never saw"), HasSubstr("again")));
  EXPECT_THAT(says(set(good, "percentiles", TorchValue{Dict{{"p99.9x", number(1)}}})),
              AllOf(place(": percentiles"), HasSubstr("\"p99.9x\"")));
  EXPECT_THAT(says(set(good, "percentiles", TorchValue{Dict{{"p101", number(1)}}})),
              HasSubstr("\"p101\""));
  EXPECT_THAT(says(set(good, "p99.9", number(2))), AllOf(place(": p99.9"), HasSubstr("elsewhere")));
  EXPECT_THAT(says(set(good, "p99.95", number(20))), AllOf(place(": p99.99"), HasSubstr("p99.95")));
  EXPECT_THAT(says(set(good, "p99.9999", number(20))), place(": max"));
}

TEST(PercentileTables, TheWholeFilesMistakesAreNamed) {
  const auto says = [](const TorchValue& root) {
    return message_of([&] { percentile_tables_of(root, "s.pt"); });
  };
  const TorchValue one{observer("vision.dino", logistic_percentiles())};
  EXPECT_EQ(says(collected({{"vision.dino", one}}, {"vision.dino"})), "no error");
  EXPECT_THAT(says(collected({{"llm", one}}, {})), AllOf(HasSubstr("llm"), HasSubstr("target")));
  EXPECT_THAT(says(collected({{"vision", one}}, {})), HasSubstr("vision.siglip, vision.dino"));
  EXPECT_THAT(says(collected({}, {"llm"})), HasSubstr("no bucket was recorded"));
  EXPECT_THAT(says(collected({{"vision.dino", one}}, {"vision.dinno"})), HasSubstr("vision.dino?"));
  EXPECT_THAT(says(collected({{"dino", one}, {"vision.dino", one}}, {})), HasSubstr("once"));
  EXPECT_THAT(says(TorchValue{Dict{{"observers", TorchValue{Dict{}}}}}), HasSubstr("config"));
  EXPECT_THAT(says(number(1)), HasSubstr("s.pt"));
  Dict nameless = without(observer("llm", logistic_percentiles()), "module");
  EXPECT_THAT(says(collected({{"llm", TorchValue{nameless}}}, {})), HasSubstr("\"module\""));
}

TEST(DecideFromTable, TailTakesTheRulesAnswerCutToWhatWasSeen) {
  const PercentileTable table = table_from(bucket(logistic_percentiles()));
  Policy tail = Policy::parse("tail");
  const Decision d = decide_from_table(tail, "vision.dino", table, {});
  EXPECT_EQ(d.percentile, 99);
  EXPECT_EQ(d.hi, std::log(99.0));
  EXPECT_EQ(d.lo, -std::log(99.0));
  EXPECT_EQ(d.policy, "tail");
  EXPECT_THAT(d.because, HasSubstr("tail rule 1"));
  EXPECT_EQ(d.scale, static_cast<double>(static_cast<float>(d.hi / 127)));
  // Not invented: no counts, no coverage.
  EXPECT_TRUE(std::isnan(d.coverage) && std::isnan(d.clipped) && std::isnan(d.sqnr));
  EXPECT_THAT(d.remark, AllOf(HasSubstr("at least 99 % of the values lie at or below hi"),
                              HasSubstr("below lo is not known"), HasSubstr("coverage 74 … 99.9 %"),
                              HasSubstr("SQNR is not known")));
  tail.percentile_override = 99.99;
  const Decision given = decide_from_table(tail, "vision.dino", table, {});
  EXPECT_EQ(given.hi, *table.find(99.99));
  EXPECT_EQ(given.lo, -*table.find(99.99));
  // One side without values; the other cut to the smallest seen.
  const PercentileTable positive =
      table_from(bucket({{"p25", number(1)}, {"p99", number(8)}}, 0.5, 9));
  const Decision one = decide_from_table(Policy::parse("percentile:99"), "llm", positive, {});
  EXPECT_EQ(one.lo, 0);
  EXPECT_EQ(one.hi, 8);
  EXPECT_THAT(one.remark, Not(HasSubstr("below lo")));
}

TEST(DecideFromTable, MinMaxIsKnownToKeepEverything) {
  const PercentileTable table = table_from(bucket(logistic_percentiles()));
  for (const char* name : {"minmax", "quamba", "percentile:100"}) {
    const Decision d = decide_from_table(Policy::parse(name), "llm", table, {.symmetric = false});
    EXPECT_EQ(d.lo, -12) << name;
    EXPECT_EQ(d.hi, 14) << name;
    EXPECT_EQ(d.coverage, 1) << name;
    EXPECT_EQ(d.clipped, 0) << name;
    EXPECT_TRUE(std::isnan(d.sqnr)) << name;
  }
}

TEST(DecideFromTable, PercentilesAreThoseThatWereRecorded) {
  const PercentileTable table = table_from(bucket(logistic_percentiles()));
  const auto hi = [&](const char* policy) {
    return decide_from_table(Policy::parse(policy), "llm", table, {}).hi;
  };
  EXPECT_EQ(hi("percentile:99.9"), *table.find(99.9));
  EXPECT_EQ(hi("percentile:0.999"), *table.find(99.9));
  EXPECT_EQ(hi("percentile:0.9999"), *table.find(99.99));
  EXPECT_THAT(message_of([&] { hi("percentile"); }),
              AllOf(HasSubstr("llm: expected the percentile p99.95"), HasSubstr("only p25, p50"),
                    HasSubstr("no counts"), HasSubstr("--policy percentile:99.9")));
  EXPECT_THAT(message_of([&] { hi("tail:99.5"); }), HasSubstr("p99.5"));
}

TEST(DecideFromTable, PoliciesThatNeedTheShapeAreRefused) {
  const PercentileTable table = table_from(bucket(logistic_percentiles()));
  for (const char* name : {"auto", "mse", "entropy"}) {
    EXPECT_THAT(message_of([&] { decide_from_table(Policy::parse(name), "projector", table, {}); }),
                AllOf(HasSubstr("projector: "), HasSubstr(name),
                      HasSubstr("shape of the distribution"), HasSubstr("collect with scute")));
  }
}

TEST(DecideFromTable, ShiftedDataKeepsItsLowerSide) {
  // Logistic around −10: |p99| = 5.4 would keep the few values above −5.4 and clip all others.
  const PercentileTable table = table_from(bucket(logistic_percentiles(-10), -22, 3));
  const Decision d = decide_from_table(Policy::parse("tail"), "vision.dino", table, {});
  EXPECT_EQ(d.lo, -22);
  EXPECT_EQ(d.hi, 3);
  EXPECT_THAT(d.remark,
              AllOf(HasSubstr("keeps its minimum"), HasSubstr("above 90 % of the values")));
  EXPECT_THAT(d.remark, Not(HasSubstr("below lo is not known")));
}

TEST(DecideFromTable, MissingPercentilesNameBucketCauseAndRemedy) {
  const auto says = [](Dict percentiles) {
    const PercentileTable table = table_from(bucket(std::move(percentiles)));
    return message_of([&] { decide_from_table(Policy::parse("tail"), "vision.dino", table, {}); });
  };
  EXPECT_THAT(
      says(without(logistic_percentiles(), "p99.999")),
      AllOf(HasSubstr("vision.dino: "), HasSubstr("no p99.999"), HasSubstr("was not recorded"),
            HasSubstr("collect again"), HasSubstr("--percentile-override")));
  EXPECT_THAT(says(set(logistic_percentiles(), "p99.999", number(kNaN))),
              AllOf(HasSubstr("vision.dino: "), HasSubstr("NaN or infinity at p99.999"),
                    HasSubstr("not finite"), HasSubstr("collect again")));
  const PercentileTable never{};
  EXPECT_THAT(message_of([&] { decide_from_table(Policy::parse("minmax"), "llm", never, {}); }),
              AllOf(HasSubstr("llm: "), HasSubstr("never recorded"), HasSubstr("--targets llm")));
}

TEST(DecideFromTable, ConstantAndSpreadlessBucketsSaySo) {
  const PercentileTable constant{3, 3, 10, {{25, 3}, {50, 3}, {75, 3}, {99, 3}}, ""};
  const Decision d = decide_from_table(Policy::parse("percentile:99"), "llm", constant, {});
  EXPECT_THAT(d.remark, AllOf(HasSubstr("every value is 3 (S = 0)"), HasSubstr("constant slice"),
                              HasSubstr("collect more batches")));
  EXPECT_EQ(d.coverage, 1);
  const PercentileTable sparse{0, 9, 10, {{25, 0}, {50, 0}, {75, 0}, {99, 5}}, ""};
  EXPECT_THAT(decide_from_table(Policy::parse("percentile:99"), "llm", sparse, {}).remark,
              AllOf(HasSubstr("S = 0"), HasSubstr("--policy minmax")));
}

TEST(CoverageBounds, HoldForTheValuesTheyWereMadeFrom) {
  Random random(7);
  std::vector<float> values(4000);
  for (float& value : values) value = static_cast<float>(random.normal() - 0.5);
  std::ranges::sort(values);
  PercentileTable table{
      static_cast<double>(values.front()), static_cast<double>(values.back()), 4000, {}, ""};
  for (const double p : {1.0, 25.0, 50.0, 75.0, 90.0, 99.0, 99.9}) {
    const auto rank = static_cast<size_t>(std::ceil(p * 40 - 1e-9));
    table.percentiles.emplace_back(p, static_cast<double>(values[rank - 1]));
  }
  for (double lo = -5; lo <= 0; lo += 0.25) {
    for (double hi = 0; hi <= 4; hi += 0.25) {
      const auto inside = std::ranges::count_if(values, [&](float v) {
        return static_cast<double>(v) >= lo && static_cast<double>(v) <= hi;
      });
      const double share = static_cast<double>(inside) / 4000;
      const CoverageBounds bounds = coverage_bounds(table, lo, hi);
      // 1e-12: shares are quotients of small whole numbers.
      EXPECT_LE(bounds.least, share + 1e-12) << lo << " " << hi;
      EXPECT_GE(bounds.most, share - 1e-12) << lo << " " << hi;
    }
  }
  // A bound that says something: at p99.9 and p1, 98.9 % at least.
  EXPECT_NEAR(coverage_bounds(table, *table.find(1), *table.find(99.9)).least, 0.989, 1e-12);
}

TEST(PlanFromTables, DecidesEveryBucketAndIsReadBack) {
  Dict root{{"vision.dino", TorchValue{bucket(logistic_percentiles())}},
            {"llm", TorchValue{bucket(logistic_percentiles())}}};
  const PercentileTables tables = percentile_tables_of(TorchValue{root}, "s.pt");
  PlanOptions options;
  options.policy = Policy::parse("tail");
  options.per_site = {{"llm", Policy::parse("minmax")}};
  Plan plan = plan_from_tables(tables, options);
  plan.meta = table_meta(tables, "abc");
  const Json json = plan.to_json();
  EXPECT_TRUE(json.at("vision.dino", "").at("coverage", "").is_null());
  EXPECT_TRUE(json.at("vision.dino", "").at("clipped", "").is_null());
  EXPECT_EQ(json.at("vision.dino", "").find("sqnr_db"), nullptr);
  EXPECT_EQ(json.at("llm", "").at("coverage", "").as_double(""), 1);
  EXPECT_EQ(json.dump().find("NaN"), std::string::npos);
  const Plan back = Plan::from_json(Json::parse(json.dump(), "p"), "p");
  EXPECT_TRUE(std::isnan(back.sites.at("vision.dino").coverage));
  EXPECT_TRUE(std::isnan(back.sites.at("llm").sqnr));
  EXPECT_EQ(back.to_json().dump(), json.dump());
  options.per_site = {{"vision.sig*", Policy::parse("minmax")}};
  EXPECT_THAT(message_of([&] { plan_from_tables(tables, options); }), HasSubstr("vision.sig*"));
}

TEST(PlanFromTables, AllThatCannotBeDecidedIsNamedAtOnce) {
  const TorchValue short_one{observer("llm", without(logistic_percentiles(), "p99.99"))};
  const TorchValue good{observer("projector", logistic_percentiles())};
  const PercentileTables tables = percentile_tables_of(
      collected({{"llm", short_one}, {"projector", good}}, {"llm", "vision.siglip"}), "s.pt");
  PlanOptions options;
  options.policy = Policy::parse("tail");
  EXPECT_THAT(message_of([&] { plan_from_tables(tables, options); }),
              AllOf(HasSubstr("s.pt: 2 of 3 buckets"), HasSubstr("llm: "), HasSubstr("p99.99"),
                    HasSubstr("vision.siglip: "), HasSubstr("--targets llm,projector")));
}

TEST(TableOf, AgreesWithTheStatistic) {
  Random random(3);
  std::vector<float> values(100000);
  for (float& value : values) value = static_cast<float>(random.normal());
  const Statistic statistic = statistic_of(values);
  const PercentileTable table = table_of(statistic);
  EXPECT_EQ(table.percentiles.size(), 13u);
  EXPECT_EQ(*table.find(99.9), Distribution(statistic).quantile(0.999));
  // The tail rules pick the same from the table as from the counts.
  const Decision counted = decide(Policy::parse("tail"), "llm", statistic, {});
  const Decision told = decide_from_table(Policy::parse("tail"), "llm", table, {});
  EXPECT_EQ(told.percentile, counted.percentile);
  EXPECT_THAT(counted.because, HasSubstr("tail rule 1"));
}

TEST(Buckets, WithoutFiniteValuesNameCauseAndRemedy) {
  StatisticsSet set;
  set.sites.emplace("vision.siglip", statistic_of(std::vector<float>{}));
  set.sites.emplace("vision.dino", statistic_of(std::vector<float>{1, NAN}));
  set.sites.emplace("llm", statistic_of(std::vector<float>{2, 2}));
  set.sites.emplace("layer_0.in_proj:input", statistic_of(std::vector<float>{NAN}));
  EXPECT_THAT(message_of([&] { check_buckets(set, false); }),
              AllOf(HasSubstr("vision.siglip: "), HasSubstr("never recorded"),
                    HasSubstr("--targets vision.siglip"), HasSubstr("vision.dino: "),
                    HasSubstr("1 NaN"), HasSubstr("--allow-nonfinite"), Not(HasSubstr("layer_0"))));
  EXPECT_THAT(message_of([&] { check_buckets(set, true); }), Not(HasSubstr("vision.dino: ")));
  Plan plan;
  plan.sites["llm"] = decide(Policy::parse("tail"), "llm", set.sites.at("llm"), {});
  add_spread_remarks(set, plan);
  EXPECT_THAT(plan.sites.at("llm").remark, HasSubstr("collect more batches"));
}

}  // namespace
}  // namespace scute::percentile_tables_test
