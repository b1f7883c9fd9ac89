// run and sweep from outside, on the bundled models.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <thread>

#include "scute/base/json.h"
#include "scute/io/file.h"
#include "tests/program.h"

namespace scute::experiments_cli_run_test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

/// A short experiment: 4 documents of 64 tokens, 4 windows of 64, 8 passages.
std::vector<std::string> short_flags(const TemporaryFolder& folder) {
  return {"--data",
          "examples/text/calibration.jsonl",
          "--samples",
          "4",
          "--seqlen",
          "64",
          "--tasks",
          "last-word,perplexity",
          "--eval-data",
          "examples/text/last_word.jsonl",
          "examples/text/heldout.txt",
          "--window",
          "64",
          "--max-windows",
          "4",
          "--max-items",
          "8",
          "--log",
          folder.path("logs/log.jsonl"),
          "--quiet"};
}

Ended experiment(std::vector<std::string> words, const TemporaryFolder& folder,
                 const std::vector<std::string>& more = {}) {
  const auto flags = short_flags(folder);
  words.insert(words.end(), flags.begin(), flags.end());
  words.insert(words.end(), more.begin(), more.end());
  return scute_program(words);
}

Ended run(const TemporaryFolder& folder, const std::vector<std::string>& more = {},
          const char* model = "examples/tiny-mamba1") {
  return experiment({"run", model}, folder, more);
}

size_t lines_of(const std::string& path) {
  const std::string text = read_text(path);
  return static_cast<size_t>(std::ranges::count(text, '\n'));
}

TEST(Run, EndsWithTheSummaryAndTheCommandThatShowsItAgain) {
  const TemporaryFolder folder;
  std::vector<std::string> words{"run", "examples/tiny-mamba1", "--percentile-alpha", "0.9995"};
  const auto flags = short_flags(folder);
  words.insert(words.end(), flags.begin(), flags.end() - 1);  // all but --quiet
  const Ended ended = scute_program(words);
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("percentile alpha: 0.9995"), HasSubstr("percentile"),
                               HasSubstr("layer_0.x_proj:input"), HasSubstr("of 8 last words")));
  const size_t at = ended.out.find("scute log show ");
  ASSERT_NE(at, std::string::npos);
  const std::string line = ended.out.substr(at);  // the last, in lines that a shell joins
  const Ended shown = shell(line);
  EXPECT_EQ(shown.code, 0) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("layer_0.x_proj:input"));
  const Ended quiet = scute_program([&] {
    words.push_back("--quiet");
    return words;
  }());
  EXPECT_EQ(quiet.err, "");
  EXPECT_THAT(quiet.out, AllOf(testing::StartsWith("Results\n"), HasSubstr(line),
                               testing::Not(HasSubstr("layer_0"))));
}

TEST(Run, ASecondAlphaSkipsThePassAndTheNumbersAreThoseOfEval) {
  const TemporaryFolder folder;
  ASSERT_EQ(run(folder, {"--percentile-alpha", "0.9995"}).code, 0);
  const Ended second = run(folder, {"--percentile-alpha", "1.0", "--json", "--output-subdir",
                                    "kept", "--pretrained-dir", folder.path()});
  ASSERT_EQ(second.code, 0) << second.err;
  const Json answer = Json::parse(second.out, "run");
  EXPECT_TRUE(answer.at("reused_statistics", "").as_bool(""));
  const Json& record = answer.at("record", "");
  EXPECT_EQ(record.at("timing", "").at("collect", "").as_double(""), 0);
  const std::string kept = folder.path("kept/percentile-1/tiny-mamba1-w8a8");
  ASSERT_TRUE(fs::exists(kept));
  const Ended scored = scute_program({"eval", kept, "--perplexity", "examples/text/heldout.txt",
                                      "--window", "64", "--max-windows", "4", "--json"});
  ASSERT_EQ(scored.code, 0) << scored.err;
  EXPECT_EQ(Json::parse(scored.out, "").at("perplexity", "").at("value", "").as_double(""),
            record.at("results", "")
                .at("tasks", "")
                .at("perplexity", "")
                .at("perplexity", "")
                .as_double(""));
  EXPECT_EQ(lines_of(folder.path("logs/log.jsonl")), 2u);
  const fs::directory_iterator stored(folder.path("logs/statistics"));
  EXPECT_EQ(std::distance(fs::begin(stored), fs::end(stored)), 1);
}

