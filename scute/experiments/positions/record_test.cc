#include "scute/experiments/positions/record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "scute/experiments/difference.h"
#include "scute/io/testing.h"

namespace scute::record_test {
namespace {

using ::testing::HasSubstr;

struct Evaluated {
  explicit Evaluated(RegressorFlags flags, bool sensitivity = false)
      : checkpoint(read_regressor_checkpoint("tests/golden/regressor/slim_dwconv.pt")) {
    options.features = "tests/golden/regressor_features";
    options.flags = flags;
    options.sensitivity = sensitivity;
    evaluation = evaluate_regressor(checkpoint, options);
  }
  Json json() const { return evaluation_json(checkpoint, options, evaluation); }
  Json record(const std::string& model_sha256 = "ab") const {
    return evaluation_record(facts(model_sha256));
  }
  EvaluationFacts facts(const std::string& model_sha256 = "ab") const {
    return position_facts(checkpoint, options, evaluation, model_sha256, "");
  }

  RegressorCheckpoint checkpoint;
  RegressorEvalOptions options;
  RegressorEvaluation evaluation;
};

TEST(PositionRecord, HasTheKeysOfTheLog) {
  const Json record = Evaluated({.bits = 8}).record();
  for (const char* key :
       {"timestamp", "command", "config", "activation_stats", "reorder_summary", "results",
        "activation_data_file", "id", "hashes", "machine", "version", "timing", "files"}) {
    EXPECT_NE(record.find(key), nullptr) << key;
  }
  EXPECT_EQ(record.at("config", "").at("w_bits", "").as_int(""), 8);
  EXPECT_EQ(record.at("activation_stats", "").as_object("").size(), 7U);
  const Json& proj = record.at("activation_stats", "").at("proj:input", "");
  const double kept = proj.at("after_percentile", "").at("max", "").as_double("");
  const double seen = std::max(proj.at("before_percentile", "").at("max", "").as_double(""),
                               -proj.at("before_percentile", "").at("min", "").as_double(""));
  EXPECT_NEAR(kept, 1.25 * seen, 1e-5 * seen);  // maxabs with its headroom; the scale is a float
}

TEST(PositionRecord, TheIdSaysWhatDecidesTheResult) {
  const auto id = [](const Evaluated& e, const std::string& model) {
    return e.record(model).at("id", "").as_string("");
  };
  const Evaluated eight({.bits = 8}), sixteen({.bits = 16});
  EXPECT_EQ(id(eight, "ab"), id(Evaluated({.bits = 8}), "ab"));
  EXPECT_NE(id(eight, "ab"), id(sixteen, "ab"));
  EXPECT_NE(id(eight, "ab"), id(eight, "cd"));
}

TEST(PositionRecord, FloatsAloneHaveNoRangesAndNoBaseline) {
  const Json record = Evaluated({}).record();
  EXPECT_TRUE(record.at("activation_stats", "").as_object("").empty());
  const Json& task = record.at("results", "").at("tasks", "").at("positions", "");
  EXPECT_TRUE(task.at("baseline", "").is_null());
  EXPECT_EQ(record.at("config", "").at("w_bits", "").as_int(""), 32);
}

TEST(PositionRecord, TwoOfTheSameWindowsAreComparedWindowByWindow) {
  const fixtures::Folder folder;
  const std::string path = folder / "log.jsonl";
  log_evaluation(path, Evaluated({.bits = 16}).facts());
  log_evaluation(path, Evaluated({.bits = 8}).facts());
  const ExperimentLog log = read_log(path);
  ASSERT_EQ(log.entries.size(), 2u);
  const auto all = compare_results(log.entries[0], log.entries[1], log.folder());
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].metric.name, "position_error");
  EXPECT_TRUE(all[0].paired);
  EXPECT_TRUE(all[0].ratio);
  EXPECT_NEAR(all[0].difference, all[0].b / all[0].a - 1, 1e-6);
  // Without the items the two standard errors alone say less.
  std::filesystem::remove_all(folder / "items");
  const auto alone = compare_results(log.entries[0], log.entries[1], log.folder());
  EXPECT_FALSE(alone.at(0).paired);
  EXPECT_GT(alone[0].standard_error, all[0].standard_error);
}

TEST(PositionRecord, TablesHaveEveryLayerAndSite) {
  const Evaluated e({.bits = 8}, true);
  const std::vector<PageTable> tables = diagnosis_tables(e.evaluation);
  ASSERT_EQ(tables.size(), 3U);
  EXPECT_EQ(tables[0].rows.size(), e.evaluation.diagnosis->layers.size());
  EXPECT_EQ(tables[1].rows.size(), e.evaluation.diagnosis->divergence.size());
  EXPECT_EQ(tables[2].rows.size(), 2 * tables[0].rows.size());
  for (const PageTable& table : tables) {
    for (const auto& row : table.rows) EXPECT_EQ(row.size(), table.header.size());
  }
  EXPECT_EQ(e.json().at("sensitivity", "").as_array("").size(), tables[2].rows.size());
}

}  // namespace
}  // namespace scute::record_test
