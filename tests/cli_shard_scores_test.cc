// Scores, Hessians and experiments in parts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>

#include "scute/io/claim.h"
#include "tests/program.h"
#include "tests/shared_work.h"

namespace scute::cli_shard_scores_test {
namespace {

using testing::HasSubstr;

/// Without what tells how long it took.
std::string without_time(std::string answer) {
  const size_t at = answer.find("\"seconds\"");
  return at == std::string::npos ? answer : answer.substr(0, at);
}

const std::vector<SharedWork> kEvaluations{
    {"language",
     {"eval", "examples/tiny-mamba1", "--perplexity", "examples/text/heldout.txt", "--window", "64",
      "--max-windows", "7", "--against", "examples/tiny-mamba1", "--last-word",
      "examples/text/last_word.jsonl", "--max-items", "5", "--quiet"}},
    {"cobra",
     {"eval", "tests/golden/cobra/model", "--images", "tests/golden/cobra/pictures", "--against",
      "tests/golden/cobra/model", "--no-random-text", "--quiet"}}};

class ShardedScores : public testing::TestWithParam<SharedWork> {};
INSTANTIATE_TEST_SUITE_P(Kinds, ShardedScores, testing::ValuesIn(kEvaluations),
                         [](const auto& kind) { return kind.param.name; });

TEST_P(ShardedScores, AreThoseOfOneProcessToTheDigit) {
  const TemporaryFolder folder;
  const Words words = GetParam().words + Words{"--json"};
  const Ended one = scute_program(words + Words{"--items-out", folder.path("one.jsonl")});
  ASSERT_EQ(one.code, 0) << one.err;
  const Words kept = words + Words{"--parts", folder.path("p")};
  for (const char* shard : {"2/3", "0/3", "1/3"}) {
    const Ended part = scute_program(kept + Words{"--shard", shard});
    ASSERT_EQ(part.code, 0) << part.err;
    EXPECT_THAT(part.out, HasSubstr("\"of\": 3"));
  }
  const Ended all = scute_program(kept + Words{"--items-out", folder.path("all.jsonl")});
  ASSERT_EQ(all.code, 0) << all.err;
  EXPECT_EQ(without_time(all.out), without_time(one.out));
  EXPECT_EQ(bytes(folder.path("all.jsonl")), bytes(folder.path("one.jsonl")));
  std::filesystem::remove(folder.path("p/part-1-of-3.jsonl"));
  const Ended lacking = scute_program(kept);
  EXPECT_NE(lacking.code, 0);
  EXPECT_THAT(lacking.err, HasSubstr("missing: 1"));
}

TEST(ShardedScores, ARecordDoesNotSayHowTheWorkWasShared) {
  const TemporaryFolder folder;
  const Ended ended = scute_program(kEvaluations[0].words +
                                    Words{"--parts", folder.path("p"), "--checkpoint-every=5min",
                                          "--log", folder.path("log.jsonl")});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const std::string record = bytes(folder.path("log.jsonl"));
  EXPECT_THAT(record, HasSubstr("--max-windows 7"));
  EXPECT_THAT(record, testing::Not(HasSubstr("--parts")));
  EXPECT_THAT(record, testing::Not(HasSubstr("--checkpoint-every")));
}

/// Of a log: how often each experiment is there, by its key.
std::map<std::string, int> experiments_in(const std::string& log) {
  constexpr std::string_view kKey = "\"experiment\":\"";
  std::map<std::string, int> out;
  const std::string text = bytes(log);
  for (size_t at = text.find(kKey); at != std::string::npos; at = text.find(kKey, at + 1)) {
    ++out[text.substr(at + kKey.size(), 64)];
  }
  return out;
}

const Words kSweep{"sweep",
                   "--models",
                   "examples/tiny-mamba1",
                   "--data",
                   "examples/text/calibration.jsonl",
                   "--samples",
                   "3",
                   "--seqlen",
                   "64",
                   "--policies",
                   "minmax,mse,auto,entropy,percentile",
                   "--tasks",
                   "perplexity",
                   "--eval-data",
                   "perplexity=examples/text/heldout.txt",
                   "--max-windows",
                   "2",
                   "--window",
                   "64",
                   "--quiet"};

TEST(ShardedScores, OneProcessAtATimeWritesAPart) {
  const TemporaryFolder folder;
  const Words part = kEvaluations[0].words + Words{"--parts", folder.path("p"), "--shard", "0/2"};
  std::filesystem::create_directory(folder.path("p"));
  {
    const Claim claim(folder.path("p/part-0-of-2.jsonl"));
    const Ended refused = scute_program(part);
    EXPECT_EQ(refused.code, 1);
    EXPECT_THAT(refused.err, HasSubstr("that nobody else is writing"));
  }
  EXPECT_EQ(scute_program(part).code, 0);
  const Ended other = scute_program(part + Words{"--max-windows", "6"});
  EXPECT_EQ(other.code, 1);
  EXPECT_THAT(other.err, HasSubstr("one of another: windows "));
}

TEST(ShardedSweep, ProcessesOnOneLogNeverRunTheSameExperimentTwice) {
  const TemporaryFolder folder;
  const Words words = kSweep + Words{"--log", folder.path("log.jsonl")};
  {
    std::vector<std::unique_ptr<Child>> children;
    for (int i = 0; i < 4; ++i) children.push_back(std::make_unique<Child>(words));
    for (const auto& child : children) {
      const Ended ended = child->wait();
      EXPECT_EQ(ended.code, 0) << ended.err;
    }
  }
  const auto found = experiments_in(folder.path("log.jsonl"));
  EXPECT_EQ(found.size(), 5u);
  for (const auto& [key, times] : found) EXPECT_EQ(times, 1) << key;
  EXPECT_EQ(scute_program(words).code, 0);
  EXPECT_EQ(experiments_in(folder.path("log.jsonl")), found);
}

TEST(ShardedSweep, CombinationsAreDealtOut) {
  const TemporaryFolder folder;
  const Words words = kSweep + Words{"--log", folder.path("log.jsonl"), "--json"};
  const Ended first = scute_program(words + Words{"--shard", "0/2"});
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_THAT(first.out, HasSubstr("\"run\": 3"));
  EXPECT_THAT(first.out, HasSubstr("\"elsewhere\": 2"));
  const Ended second = scute_program(words + Words{"--shard", "1/2"});
  EXPECT_THAT(second.out, HasSubstr("\"run\": 2"));
  EXPECT_EQ(experiments_in(folder.path("log.jsonl")).size(), 5u);
}

}  // namespace
}  // namespace scute::cli_shard_scores_test