TEST(Run, TheSameCommandGivesTheSameRecordWhateverTheThreads) {
  const TemporaryFolder one, four;
  const auto record = [](const TemporaryFolder& folder, const char* threads) {
    const Ended ended = run(folder, {"--json", "--threads", threads});
    EXPECT_EQ(ended.code, 0) << ended.err;
    Json out = Json::parse(ended.out, "").at("record", "");
    for (const char* differs : {"timestamp", "timing", "machine", "command"})
      out[differs] = nullptr;
    return out;
  };
  EXPECT_EQ(record(one, "1"), record(four, "4"));
}

TEST(Run, AnUnwritableLogWarnsPrintsTheRecordAndEndsWithThree) {
  const TemporaryFolder folder;
  write_file(folder.path("logs"), "in the way");
  const Ended ended = run(folder);
  EXPECT_EQ(ended.code, 3);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("warning: record not kept"), HasSubstr("logs")));
  EXPECT_EQ(run(folder, {"--log-failure", "ignore"}).code, 0);
  const size_t at = ended.out.find("{\"timestamp\"");
  ASSERT_NE(at, std::string::npos);
  const std::string line = ended.out.substr(at, ended.out.find('\n', at) - at);
  EXPECT_NE(Json::parse(line, "record").find("results"), nullptr);
}

TEST(Run, AFullDiskLosesTheRecordButNotTheResults) {
  const TemporaryFolder folder;
  const std::vector<std::string> flags = short_flags(folder);
  std::vector<std::string> words{"run", "examples/tiny-mamba1", "--log-layers", "0"};
  words.insert(words.end(), flags.begin(), flags.end());
  const std::string log = folder.path("logs/log.jsonl"),
                    earlier = R"({"id": ")" + std::string(9000, '7') + "\"}";
  fs::create_directories(folder.path("logs"));
  write_file(log, earlier + "\n");
  Surroundings small_disk;  // room for the words and the record, but not for another 1.5 KB of log
  small_disk.largest_file = 10000;
  const Ended ended = scute_program(words, small_disk);
  EXPECT_EQ(ended.code, 3) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("record not kept"));
  EXPECT_THAT(ended.out, HasSubstr("8 last words"));
  EXPECT_EQ(read_text(log), earlier + "\n");
}

TEST(Run, WrongUsageIsSaidBeforeAnythingRuns) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::vector<std::string>& more, const char* says) {
    const Ended ended = run(folder, more);
    EXPECT_EQ(ended.code, 2) << ended.err;
    EXPECT_THAT(ended.err, HasSubstr(says));
  };
  refused({"--policy", "mse", "--percentile-alpha", "0.9"}, "--percentile-alpha");
  refused({"--percentile-alpha", "7"}, "--percentile-alpha");
  refused({"--policy", "percentile:0.99", "--percentile-alpha", "0.9"}, "share of its own");
  refused({"--w-bits", "4", "--a-bits", "16", "--policy", "mse"}, "nothing is clipped");
  refused({"--tasks", "lambada"}, "last-word or perplexity");
  refused({"--w-bits", "16", "--a-bits", "8"}, "W16A8");
  refused({"--log-layers", "some"}, "--log-layers");
  refused({"--save-activations", "0"}, "--save-activations");
  refused({"--stride", "65"}, "--stride");
  EXPECT_FALSE(fs::exists(folder.path("logs")));
  const Ended blind = scute_program({"run", "examples/tiny-mamba1"});
  EXPECT_EQ(blind.code, 2);
  EXPECT_THAT(blind.err, HasSubstr("--data"));
  const Ended no_file =
      scute_program({"run", "examples/tiny-mamba1", "--data", "examples/text/calibration.jsonl",
                     "--tasks", "last-word", "--eval-data", "a.txt", "b.txt"});
  EXPECT_EQ(no_file.code, 2);
  EXPECT_THAT(no_file.err, HasSubstr("last-word=FILE"));
}

