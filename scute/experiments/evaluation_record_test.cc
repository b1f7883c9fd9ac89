#include "scute/experiments/evaluation_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "scute/evaluate/metrics.h"
#include "scute/experiments/difference.h"
#include "scute/experiments/log.h"
#include "scute/experiments/run_record.h"
#include "scute/io/testing.h"

namespace scute::evaluation_record_test {
namespace {

/// Errors of windows 0, 1, …
EvaluationFacts facts_of(const std::vector<double>& errors, const std::string& model) {
  EvaluationFacts out;
  out.key["model"] = model;
  out.config["model"] = "path/of/" + model;
  out.hashes["model"] = model;
  std::vector<ScoredItem> items;
  for (const double error : errors) {
    Json line;
    line["kind"] = "position";
    line["index"] = std::ssize(items);
    line["error"] = error;
    out.items += line.dump() + "\n";
    items.push_back({std::to_string(items.size()), error});
  }
  out.score = {score_of_items(position_error(), std::move(items),
                              {{"sha256", "ab", ""}, {"n", std::ssize(errors), ""}})};
  return out;
}

TEST(EvaluationRecord, TheIdIsOfTheKeyAlone) {
  EvaluationFacts one = facts_of({1, 2}, "a"), two = facts_of({1, 2}, "a");
  two.config["model"] = "elsewhere";
  two.command = "another";
  EXPECT_EQ(evaluation_record(one).at("id", ""), evaluation_record(two).at("id", ""));
  two.key["model"] = "b";
  EXPECT_NE(evaluation_record(one).at("id", ""), evaluation_record(two).at("id", ""));
}

TEST(EvaluationRecord, ItemsLieBesideTheLogAndArePaired) {
  const fixtures::Folder folder;
  const std::string path = folder / "deep/log.jsonl";
  log_evaluation(path, facts_of({1, 2, 4, 8, 16, 32}, "a"));
  log_evaluation(path, facts_of({1.1, 2.2, 4.4, 8.8, 17.6, 35.2}, "b"));
  const ExperimentLog log = read_log(path);
  ASSERT_EQ(log.entries.size(), 2u);
  const auto all = compare_results(log.entries[0], log.entries[1], log.folder());
  ASSERT_EQ(all.size(), 1u);
  // A tenth worse everywhere: no spread but that of the last bit, which is no error; six signs.
  EXPECT_TRUE(all[0].paired);
  EXPECT_NEAR(all[0].difference, 0.1, 1e-12);
  EXPECT_TRUE(std::isnan(all[0].standard_error));
  EXPECT_NEAR(all[0].p, 1.0 / 32, 1e-12);
  EXPECT_EQ(all[0].verdict, Difference::Verdict::worse);
}

TEST(EvaluationRecord, WithoutItemsThereIsNoFileOfThem) {
  EvaluationFacts facts = facts_of({1, 2}, "a");
  facts.items.clear();
  EXPECT_TRUE(evaluation_record(facts).at("files", "").at("items", "").is_null());
}

TEST(FolderConfig, SaysBitsAndOptionsOfTheRecipe) {
  const fixtures::Folder folder;
  EXPECT_EQ(folder_config(folder.path(), "cobra", "f32", "integer").at("w_bits", "").as_int(""),
            16);
  fixtures::put(folder / "recipe.json",
                R"({"options":{"format":"W4A8","gptq":true,"group_size":64,"model_kind":"x"}})");
  const Json config = folder_config(folder.path(), "cobra", "bf16", "simulate");
  EXPECT_EQ(config.at("w_bits", "").as_int(""), 4);
  EXPECT_EQ(config.at("a_bits", "").as_int(""), 8);
  EXPECT_TRUE(config.at("apply_gptq", "").as_bool(""));
  EXPECT_EQ(config.at("group_size", "").as_int(""), 64);
  EXPECT_EQ(config.at("model_kind", "").as_string(""), "cobra");
  EXPECT_EQ(config.at("compute", "").as_string(""), "bf16");
}

}  // namespace
}  // namespace scute::evaluation_record_test
