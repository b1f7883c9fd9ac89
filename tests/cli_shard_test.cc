// Collections in parts, of every kind of model, as their users start them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>

#include "tests/program.h"
#include "tests/shared_work.h"

namespace scute::cli_shard_test {
namespace {

using testing::HasSubstr;

const std::vector<SharedWork> kCollections{
    {"language",
     {"collect", "examples/tiny-mamba1", "--data", "examples/text/calibration.jsonl", "--samples",
      "5", "--seqlen", "70", "--quiet"}},
    {"cobra",
     {"collect", "tests/golden/cobra/model", "--images", "tests/golden/cobra/pictures",
      "--max-samples-per-batch", "1000", "--quiet"}},
    {"regressor",
     {"collect", "tests/golden/regressor/slim.pt", "--feat-root", "tests/golden/regressor_features",
      "--quiet"}}};

class KindsOfShards : public testing::TestWithParam<SharedWork> {};
INSTANTIATE_TEST_SUITE_P(Kinds, KindsOfShards, testing::ValuesIn(kCollections),
                         [](const auto& kind) { return kind.param.name; });

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

/// As tools copy that know no attributes: the record of its hash is lost.
void copy_plainly(const std::string& file) {
  const std::string all = bytes(file);
  std::filesystem::remove(file);
  std::ofstream(file, std::ios::binary) << all;
}

TEST_P(KindsOfShards, AreKnownByTheirContentAlsoAsCopies) {
  const TemporaryFolder folder;
  const Words part = GetParam().words + Words{"--out", folder.path("p"), "--shard", "0/1"};
  ASSERT_EQ(scute_program(part).code, 0);
  const std::string file = folder.path("p/part-0-of-1.safetensors"), good = bytes(file);
  copy_plainly(file);
  const Ended again = scute_program(part + Words{"--json"});
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("\"was_complete\": true"));
  // A number in the header that agrees with all others.
  std::string bad = good;
  bad.replace(bad.find("scute 0."), 8, "scute 1.");
  std::ofstream(file, std::ios::binary) << bad;
  for (const Words& reader :
       {part, Words{"merge", folder.path("p"), "--out", folder.path("a.safetensors")}}) {
    const Ended refused = scute_program(reader);
    EXPECT_EQ(refused.code, 1);
    EXPECT_THAT(refused.err, HasSubstr("part-0-of-1.safetensors"));
  }
  EXPECT_EQ(bytes(file), bad);
}

TEST(Shards, PartsOfAnotherNumberAreFoundWhenAPartStarts) {
  const TemporaryFolder folder;
  const Words words = kCollections[0].words + Words{"--out", folder.path("p")};
  ASSERT_EQ(scute_program(words + Words{"--shard", "0/2"}).code, 0);
  const Ended refused = scute_program(words + Words{"--shard", "0/3"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("expected parts of 3, as --shard 0/3 says, found parts of 2"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path("p")), {}), 1);
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
  EXPECT_THAT(without.err, testing::AllOf(HasSubstr("part 1/2: "), HasSubstr("no-model")));
  EXPECT_EQ(bytes(parts + "/part-0-of-2.safetensors"), before);
  EXPECT_EQ(scute_program(words + Words{"--shard", "1/2"}).code, 0);
  EXPECT_EQ(scute_program({"merge", parts, "--out", folder.path("all.safetensors")}).code, 0);
}

/// Here in what says its version.
TEST(Shards, APartThatWasChangedIsNamed) {
  const TemporaryFolder folder;
  const Words words = kCollections[0].words + Words{"--out", folder.path("p")};
  for (const char* part : {"0/2", "1/2"}) {
    ASSERT_EQ(scute_program(words + Words{"--shard", part}).code, 0);
  }
  const std::string file = folder.path("p/part-1-of-2.safetensors");
  std::string changed = bytes(file);
  const std::string version = R"("version":"1")";
  const size_t at = changed.find(version);
  ASSERT_NE(at, std::string::npos);
  changed[at + version.size() - 2] = '7';
  std::ofstream(file, std::ios::binary) << changed;
  const Ended merged =
      scute_program({"merge", folder.path("p"), "--out", folder.path("m.safetensors")});
  EXPECT_THAT(merged.err,
              testing::AllOf(HasSubstr(file), HasSubstr("other content than its own hash says")));
  EXPECT_THAT(scute_program(words + Words{"--shard", "1/2"}).err,
              testing::AllOf(HasSubstr("part 1/2: "), HasSubstr(file)));
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

/// Long enough to be stopped in its middle.
const Words kLongCollection{"collect",   "examples/tiny-mamba1",
                            "--data",    "examples/text/calibration.jsonl",
                            "--samples", "120",
                            "--seqlen",  "256",
                            "--quiet",   "--threads",
                            "1"};

TEST(Checkpoint, AfterAKillTheSameCommandGoesOn) {
  const TemporaryFolder folder;
  const std::string one = folder.path("one.safetensors"), out = folder.path("k.safetensors");
  const Words& words = kLongCollection;
  ASSERT_EQ(scute_program(words + Words{"--out", one}).code, 0);
  const Words kept = words + Words{"--out", out, "--checkpoint-every", "4"};
  const Ended killed = stopped_by(SIGKILL, kept, out + ".writing/.checkpoint/part.safetensors");
  ASSERT_EQ(killed.code, 128 + SIGKILL);
  ASSERT_FALSE(std::filesystem::exists(out));
  // Gone on with also by a command that keeps nothing itself; its answer is of the whole.
  const Ended rest = scute_program(words + Words{"--out", out, "--json"});
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_THAT(rest.out, HasSubstr("\"samples\": 120,"));
  EXPECT_THAT(rest.out, HasSubstr("\"samples_before\": "));
  EXPECT_EQ(bytes(out), bytes(one));
  EXPECT_EQ(folder.names(), (Words{"k.safetensors", "one.safetensors"}));
}

TEST(Checkpoint, AnInterruptionKeepsWhatIsFinished) {
  const TemporaryFolder folder;
  const std::string one = folder.path("one.safetensors"), out = folder.path("k.safetensors");
  const Words& words = kLongCollection;
  ASSERT_EQ(scute_program(words + Words{"--out", one}).code, 0);
  const Words kept = words + Words{"--out", out, "--checkpoint-every", "2"};
  const Ended ended = stopped_by(SIGTERM, kept, out + ".writing/.checkpoint/part.safetensors");
  ASSERT_EQ(ended.code, 128 + SIGTERM);
  EXPECT_THAT(ended.err, HasSubstr("the same command goes on"));
  EXPECT_FALSE(std::filesystem::exists(out));
  const Ended rest = scute_program(kept);
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_THAT(rest.out, HasSubstr("finished before"));
  EXPECT_EQ(bytes(out), bytes(one));
}

TEST(Checkpoint, OfAnotherCommandIsRefusedUntilForced) {
  const TemporaryFolder folder;
  const std::string one = folder.path("one.safetensors"), out = folder.path("k.safetensors");
  const Words& words = kLongCollection;
  const Words kept = words + Words{"--out", out, "--checkpoint-every", "4"};
  stopped_by(SIGKILL, kept, out + ".writing/.checkpoint/part.safetensors");
  const Words few{"--samples", "3"};
  ASSERT_EQ(scute_program(words + few + Words{"--out", one}).code, 0);
  // Whether or not it would keep something itself: hours of another's work are not dropped by a
  // command that names its file.
  for (const Words& other : {kept + few, words + few + Words{"--out", out}}) {
    const Ended refused = scute_program(other);
    EXPECT_EQ(refused.code, 1);
    EXPECT_THAT(refused.err, HasSubstr("expected what this command kept (--force drops it)"));
    EXPECT_THAT(refused.err, HasSubstr("of 120 samples: samples 120, not 3; by: scute collect"));
    EXPECT_TRUE(std::filesystem::exists(out + ".writing/.checkpoint/part.safetensors"));
  }
  const Ended forced = scute_program(kept + few + Words{"--force"});
  ASSERT_EQ(forced.code, 0) << forced.err;
  EXPECT_EQ(bytes(out), bytes(one));
}

TEST(Checkpoint, IsGoneOnWithAlsoWhenForced) {
  const TemporaryFolder folder;
  const std::string out = folder.path("k.safetensors");
  const Words forced =
      kLongCollection + Words{"--out", out, "--checkpoint-every", "4", "--force", "--json"};
  stopped_by(SIGKILL, forced, out + ".writing/.checkpoint/part.safetensors");
  const Ended rest = scute_program(forced);
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_THAT(rest.out, HasSubstr("samples_before"));
}

class CheckpointSignal : public testing::TestWithParam<int> {};

/// SIGUSR1 is what a batch system sends before the time limit.
TEST_P(CheckpointSignal, WhatItInterruptsIsAnUnfinishedPart) {
  const TemporaryFolder folder;
  const std::string one = folder.path("one.safetensors"), parts = folder.path("p");
  const Words& words = kLongCollection;
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

}  // namespace
}  // namespace scute::cli_shard_test