TEST(Run, WhatIsNotThereIsNamed) {
  const TemporaryFolder folder;
  const Ended sites = run(folder, {"--log-sites", "layer_0.x_prox:input"});
  EXPECT_EQ(sites.code, 1);
  EXPECT_THAT(sites.err, HasSubstr("layer_0.x_proj:input"));
  const Ended grouped = run(folder, {"--group-heads"});
  EXPECT_EQ(grouped.code, 1);
  EXPECT_THAT(grouped.err, HasSubstr("Mamba-2"));
}

TEST(Run, InterruptedItRecordsNothingAndTheNextOneWorks) {
  const TemporaryFolder folder;
  std::vector<std::string> words{
      "run",         "examples/tiny-mamba1",        "--data",   "examples/text/calibration.jsonl",
      "--log",       folder.path("logs/log.jsonl"), "--tasks",  "perplexity",
      "--eval-data", "examples/text/heldout.txt",   "--window", "512"};
  Child child(words);
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));  // the whole takes 20 s
  child.send(SIGINT);
  const Ended ended = child.wait();
  EXPECT_EQ(ended.code, 128 + SIGINT);
  EXPECT_THAT(ended.err, HasSubstr("interrupted"));
  EXPECT_FALSE(fs::exists(folder.path("logs/log.jsonl")));
  EXPECT_EQ(run(folder).code, 0);
}

Json sweep(const TemporaryFolder& folder, const std::vector<std::string>& more = {}) {
  std::vector<std::string> flags{"--percentile-alphas", "0.9,1.0", "--json"};
  flags.insert(flags.end(), more.begin(), more.end());
  const Ended ended =
      experiment({"sweep", "--models", "examples/tiny-mamba1,examples/tiny-mamba2"}, folder, flags);
  EXPECT_EQ(ended.code, 0) << ended.err;
  return Json::parse(ended.out, "sweep");
}

TEST(Sweep, MeasuresEachModelOnceSkipsWhatIsFinishedAndRanks) {
  const TemporaryFolder folder;
  const Json first = sweep(folder);
  EXPECT_EQ(first.at("run", "").as_int(""), 4);
  EXPECT_EQ(first.at("passes", "").as_int(""), 2);
  const auto& rankings = first.at("rankings", "").as_array("");
  ASSERT_EQ(rankings.size(), 2u);
  for (const Json& ranking : rankings) {
    const auto& rows = ranking.at("experiments", "").as_array("");
    ASSERT_EQ(rows.size(), 2u);
    const auto perplexity = [&](size_t i) {
      return rows[i]
          .at("results", "")
          .at("tasks", "")
          .at("perplexity", "")
          .at("perplexity", "")
          .as_double("");
    };
    EXPECT_LE(perplexity(0), perplexity(1));
    EXPECT_EQ(rows[0].at("against_best", "").as_array("").size(), 0u);
    const auto& against = rows[1].at("against_best", "").as_array("");
    ASSERT_EQ(against.size(), 3u);
    EXPECT_TRUE(against[0].at("paired", "").as_bool(""));
  }

  const Json again = sweep(folder, {"--percentile-alphas", "0.9,0.99,1.0"});
  EXPECT_EQ(again.at("run", "").as_int(""), 2);
  EXPECT_EQ(again.at("skipped", "").as_int(""), 4);
  EXPECT_EQ(again.at("passes", "").as_int(""), 0);
  EXPECT_EQ(lines_of(folder.path("logs/log.jsonl")), 6u);
  EXPECT_EQ(again.at("rankings", "").as_array("")[0].at("experiments", "").as_array("").size(), 3u);
}

TEST(Sweep, TheTableNamesTheBestAndSaysWhatMeansNothing) {
  const TemporaryFolder folder;
  const Ended ended =
      experiment({"sweep", "--models", "examples/tiny-mamba1", "--policies", "minmax,percentile",
                  "--percentile-alphas", "0.99999", "--with-float", "--wide"},
                 folder);
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("3 experiments: 3 run"), HasSubstr("float "),
                               HasSubstr("W8A8 minmax"), HasSubstr("W8A8 percentile 0.99999"),
                               HasSubstr("  W8A8 minmax: perplexity no more than noise"),
                               HasSubstr("windows would tell")));
}

