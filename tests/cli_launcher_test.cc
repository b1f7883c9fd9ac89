// Which share of the work a process has, as its launcher says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "cli/terminal/launcher.h"
#include "cli/terminal/options.h"
#include "tests/program.h"

namespace scute::cli_launcher_test {
namespace {

using cli::launched_shard;
using testing::HasSubstr;

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
  // One process alone is no share of several.
  all = array;
  EXPECT_EQ(with({{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}}), (Shard{5, 8}));
  EXPECT_EQ(by({{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}}).shard, (Shard{0, 1}));
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
  EXPECT_EQ(folder.names(), std::vector<std::string>{"p"});
  EXPECT_NE(shell("env -u RANK " + line).code, 0);
}

}  // namespace
}  // namespace scute::cli_launcher_test
