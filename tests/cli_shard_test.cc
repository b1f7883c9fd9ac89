// Collections in parts, of every kind of model, as their users start them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <map>
#include <memory>
#include <thread>

#include "cli/terminal/launcher.h"
#include "cli/terminal/options.h"
#include "scute/io/file.h"
#include "tests/program.h"

namespace scute {
namespace {

using cli::launched_shard;
using testing::HasSubstr;
using Words = std::vector<std::string>;

Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

struct Collection {
  const char* name;
  Words words;
};
const std::vector<Collection> kCollections{
    {"language",
     {"collect", "examples/tiny-mamba1", "--data", "examples/text/calibration.jsonl", "--samples",
      "5", "--seqlen", "70", "--quiet"}},
    {"cobra",
     {"collect", "tests/golden/cobra/model", "--images", "tests/golden/cobra/pictures",
      "--max-samples-per-batch", "1000", "--quiet"}},
    {"regressor",
     {"collect", "tests/golden/regressor/slim.pt", "--feat-root", "tests/golden/regressor_features",
      "--quiet"}}};

class KindsOfShards : public testing::TestWithParam<Collection> {};
INSTANTIATE_TEST_SUITE_P(Kinds, KindsOfShards, testing::ValuesIn(kCollections),
                         [](const auto& kind) { return kind.param.name; });

std::string bytes(const std::string& file) { return read_text(file, int64_t{1} << 30); }

TEST_P(KindsOfShards, MergedAreTheBytesOfOneCollection) {
  const TemporaryFolder folder;
  const std::string one = folder.path("one.safetensors");
  ASSERT_EQ(scute_program(GetParam().words + Words{"--out", one}).code, 0);
  for (const int of : {1, 2, 7}) {
    const std::string parts = folder.path("parts" + std::to_string(of));
    for (int i = of; i-- > 0;) {
      const Ended ended = scute_program(
          GetParam().words + Words{"--out", parts, "--threads", std::to_string(1 + i % 2),
                                   "--shard", std::to_string(i) + "/" + std::to_string(of)});
      ASSERT_EQ(ended.code, 0) << ended.err;
    }
    const std::string all = folder.path("all.safetensors");
    const Ended merged = scute_program({"merge", parts, "--out", all, "--fan-in", "2"});
    ASSERT_EQ(merged.code, 0) << merged.err;
    EXPECT_EQ(bytes(all), bytes(one)) << of;
  }
}

TEST_P(KindsOfShards, AreSkippedWhenCompleteAndRefusedWhenForeign) {
  const TemporaryFolder folder;
  const Words part = GetParam().words + Words{"--out", folder.path("p"), "--shard", "0/2"};
  ASSERT_EQ(scute_program(part).code, 0);
  const std::string file = folder.path("p/part-0-of-2.safetensors"), before = bytes(file);
  const Ended again = scute_program(part + Words{"--json"});
  EXPECT_EQ(again.code, 0);
  EXPECT_THAT(again.out, HasSubstr("\"was_complete\": true"));
  EXPECT_EQ(bytes(file), before);
  const Ended foreign = scute_program(part + Words{"--fine", "5"});
  EXPECT_NE(foreign.code, 0);
  EXPECT_THAT(foreign.err, HasSubstr(file));
  EXPECT_THAT(foreign.err, HasSubstr("expected a part of this collection"));
  EXPECT_EQ(bytes(file), before);
  EXPECT_EQ(scute_program(part + Words{"--fine", "5", "--force"}).code, 0);
}

TEST(Shards, EightProcessesInOneFolderKeepOutOfEachOthersWay) {
  const TemporaryFolder folder;
  const std::string parts = folder.path("p"), one = folder.path("one.safetensors");
  const Words words = kCollections[0].words + Words{"--threads", "1"};
  ASSERT_EQ(scute_program(words + Words{"--out", one}).code, 0);
  {
    std::vector<std::unique_ptr<Child>> children;
    for (int i = 0; i < 8; ++i) {  // each part twice
      const Words part{"--out", parts, "--shard", std::to_string(i % 4) + "/4"};
      children.push_back(std::make_unique<Child>(words + part));
    }
    for (const auto& child : children) {
      const Ended ended = child->wait();
      if (ended.code == 0) continue;
      EXPECT_THAT(ended.err, HasSubstr("that nobody else is writing"));
    }
  }
  const std::string all = folder.path("all.safetensors");
  const Ended merged = scute_program({"merge", parts, "--out", all});
  ASSERT_EQ(merged.code, 0) << merged.err;
  EXPECT_EQ(bytes(all), bytes(one));
}

TEST(Shards, WhatGoesWrongInOneNamesItAndLeavesTheOthers) {
  const TemporaryFolder folder;
  const std::string parts = folder.path("p");
  const Words words = kCollections[0].words + Words{"--out", parts};
  ASSERT_EQ(scute_program(words + Words{"--shard", "0/2"}).code, 0);
  const std::string before = bytes(parts + "/part-0-of-2.safetensors");
  Surroundings full_disk;
  full_disk.largest_file = 100'000;
  const Ended full = scute_program(words + Words{"--shard", "1/2"}, full_disk);
  EXPECT_NE(full.code, 0);
  EXPECT_THAT(full.err, HasSubstr("part 1/2: "));
  EXPECT_THAT(full.err, HasSubstr("part-1-of-2.safetensors"));
  Words elsewhere = words + Words{"--shard", "1/2"};
  elsewhere[1] = folder.path("no-model");
  const Ended without = scute_program(elsewhere);
  EXPECT_NE(without.code, 0);
  EXPECT_THAT(without.err, HasSubstr("no-model"));
  EXPECT_EQ(bytes(parts + "/part-0-of-2.safetensors"), before);
  EXPECT_EQ(scute_program(words + Words{"--shard", "1/2"}).code, 0);
  EXPECT_EQ(scute_program({"merge", parts, "--out", folder.path("all.safetensors")}).code, 0);
}

TEST(Shards, APartAloneIsNotTakenForAWholeCollectionInSilence) {
  const TemporaryFolder folder;
  const std::string parts = folder.path("p"), part = parts + "/part-0-of-2.safetensors";
  ASSERT_EQ(scute_program(kCollections[0].words + Words{"--out", parts, "--shard", "0/2"}).code, 0);
  const Ended decided = scute_program({"decide", part, "--out", folder.path("plan.json")});
  EXPECT_EQ(decided.code, 0);
  EXPECT_THAT(decided.err, HasSubstr("is part 0/2 of a collection"));
  const Ended merged = scute_program({"merge", part, part, "--out", folder.path("m.safetensors")});
  EXPECT_NE(merged.code, 0);
  EXPECT_THAT(merged.err, HasSubstr("by their folder alone"));
}

/// Stops one collection as soon as it has something to go on from, by a signal.
Ended stopped_by(int signal, const Words& words, const std::string& sign_of_work) {
  Child child(words);
  for (int i = 0; i < 1000 && !std::filesystem::exists(sign_of_work); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  child.send(signal);
  return child.wait();
}

TEST(Checkpoint, AfterAKillTheSameCommandGoesOn) {
  const TemporaryFolder folder;
  const std::string one = folder.path("one.safetensors"), out = folder.path("k.safetensors");
  const Words words{"collect",   "examples/tiny-mamba1",
                    "--data",    "examples/text/calibration.jsonl",
                    "--samples", "120",
                    "--seqlen",  "256",
                    "--quiet",   "--threads",
                    "1"};
  ASSERT_EQ(scute_program(words + Words{"--out", one}).code, 0);
  const Words kept = words + Words{"--out", out, "--checkpoint-every", "4"};
  const Ended killed = stopped_by(SIGKILL, kept, out + ".writing/.checkpoint/part.safetensors");
  ASSERT_EQ(killed.code, 128 + SIGKILL);
  ASSERT_FALSE(std::filesystem::exists(out));
  const Ended rest = scute_program(kept);
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_THAT(rest.out, HasSubstr("finished before"));
  EXPECT_EQ(bytes(out), bytes(one));
  EXPECT_EQ(folder.names(), (Words{"k.safetensors", "one.safetensors"}));
}

TEST(Checkpoint, OfAnotherCommandIsNotGoneOnWith) {
  const TemporaryFolder folder;
  const std::string one = folder.path("one.safetensors"), out = folder.path("k.safetensors");
  const Words words{"collect",   "examples/tiny-mamba1",
                    "--data",    "examples/text/calibration.jsonl",
                    "--samples", "120",
                    "--seqlen",  "256",
                    "--quiet",   "--threads",
                    "1"};
  const Words kept = words + Words{"--out", out, "--checkpoint-every", "4"};
  stopped_by(SIGKILL, kept, out + ".writing/.checkpoint/part.safetensors");
  const Words few{"--samples", "3"};
  ASSERT_EQ(scute_program(words + few + Words{"--out", one}).code, 0);
  const Ended other = scute_program(kept + few);
  ASSERT_EQ(other.code, 0) << other.err;
  EXPECT_EQ(bytes(out), bytes(one));
}

class CheckpointSignal : public testing::TestWithParam<int> {};

/// SIGUSR1 is what a batch system sends before the time limit.
TEST_P(CheckpointSignal, WhatItInterruptsIsAnUnfinishedPart) {
  const TemporaryFolder folder;
  const std::string one = folder.path("one.safetensors"), parts = folder.path("p");
  const Words words{"collect",   "examples/tiny-mamba1",
                    "--data",    "examples/text/calibration.jsonl",
                    "--samples", "120",
                    "--seqlen",  "256",
                    "--quiet",   "--threads",
                    "1"};
  ASSERT_EQ(scute_program(words + Words{"--out", one}).code, 0);
  const Words part = words + Words{"--out", parts, "--shard", "0/1", "--checkpoint-every", "2"};
  const Ended interrupted = stopped_by(
      GetParam(), part, parts + "/part-0-of-1.safetensors.writing/.checkpoint/part.safetensors");
  ASSERT_EQ(interrupted.code, 128 + GetParam());
  EXPECT_THAT(interrupted.err, HasSubstr("the same command goes on"));
  const Words merge{"merge", parts, "--out", folder.path("all.safetensors")};
  const Ended refused = scute_program(merge);
  EXPECT_NE(refused.code, 0);
  EXPECT_THAT(refused.err, HasSubstr("not finished: 0"));
  EXPECT_EQ(scute_program(part).code, 0);
  EXPECT_EQ(scute_program(merge).code, 0);
  EXPECT_EQ(bytes(folder.path("all.safetensors")), bytes(one));
}

INSTANTIATE_TEST_SUITE_P(Signals, CheckpointSignal, testing::Values(SIGTERM, SIGUSR1));
/// Without what tells how long it took.
std::string without_time(std::string answer) {
  const size_t at = answer.find("\"seconds\"");
  return at == std::string::npos ? answer : answer.substr(0, at);
}

const std::vector<Collection> kEvaluations{
    {"language",
     {"eval", "examples/tiny-mamba1", "--perplexity", "examples/text/heldout.txt", "--window", "64",
      "--max-windows", "7", "--against", "examples/tiny-mamba1", "--last-word",
      "examples/text/last_word.jsonl", "--max-items", "5", "--quiet"}},
    {"cobra",
     {"eval", "tests/golden/cobra/model", "--images", "tests/golden/cobra/pictures", "--against",
      "tests/golden/cobra/model", "--no-random-text", "--quiet"}}};

class ShardedScores : public testing::TestWithParam<Collection> {};
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

using Variables = std::map<std::string, std::string>;

cli::Launched by(const Variables& variables, std::optional<int64_t> count = std::nullopt) {
  return launched_shard(
      [&](const std::string& name) {
        const auto found = variables.find(name);
        return found == variables.end() ? std::nullopt : std::optional<std::string>(found->second);
      },
      count);
}

TEST(Launcher, TheFirstThatNumbersItsProcessesDecides) {
  const Variables mpi{{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "3"}};
  const Variables array{{"SLURM_ARRAY_TASK_ID", "9"},
                        {"SLURM_ARRAY_TASK_MIN", "4"},
                        {"SLURM_ARRAY_TASK_MAX", "11"},
                        {"SLURM_ARRAY_TASK_COUNT", "8"},
                        {"SLURM_ARRAY_TASK_STEP", "1"}};
  const Variables tasks{{"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "2"}};
  const Variables ranks{{"RANK", "0"}, {"WORLD_SIZE", "6"}};
  const Variables parallel{{"PARALLEL_SEQ", "5"}};
  Variables all;
  const auto with = [&](const Variables& more) {
    all.insert(more.begin(), more.end());
    return by(all, std::nullopt).shard;
  };
  EXPECT_EQ(by(parallel, 5).shard, (Shard{4, 5}));
  all = parallel;
  EXPECT_EQ(with(ranks), (Shard{0, 6}));
  EXPECT_EQ(with(tasks), (Shard{1, 2}));
  EXPECT_EQ(with(array), (Shard{5, 8}));
  EXPECT_EQ(with(mpi), (Shard{2, 3}));
  EXPECT_EQ(by({{"PMI_RANK", "1"}, {"PMI_SIZE", "4"}}).shard, (Shard{1, 4}));
  EXPECT_THAT(by(mpi).by, HasSubstr("OMPI_COMM_WORLD_RANK 2"));
  // One task alone is no launcher of several.
  EXPECT_EQ(
      by({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "1"}, {"RANK", "1"}, {"WORLD_SIZE", "2"}}).shard,
      (Shard{1, 2}));
}

TEST(Launcher, WhatMakesNoSenseIsRefused) {
  const auto refused = [](const Variables& variables,
                          std::optional<int64_t> count = std::nullopt) -> std::string {
    try {
      by(variables, count);
    } catch (const cli::UsageError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(refused({}), HasSubstr("none in the environment"));
  EXPECT_THAT(refused({{"RANK", "3"}, {"WORLD_SIZE", "3"}}), HasSubstr("RANK below WORLD_SIZE"));
  EXPECT_THAT(refused({{"RANK", "3"}}), HasSubstr("RANK alone"));
  EXPECT_THAT(refused({{"RANK", "x"}, {"WORLD_SIZE", "3"}}), HasSubstr("\"x\""));
  EXPECT_THAT(refused({{"PARALLEL_SEQ", "1"}}), HasSubstr("auto/N"));
  EXPECT_THAT(refused({{"PARALLEL_SEQ", "6"}}, 5), HasSubstr("from 1 to 5"));
  EXPECT_THAT(refused({{"RANK", "0"}, {"WORLD_SIZE", "3"}}, 4), HasSubstr("auto/4"));
  EXPECT_THAT(refused({{"OMPI_COMM_WORLD_RANK", "2"},
                       {"OMPI_COMM_WORLD_SIZE", "3"},
                       {"PMI_RANK", "1"},
                       {"PMI_SIZE", "3"}}),
              HasSubstr("agree"));
  Variables array{{"SLURM_ARRAY_TASK_ID", "4"},
                  {"SLURM_ARRAY_TASK_MIN", "0"},
                  {"SLURM_ARRAY_TASK_MAX", "6"},
                  {"SLURM_ARRAY_TASK_COUNT", "4"},
                  {"SLURM_ARRAY_TASK_STEP", "2"}};
  EXPECT_THAT(refused(array), HasSubstr("follow each other"));
  array["SLURM_ARRAY_TASK_STEP"] = "1";  // --array=0,1,4,6
  EXPECT_THAT(refused(array), HasSubstr("4 numbers from 0 to 6"));
  EXPECT_THAT(refused({{"SLURM_ARRAY_TASK_ID", "4"}}), HasSubstr("beside SLURM_ARRAY_TASK_ID"));
}

TEST(Launcher, TheProgramAsksItsEnvironmentForAuto) {
  const TemporaryFolder folder;
  const std::string line =
      "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 2 "
      "--seqlen 8 -q --shard auto --out " +
      folder.path("p");
  const Ended ended = shell("RANK=1 WORLD_SIZE=2 " + line);
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("part 1/2 by RANK 1 of WORLD_SIZE 2"));
  EXPECT_EQ(folder.names(), Words{"p"});
  EXPECT_NE(shell("env -u RANK " + line).code, 0);
}

}  // namespace
}  // namespace scute