TEST(Sweep, OneThatFailsDoesNotStopTheOthers) {
  const TemporaryFolder folder;
  const Ended ended = experiment({"sweep", "--models", "examples/tiny-mamba1,examples/tiny-mamba2",
                                  "--policies", "auto", "--group-heads"},
                                 folder);
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.err, HasSubstr("Mamba-2"));
  EXPECT_THAT(ended.out, HasSubstr("W8A8 grouped auto"));
  EXPECT_EQ(lines_of(folder.path("logs/log.jsonl")), 1u);
}

TEST(Sweep, WhatIsAskedForAndNotThereIsRunAgain) {
  const TemporaryFolder folder;
  const auto again = [&](const std::vector<std::string>& more) {
    std::vector<std::string> flags{"--json"};
    flags.insert(flags.end(), more.begin(), more.end());
    const Ended ended = experiment({"sweep", "--models", "examples/tiny-mamba1"}, folder, flags);
    EXPECT_EQ(ended.code, 0) << ended.err;
    return Json::parse(ended.out, "sweep").at("run", "").as_int("");
  };
  EXPECT_EQ(again({}), 1);
  EXPECT_EQ(again({}), 0);
  const std::vector<std::string> kept{"--output-subdir", "kept", "--pretrained-dir", folder.path()};
  EXPECT_EQ(again(kept), 1);
  EXPECT_TRUE(fs::exists(folder.path("kept/auto/tiny-mamba1-w8a8")));
  EXPECT_EQ(again(kept), 0);
  EXPECT_EQ(again({"--save-activations", "10"}), 1);
  EXPECT_EQ(again({"--save-activations", "10"}), 0);
  fs::remove_all(folder.path("logs/items"));
  EXPECT_EQ(again({}), 1);
}

TEST(Sweep, ALogThatCannotBeWrittenIsSaidAtOnce) {
  const TemporaryFolder folder;
  fs::create_directories(folder.path("logs/log.jsonl"));
  const Ended ended = experiment({"sweep", "--models", "examples/tiny-mamba1"}, folder);
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.err, HasSubstr("a folder"));
  EXPECT_FALSE(fs::exists(folder.path("logs/statistics")));
}

TEST(Run, OneRuleHasOneNameHoweverItIsWritten) {
  const TemporaryFolder folder;
  const auto config = [&](const std::vector<std::string>& rule) {
    std::vector<std::string> flags{"--json"};
    flags.insert(flags.end(), rule.begin(), rule.end());
    const Ended ended = run(folder, flags);
    EXPECT_EQ(ended.code, 0) << ended.err;
    return Json::parse(ended.out, "").at("record", "").at("config", "");
  };
  const Json alone = config({"--percentile-alpha", "99.9"});
  EXPECT_EQ(alone.at("percentile_alpha", "").as_double(""), 0.999);
  EXPECT_EQ(alone.at("policy", "").as_string(""), "percentile");
  EXPECT_EQ(alone, config({"--policy", "percentile:0.999"}));
  EXPECT_EQ(config({"--policy", "quamba", "--percentile-alpha", "0.999"}),
            config({"--policy", "quamba:0.999"}));
}

TEST(Sweep, WrongUsage) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::vector<std::string>& more, const char* says) {
    const Ended ended = experiment({"sweep", "--models", "examples/tiny-mamba1"}, folder, more);
    EXPECT_EQ(ended.code, 2) << ended.err;
    EXPECT_THAT(ended.err, HasSubstr(says));
  };
  refused({"--policies", "mse", "--percentile-alphas", "0.9"}, "percentile or quamba");
  refused({"--policies", "best"}, "--policies");
  refused({"--percentile-alphas", "0.9,x"}, "--percentile-alphas");
  refused({"--w-bits", "8,16", "--a-bits", "8,16"}, "W16A8");
  refused({"--w-bits", "5"}, "--w-bits");
  refused({"--percentile-alphas", ","}, "--percentile-alphas");
  EXPECT_EQ(experiment({"sweep", "--models", ","}, folder).code, 2);
}

}  // namespace
}  // namespace scute::experiments_cli_run_test
