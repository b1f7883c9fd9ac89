#include "scute/experiments/mlflow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "scute/io/testing.h"

namespace scute::mlflow_test {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

LogEntry entry(int64_t number, const std::string& config, const std::string& results = "{}") {
  LogEntry out;
  out.number = number;
  out.id = "0123456789ab";
  out.timestamp = "2026-11-21 11:02:03";
  out.command = "scute run\nM";
  out.config = Json::parse(config, "config");
  out.results = Json::parse(results, "results");
  return out;
}

/// Path below `folder` to content, of every file.
std::map<std::string, std::string> files_of(const std::string& folder) {
  std::map<std::string, std::string> out;
  for (const auto& file : fs::recursive_directory_iterator(folder)) {
    if (file.is_regular_file()) {
      out[fs::relative(file.path(), folder).string()] = fixtures::get(file.path().string());
    }
  }
  return out;
}

struct Store {
  fixtures::Folder folder;
  ExperimentLog log;

  MlflowExport write(const std::vector<LogEntry>& entries) {
    std::vector<const LogEntry*> pointers;
    for (const LogEntry& one : entries) pointers.push_back(&one);
    log.path = "logs/percentile_experiments.jsonl";
    return write_mlflow(folder.path(), log, pointers,
                        [](const std::string&) { return int64_t{1795258923000}; });
  }
};

TEST(Mlflow, HasTheLayoutOfAFileStore) {
  Store store;
  const MlflowExport done = store.write(
      {entry(7, R"({"model":"a/tiny","percentile_alpha":null,"nested":{"x":1.5}})",
             R"({"accuracy":0.5,"tasks":{"perplexity":{"perplexity":27.25,"n":64}}})")});
  EXPECT_EQ(done.runs, 1);
  EXPECT_EQ(done.experiment_name, "scute percentile_experiments");
  EXPECT_THAT(done.experiment_id, ::testing::MatchesRegex("[0-9]{15,19}"));
  auto files = files_of(store.folder.path());
  EXPECT_THAT(files["0/meta.yaml"], HasSubstr("experiment_id: \"0\""));
  const std::string meta = files[done.experiment_id + "/meta.yaml"];
  EXPECT_THAT(meta, HasSubstr("name: \"scute percentile_experiments\"\n"));
  EXPECT_THAT(meta, HasSubstr("lifecycle_stage: active\n"));
  std::string run;
  for (const auto& [name, text] : files) {
    const size_t at = name.find("/params/model");
    if (at != std::string::npos) run = name.substr(0, at);
  }
  const std::string id = run.substr(run.find('/') + 1);
  EXPECT_THAT(id, ::testing::MatchesRegex("[0-9a-f]{32}"));
  EXPECT_EQ(files[run + "/params/model"], "a/tiny");
  EXPECT_EQ(files[run + "/params/percentile_alpha"], "null");
  EXPECT_EQ(files[run + "/params/nested.x"], "1.5");
  EXPECT_EQ(files[run + "/metrics/accuracy"], "1795258923000 0.5 0\n");
  EXPECT_EQ(files[run + "/metrics/perplexity"], "1795258923000 27.25 0\n");
  EXPECT_EQ(files[run + "/tags/scute.id"], "0123456789ab");
  EXPECT_EQ(files[run + "/tags/mlflow.source.name"], "scute run M");
  EXPECT_TRUE(fs::is_directory(store.folder / (run + "/artifacts")));
  const std::string of_run = files[run + "/meta.yaml"];
  for (const std::string& line :
       {"run_id: \"" + id + "\"\n", "run_uuid: \"" + id + "\"\n", std::string("status: 3\n"),
        "experiment_id: \"" + done.experiment_id + "\"\n", std::string("run_name: \"7 tiny\"\n"),
        std::string("end_time: 1795258923000\n")}) {
    EXPECT_THAT(of_run, HasSubstr(line));
  }
}

TEST(Mlflow, WritingTwiceChangesNothingAndAddsWhatIsNew) {
  Store store;
  const LogEntry one = entry(1, R"({"model":"m"})"), two = entry(2, R"({"model":"m"})");
  store.write({one});
  const auto before = files_of(store.folder.path());
  MlflowExport done = store.write({one});
  EXPECT_EQ(done.runs, 0);
  EXPECT_EQ(done.kept, 1);
  EXPECT_EQ(files_of(store.folder.path()), before);
  done = store.write({one, two});  // the same experiment run again is a run of its own
  EXPECT_EQ(done.runs, 1);
  auto after = files_of(store.folder.path());
  for (const auto& [name, text] : before) EXPECT_EQ(after[name], text) << name;
}

TEST(Mlflow, NamesAndTextsCannotLeaveTheFolderOrTheLine) {
  Store store;
  const MlflowExport done = store.write(
      {entry(1, R"({"model":"a: \"b\"\n- c","../../up":1,"x/y":2,"x:y":3,"..":4,"":5})")});
  for (const auto& [name, text] : files_of(store.folder.path())) {
    EXPECT_THAT(name, ::testing::MatchesRegex("[-A-Za-z0-9_./]+"));
    EXPECT_TRUE(name.starts_with("0/") || name.starts_with(done.experiment_id + "/")) << name;
    EXPECT_TRUE(!name.ends_with("/params/x_y") || text == "2");
    EXPECT_TRUE(!name.ends_with("/params/x_y_2") || text == "3");
    EXPECT_TRUE(!name.ends_with("meta.yaml") || text.find("\n- c") == std::string::npos);
  }
  EXPECT_EQ(fs::exists(store.folder / "../up"), false);
}

TEST(Mlflow, AForeignExperimentIsLeftAlone) {
  Store store;
  const std::string id = store.write({}).experiment_id;
  fs::remove_all(store.folder / id);
  fs::create_directory(store.folder / id);
  fixtures::put(store.folder / (id + "/meta.yaml"), "name: theirs\n");
  fixtures::put(store.folder / "0/meta.yaml", "name: Mine\n");
  EXPECT_THAT(fixtures::error_of([&] { store.write({entry(1, "{}")}); }), HasSubstr("scute.log"));
  EXPECT_EQ(fixtures::get(store.folder / (id + "/meta.yaml")), "name: theirs\n");
  EXPECT_EQ(fixtures::get(store.folder / "0/meta.yaml"), "name: Mine\n");
}

}  // namespace
}  // namespace scute::mlflow_test
