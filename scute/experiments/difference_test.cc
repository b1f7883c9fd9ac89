#include "scute/experiments/difference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "scute/base/random.h"
#include "scute/evaluate/metrics.h"
#include "scute/io/testing.h"
#include "scute/language/scoring.h"

namespace scute::difference_test {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;
using Verdict = Difference::Verdict;

/// What a test may give an experiment.
struct Made {
  std::string name;
  std::vector<WindowScore> windows = {};
  std::vector<LastWordScore> words = {};
  bool items = true;  ///< written beside the log
};

/// The record of such an experiment, as far as comparing reads it.
LogEntry experiment(const fixtures::Folder& folder, Made made) {
  LogEntry entry;
  entry.id = made.name;
  Scores scores;
  Json tasks = Json::object();
  const auto n = static_cast<int64_t>(std::max(made.windows.size(), made.words.size()));
  if (!made.windows.empty()) {
    scores.perplexity = summarize(std::move(made.windows));
    Json task;
    task["perplexity"] = scores.perplexity->perplexity;
    task["perplexity_stderr"] = scores.perplexity->perplexity * scores.perplexity->standard_error;
    for (const char* key : {"window", "stride", "context"}) task[key] = 512;
    task["n"] = static_cast<int64_t>(scores.perplexity->windows.size());
    task["predictions"] = scores.perplexity->predictions;
    task["file"] = "held.txt";
    task["sha256"] = "cd34";
    tasks["perplexity"] = task;
  }
  if (!made.words.empty()) {
    scores.last_word = summarize(std::move(made.words));
    Json task;
    task["accuracy"] = scores.last_word->accuracy;
    task["accuracy_stderr"] = scores.last_word->accuracy_error;
    task["perplexity"] = scores.last_word->perplexity;
    task["perplexity_stderr"] = scores.last_word->perplexity_error;
    task["n"] = static_cast<int64_t>(scores.last_word->items.size());
    task["file"] = "words.jsonl";
    task["sha256"] = "ab12";
    task["max_context"] = 2048;
    tasks["last_word"] = task;
  }
  entry.results["tasks"] = tasks;
  entry.files["items"] = made.name;
  const std::vector<LastWordItem> passages(static_cast<size_t>(n), {{1, 2}, 1});
  if (made.items) fixtures::put(folder / made.name, items_text(scores, passages));
  return entry;
}

/// Windows whose nll per prediction is 3 plus noise of size 1 of their own, which both sides share,
/// plus `shift`, plus noise of size `own` that depends on `seed`.
std::vector<WindowScore> windows(int64_t n, double shift, double own, uint64_t seed) {
  Random common(7), random(seed);
  std::vector<WindowScore> out;
  for (int64_t i = 0; i < n; ++i) {
    out.push_back({i * 512, 511, 511 * (5 + common.normal() + shift + own * random.normal())});
  }
  return out;
}

std::vector<LastWordScore> words(int64_t n, double chance, uint64_t seed) {
  Random random(seed);
  std::vector<LastWordScore> out;
  for (int64_t i = 0; i < n; ++i) out.push_back({random.uniform() < chance, 2 + random.normal()});
  return out;
}

Difference only(const std::vector<Difference>& all) {
  EXPECT_THAT(all, SizeIs(1));
  return all.at(0);
}

TEST(Student, MatchesPublishedTables) {
  // Two-sided critical values of any table of Student's distribution, printed with 3 decimals:
  // p changes by at most 0.0005·density < 0.0002 there.
  struct {
    double t, freedom, p;
  } table[] = {{12.706, 1, 0.05}, {2.262, 9, 0.05},   {3.250, 9, 0.01},   {2.042, 30, 0.05},
               {1.833, 9, 0.10},  {1.960, 1e6, 0.05}, {2.576, 1e9, 0.01}, {636.62, 1, 0.001}};
  for (const auto& row : table) {
    EXPECT_NEAR(student_p(row.t, row.freedom), row.p, 2e-4) << row.t << " " << row.freedom;
    EXPECT_EQ(student_p(-row.t, row.freedom), student_p(row.t, row.freedom));
  }
}

TEST(Student, MatchesClosedFormsOfOneAndTwoDegrees) {
  for (const double t : {1e-9, 0.3, 1.0, 2.5, 40.0, 1e5}) {
    // ν = 1: 1 − (2/π)·atan t; ν = 2: 1 − t/√(2 + t²) (each rewritten without cancellation).
    EXPECT_NEAR(student_p(t, 1) / (2 / M_PI * std::atan2(1, t)), 1, 1e-12) << t;
    const double root = std::sqrt(2 + t * t);
    EXPECT_NEAR(student_p(t, 2) / (2 / (root * (root + t))), 1, 1e-12) << t;
  }
  EXPECT_EQ(student_p(0, 5), 1);
  EXPECT_EQ(student_p(INFINITY, 5), 0);
  EXPECT_EQ(student_p(NAN, 5), 1);
  EXPECT_EQ(student_p(3, 0), 1);
}

TEST(Difference, PairingFindsWhatStandardErrorsAloneHide) {
  const fixtures::Folder folder;
  const LogEntry a = experiment(folder, {"a", windows(64, 0, 0.01, 1)});
  LogEntry b = experiment(folder, {"b", windows(64, 0.02, 0.01, 2)});
  const Difference paired = only(compare_results(a, b, folder.path()));
  EXPECT_TRUE(paired.paired);
  EXPECT_EQ(paired.items, 64);
  EXPECT_EQ(paired.verdict, Verdict::worse);
  // Mean of 64 differences with standard deviation √2·0.01: 0.0018, five of them around e^0.02 − 1.
  EXPECT_NEAR(paired.difference, std::expm1(0.02), 5 * 0.0018);
  EXPECT_NEAR(paired.difference, paired.b / paired.a - 1, 1e-12);
  EXPECT_NEAR(paired.standard_error, 0.0018, 0.0006);
  EXPECT_FALSE(paired.items_needed);
  EXPECT_EQ(only(compare_results(b, a, folder.path())).verdict, Verdict::better);
  for (const char* bad : {"../a", "/etc/hostname", "missing", ""}) {
    b.files["items"] = bad;
    const Difference alone = only(compare_results(a, b, folder.path()));
    EXPECT_FALSE(alone.paired) << bad;
    EXPECT_EQ(alone.verdict, Verdict::noise);
    EXPECT_NEAR(alone.standard_error, std::sqrt(2.0 / 64), 0.06);  // two errors of 1/√64
    EXPECT_THAT(verdict_text(alone), HasSubstr("standard errors alone"));
  }
}

TEST(Difference, ItemsOutsideTheFolderOrOfOtherNumbersAreNotUsed) {
  const fixtures::Folder folder;
  std::filesystem::create_directory(folder / "log");
  const LogEntry a = experiment(folder, {"log/a", windows(8, 0, 0.01, 1)});
  LogEntry b = experiment(folder, {"log/b", windows(8, 0.02, 0.01, 2)});
  std::filesystem::copy(folder / "log/b", folder / "secret");
  EXPECT_TRUE(only(compare_results(a, b, folder.path())).paired);
  b.files["items"] = "../secret";  // exists, and would fit
  EXPECT_FALSE(only(compare_results(a, b, folder / "log")).paired);
  b.files["items"] = folder / "secret";
  EXPECT_FALSE(only(compare_results(a, b, folder.path())).paired);
  b.files["items"] = "log/a";  // another experiment's
  EXPECT_FALSE(only(compare_results(a, b, folder.path())).paired);
  fixtures::put(folder / "log/c", "{\"kind\":\"window\"");
  b.files["items"] = "log/c";
  EXPECT_FALSE(only(compare_results(a, b, folder.path())).paired);
}

TEST(Difference, IdenticalScoresAreTheSame) {
  const fixtures::Folder folder;
  const LogEntry a = experiment(folder, {"a", windows(20, 0, 0.1, 1), words(20, 0.5, 1)});
  const LogEntry b = experiment(folder, {"b", windows(20, 0, 0.1, 1), words(20, 0.5, 1)});
  const auto all = compare_results(a, b, folder.path());
  ASSERT_THAT(all, SizeIs(3));
  EXPECT_EQ(all[0].metric.name, "perplexity");
  EXPECT_EQ(all[1].metric.name, "accuracy");
  EXPECT_EQ(all[2].metric.name, "last_word_perplexity");
  for (const Difference& d : all) {
    EXPECT_EQ(d.verdict, Verdict::same);
    EXPECT_EQ(d.p, 1);
    EXPECT_FALSE(d.items_needed);
    EXPECT_THAT(verdict_text(d), HasSubstr("the same in all 20"));
  }
}

TEST(Difference, AccuracyIsMcNemarsTestOnPairs) {
  const fixtures::Folder folder;
  std::vector<LastWordScore> one, two;
  // 9 gained, 1 lost, 10 hit by both: p = 2·(1 + 10)/2^10.
  for (int i = 0; i < 20; ++i) {
    one.push_back({i == 0 || i >= 10, 1});
    two.push_back({i != 0, 1.5});
  }
  const LogEntry a = experiment(folder, {"a", {}, one}), b = experiment(folder, {"b", {}, two});
  const auto all = compare_results(a, b, folder.path());
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_NEAR(all[0].p, 22.0 / 1024, 1e-12);
  EXPECT_NEAR(all[0].difference, 0.4, 1e-12);
  EXPECT_EQ(all[0].verdict, Verdict::better);
  EXPECT_EQ(verdict_text(all[0]), "better (p = 0.021)");
  // Every passage is 0.5 worse, without any spread.
  EXPECT_NEAR(all[1].difference, std::expm1(0.5), 1e-12);
  EXPECT_TRUE(std::isnan(all[1].standard_error));
  EXPECT_NEAR(all[1].p, std::ldexp(2.0, -20), 1e-12);  // twenty signs
  EXPECT_EQ(verdict_text(all[1]), "worse (p < 0.001)");
}

TEST(Difference, OtherItemsAreNotCompared) {
  const fixtures::Folder folder;
  const Made made{"a", windows(8, 0, 0.01, 1), words(8, 0.5, 1)};
  const LogEntry a = experiment(folder, made);
  const auto expect = [&](const char* task, const char* key, const Json& value, const char* why) {
    LogEntry b = experiment(folder, made);
    b.results["tasks"][task][key] = value;
    int refused = 0;
    for (const Difference& d : compare_results(a, b, folder.path())) {
      const bool of_task = (d.metric.name == "perplexity") == (std::string(task) == "perplexity");
      EXPECT_EQ(d.verdict == Verdict::not_comparable, of_task) << task << " " << key;
      if (!of_task) continue;
      ++refused;
      EXPECT_THAT(d.because, HasSubstr(why));
      EXPECT_FALSE(d.items_needed);
    }
    EXPECT_GT(refused, 0);
  };
  expect("perplexity", "sha256", "other", "the file held.txt was changed");
  expect("perplexity", "window", 256, "other window: 512 and 256");
  expect("perplexity", "stride", 256, "other stride");
  expect("perplexity", "context", 2, "other context");
  expect("perplexity", "n", 9, "other number of items: 8 and 9");
  expect("perplexity", "predictions", 9, "other tokenizers");
  expect("last_word", "sha256", "other", "the file words.jsonl was changed");
  expect("last_word", "n", "8", "other number of items");
  expect("last_word", "max_context", 100, "other max_context");
  LogEntry b = experiment(folder, made);
  b.results["tasks"]["perplexity"]["sha256"] = "x";
  b.results["tasks"]["perplexity"]["file"] = "other.txt";
  EXPECT_THAT(verdict_text(compare_results(a, b, folder.path())[0]),
              HasSubstr("not comparable: other files: held.txt and other.txt"));
}

TEST(Difference, LogsOfOtherToolsAndNonsenseNeverCrash) {
  const fixtures::Folder folder;
  LogEntry a, b;
  EXPECT_THAT(compare_results(a, b, folder.path()), SizeIs(0));
  a.results = Json::parse(R"({"accuracy":0.43,"perplexity":18.6})", "a");
  b.results = Json::parse(R"({"accuracy":0.40,"perplexity":21.6})", "b");
  auto all = compare_results(a, b, folder.path());
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_NEAR(all[0].difference, -0.03, 1e-12);
  EXPECT_EQ(all[0].verdict, Verdict::not_comparable);
  EXPECT_THAT(all[0].because, HasSubstr("does not say"));
  for (const char* text :
       {"3", "{\"tasks\":[]}", "{\"accuracy\":\"x\",\"perplexity\":NaN,\"tasks\":{}}",
        "{\"tasks\":{\"perplexity\":{\"perplexity\":-1,\"n\":1}}}",
        "{\"tasks\":{\"perplexity\":{\"perplexity\":2,\"n\":1e300,\"perplexity_stderr\":1}}}",
        "{\"tasks\":{\"perplexity\":{\"perplexity\":2,\"n\":9,\"perplexity_stderr\":-1}}}",
        "{\"tasks\":{\"last_word\":{\"accuracy\":1,\"n\":9,\"accuracy_stderr\":0}}}"}) {
    a.results = b.results = Json::parse(text, "text");
    for (const Difference& d : compare_results(a, b, folder.path())) {
      EXPECT_TRUE(d.verdict == Verdict::not_comparable || d.verdict == Verdict::noise) << text;
      EXPECT_EQ(d.p, 1) << text;
    }
  }
}

TEST(Difference, EqualModelsAreToldApartInOneOfTwentyCases) {
  const fixtures::Folder folder;
  constexpr int kRepeats = 1000;
  int ratios = 0, hits = 0;
  for (uint64_t i = 0; i < kRepeats; ++i) {
    const LogEntry a =
        experiment(folder, {"a", windows(6, 0, 0.1, 2 * i + 1), words(40, 0.4, 2 * i + 1)});
    const LogEntry b =
        experiment(folder, {"b", windows(6, 0, 0.1, 2 * i + 2), words(40, 0.4, 2 * i + 2)});
    const auto all = compare_results(a, b, folder.path());
    ratios += all.at(0).p < 0.05 ? 1 : 0;
    hits += all.at(1).p < 0.05 ? 1 : 0;
  }
  // Six windows: Student's t gives 5 %; the normal distribution would give 10.7 %. Standard error
  // of the share: √(0.05·0.95/1000) = 0.7 %; four of them.
  EXPECT_NEAR(ratios, 50, 28);
  EXPECT_LE(hits, 50 + 28);  // McNemar's exact test rejects at most so often
  EXPECT_GT(hits, 5);
}

TEST(Difference, ItemsNeededFindTheDifferenceInFourOfFiveRepetitions) {
  const fixtures::Folder folder;
  // A difference of exactly 0.01 with deviation exactly 0.1: n = (2.8016·0.1/0.01)² = 784.9.
  std::vector<WindowScore> one, two;
  for (int64_t i = 0; i < 100; ++i) {
    one.push_back({i, 1, 3});
    two.push_back({i, 1, 3.01 + (i % 2 == 0 ? 0.1 : -0.1) * std::sqrt(0.99)});
  }
  const Difference d = only(compare_results(experiment(folder, {"a", one}),
                                            experiment(folder, {"b", two}), folder.path()));
  ASSERT_EQ(d.verdict, Verdict::noise);
  ASSERT_TRUE(d.items_needed);
  EXPECT_NEAR(static_cast<double>(*d.items_needed), 785, 1);
  EXPECT_EQ(verdict_text(d),
            "no more than noise (p = 0.32): about 790 windows would tell");  // t = 1, 99 degrees
  int found = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    const LogEntry a = experiment(folder, {"a", windows(*d.items_needed, 0, 0, 1)});
    const LogEntry b = experiment(folder, {"b", windows(*d.items_needed, 0.01, 0.1, seed)});
    found += only(compare_results(a, b, folder.path())).verdict == Verdict::worse ? 1 : 0;
  }
  EXPECT_NEAR(found / 400.0, 0.8, 0.08);  // standard error √(0.8·0.2/400) = 0.02
}

