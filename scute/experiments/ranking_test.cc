#include "scute/experiments/ranking.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <list>

namespace scute::ranking_test {
namespace {

using testing::ElementsAre;

/// Experiments with perplexity ± 1, and an accuracy unless it is negative.
class Entries {
 public:
  const LogEntry* add(const char* model, double perplexity, double accuracy = -1) {
    LogEntry& entry = entries_.emplace_back();
    entry.number = static_cast<int64_t>(entries_.size());
    entry.config["model"] = model;
    entry.hashes["model"] = fmt::format("hash of {}", model);
    Json& task = entry.results["tasks"]["perplexity"];
    task["perplexity"] = perplexity;
    task["perplexity_stderr"] = 1;
    task["mean_nll_stderr"] = 1 / perplexity;
    task["n"] = 64;
    if (accuracy >= 0) entry.results["accuracy"] = accuracy;
    all.push_back(&entry);
    return &entry;
  }
  LogEntry& last() { return entries_.back(); }

  std::vector<const LogEntry*> all;

 private:
  std::list<LogEntry> entries_;
};

std::vector<int64_t> numbers(const Ranking& ranking) {
  std::vector<int64_t> out;
  for (const RankedExperiment& ranked : ranking.experiments) out.push_back(ranked.entry->number);
  return out;
}

TEST(Ranking, EachModelHasItsOwnBestFirst) {
  Entries entries;
  entries.add("a", 30);
  entries.add("b", 20);
  entries.add("a", 28);
  entries.add("a", 29);
  const auto rankings = rank_experiments(entries.all, "");
  ASSERT_EQ(rankings.size(), 2u);
  EXPECT_EQ(rankings[0].model, "a");
  EXPECT_THAT(numbers(rankings[0]), ElementsAre(3, 4, 1));
  EXPECT_THAT(numbers(rankings[1]), ElementsAre(2));
  EXPECT_TRUE(rankings[0].experiments[0].against_best.empty());
  ASSERT_EQ(rankings[0].experiments[2].against_best.size(), 1u);
  EXPECT_NEAR(rankings[0].experiments[2].against_best[0].difference, 30.0 / 28 - 1, 1e-12);
}

TEST(Ranking, PValuesAreCorrectedForTheNumberOfQuestions) {
  // Unpaired: z of 28 against 31.2 with errors of 1/28 and 1/31.2 in log perplexity is
  // ln(31.2/28)/√(28⁻² + 31.2⁻²) = 2.25, p = 0.024; one of three questions, so 0.073.
  Entries one, three;
  for (Entries* entries : {&one, &three}) {
    entries->add("a", 28);
    entries->add("a", 31.2);
  }
  three.add("a", 28.1);
  three.add("a", 28.2);
  const auto alone = rank_experiments(one.all, "")[0].experiments.back().against_best[0];
  const auto many = rank_experiments(three.all, "")[0].experiments.back().against_best[0];
  EXPECT_LT(alone.p, 0.05);
  EXPECT_EQ(alone.verdict, Difference::Verdict::worse);
  EXPECT_NEAR(many.p, 3 * alone.p, 1e-12);
  EXPECT_EQ(many.verdict, Difference::Verdict::noise);
}

TEST(Ranking, WithoutPerplexityEverywhereAccuracyDecides) {
  Entries entries;
  entries.add("a", 30, 0.4);
  entries.add("a", 28, 0.5);
  entries.add("a", 10, 0.45);
  entries.last().results["tasks"] = Json();
  const auto rankings = rank_experiments(entries.all, "");
  EXPECT_EQ(rankings[0].metric, "accuracy");
  EXPECT_THAT(numbers(rankings[0]), ElementsAre(2, 3, 1));
}

TEST(Ranking, TheFloatModelIsTheReferenceBehindTheOthers) {
  Entries entries;
  entries.add("a", 25);
  entries.last().config["w_bits"] = 16;
  entries.last().config["a_bits"] = 16;
  entries.add("a", 30);
  entries.add("a", 28);
  const auto ranking = rank_experiments(entries.all, "")[0];
  EXPECT_THAT(numbers(ranking), ElementsAre(3, 2, 1));
  EXPECT_NEAR(ranking.experiments[2].against_best[0].difference, 25.0 / 28 - 1, 1e-12);
}

TEST(Ranking, StatisticsAloneKeepTheirOrder) {
  Entries entries;
  for (int i = 0; i < 3; ++i) {
    entries.add("a", 30);
    entries.last().results = Json::object();
  }
  const auto rankings = rank_experiments(entries.all, "");
  EXPECT_THAT(numbers(rankings[0]), ElementsAre(1, 2, 3));
  EXPECT_TRUE(rankings[0].experiments[2].against_best.empty());
}

TEST(SettingText, SaysWhatDiffersBetweenExperiments) {
  LogEntry entry;
  EXPECT_EQ(setting_text(entry), "W0A0");
  entry.config = Json::parse(
      R"({"w_bits": 4, "a_bits": 8, "policy": "quamba", "percentile_alpha": 0.9995,
          "apply_gptq": true, "group_heads": true})",
      "");
  EXPECT_EQ(setting_text(entry), "W4A8 gptq grouped quamba 0.9995");
  entry.config = Json::parse(R"({"w_bits": 16, "a_bits": 16})", "");
  EXPECT_EQ(setting_text(entry), "float");
  entry.config = Json::parse(R"({"w_bits": 8, "a_bits": 8, "percentile_alpha": 1.0})", "");
  EXPECT_EQ(setting_text(entry), "W8A8 1.0");
}

}  // namespace
}  // namespace scute::ranking_test