TEST(Difference, HolmsCorrectionAdjustsInOrderAndKeepsTheOrder) {
  // By hand: sorted 0.01 0.02 0.03 0.04 (times 4 3 2 1) → 0.04 0.06 0.06 0.06.
  const auto made = [](double p, Verdict verdict) {
    Difference d;
    d.metric = last_word_accuracy();
    d.difference = 0.02;
    d.standard_error = 0.02 / 2.2;
    d.items = 100;
    d.p = p;
    d.verdict = verdict;
    return d;
  };
  Difference a = made(0.03, Verdict::better), b = made(0.01, Verdict::better),
             c = made(0.04, Verdict::better), d = made(0.02, Verdict::better),
             e = made(1, Verdict::not_comparable);
  adjust_for_many({&a, &b, &c, &d, &e});
  EXPECT_NEAR(b.p, 0.04, 1e-15);
  for (const Difference* one : {&a, &c, &d}) {
    EXPECT_NEAR(one->p, 0.06, 1e-15);
    EXPECT_EQ(one->verdict, Verdict::noise);
    ASSERT_TRUE(one->items_needed);
    EXPECT_GT(*one->items_needed, 100);
  }
  EXPECT_EQ(b.verdict, Verdict::better);
  EXPECT_EQ(e.verdict, Verdict::not_comparable);
  // The third of four is asked at 0.05/2: 100·((2.2414 + 0.8416)/2.2)² = 196.4.
  EXPECT_EQ(*a.items_needed, 197);
  adjust_for_many({});
}

}  // namespace
}  // namespace scute::difference_test
