// GPTQ's Hessians in parts, and those that were not finished.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "tests/program.h"
#include "tests/shared_work.h"

namespace scute::cli_hessians_test {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

const Words kHessians{"quantize",
                      "examples/tiny-mamba2",
                      "--gptq",
                      "--data",
                      "examples/text/calibration.jsonl",
                      "--samples",
                      "6",
                      "--seqlen",
                      "64",
                      "--quiet"};

TEST(ShardedHessians, AreThoseOfOneProcessForAnyNumberOfParts) {
  const TemporaryFolder folder;
  const std::string one = folder.path("one.safetensors"), all = folder.path("all.safetensors");
  ASSERT_EQ(scute_program(kHessians + Words{"--w-bits", "4", "--a-bits", "16", "--save-hessians",
                                            one, "--out", folder.path("q")})
                .code,
            0);
  for (const int of : {1, 3, 4}) {
    const std::string parts = folder.path("parts" + std::to_string(of));
    for (int i = of; i-- > 0;) {
      const Ended ended =
          scute_program(kHessians + Words{"--out", parts, "--shard",
                                          std::to_string(i) + "/" + std::to_string(of)});
      ASSERT_EQ(ended.code, 0) << ended.err;
    }
    const Ended merged = scute_program({"merge", parts, "--out", all});
    ASSERT_EQ(merged.code, 0) << merged.err;
    EXPECT_EQ(bytes(all), bytes(one)) << of;
  }
  const Words third = kHessians + Words{"--out", folder.path("parts3"), "--shard", "1/3"};
  EXPECT_THAT(scute_program(third + Words{"--json"}).out, HasSubstr("\"was_complete\": true"));
  EXPECT_THAT(scute_program(third + Words{"--samples", "5"}).err,
              HasSubstr("expected this part: the same model, data and options"));
  EXPECT_THAT(
      scute_program(kHessians + Words{"--out", folder.path("parts3"), "--shard", "1/2"}).err,
      HasSubstr("found parts of 3"));
  std::filesystem::remove(folder.path("parts3/part-1-of-3.safetensors"));
  EXPECT_THAT(scute_program({"merge", folder.path("parts3"), "--out", all}).err,
              HasSubstr("missing: 1"));
  EXPECT_THAT(scute_program(kHessians + Words{"--out", folder.path("p"), "--shard", "0/5"}).err,
              HasSubstr("at most 4 parts"));
}

/// What decides is what files hold.
TEST(ShardedHessians, AreThoseOfACopyOfTheData) {
  const TemporaryFolder folder;
  const Words part{"--out", folder.path("parts"), "--shard", "0/2", "--json"};
  ASSERT_EQ(scute_program(kHessians + part).code, 0);
  const std::string copy = folder.path("renamed.jsonl");
  fs::copy_file("examples/text/calibration.jsonl", copy);
  Words words = kHessians;
  std::ranges::replace(words, std::string("examples/text/calibration.jsonl"), copy);
  const Ended same = scute_program(words + part);
  EXPECT_EQ(same.code, 0) << same.err;
  EXPECT_THAT(same.out, HasSubstr("\"was_complete\": true"));
  std::ofstream(copy, std::ios::app) << "{\"text\": \"One more, and it is another.\"}\n";
  EXPECT_THAT(scute_program(words + part).err, HasSubstr("data_sha256"));
}

TEST(ShardedHessians, AChangedByteIsNotTaken) {
  const TemporaryFolder folder;
  const std::string parts = folder.path("p"), file = parts + "/part-0-of-1.safetensors";
  const Words part = kHessians + Words{"--out", parts, "--shard", "0/1"};
  ASSERT_EQ(scute_program(part).code, 0);
  std::string changed = bytes(file);
  changed[changed.size() - 3] = static_cast<char>(changed[changed.size() - 3] ^ 1);
  std::ofstream(file, std::ios::binary) << changed;
  for (const Words& reader :
       {part, Words{"merge", parts, "--out", folder.path("all.safetensors")}}) {
    const Ended refused = scute_program(reader);
    EXPECT_EQ(refused.code, 1);
    EXPECT_THAT(refused.err, HasSubstr("part-0-of-1.safetensors"));
    EXPECT_THAT(refused.err, HasSubstr("other content than its own hash says"));
    if (reader != part) continue;
    EXPECT_THAT(refused.err, HasSubstr("--force measures this part anew"));
  }
  EXPECT_FALSE(fs::exists(folder.path("all.safetensors")));
}

TEST(ShardedHessians, WhatAPartDoesNotReadIsRefused) {
  const TemporaryFolder folder;
  const Words part = kHessians + Words{"--out", folder.path("p"), "--shard", "0/2"};
  for (const Words& unread :
       {Words{"--stats", "no-such-file"}, Words{"--plan", "no-such-file"}, Words{"--w-bits", "4"},
        Words{"--hybrid-blocks", "no-such-file"}, Words{"--overrides", "no-such-file"}}) {
    const Ended refused = scute_program(part + unread);
    EXPECT_EQ(refused.code, 2) << unread[0];
    EXPECT_THAT(refused.err, HasSubstr("expected no --shard")) << unread[0];
  }
  EXPECT_FALSE(fs::exists(folder.path("p")));
}

/// Long enough to be stopped in its middle.
const Words kLongQuantization{"quantize",
                              "examples/tiny-mamba2",
                              "--w-bits",
                              "4",
                              "--a-bits",
                              "16",
                              "--gptq",
                              "--data",
                              "examples/text/calibration.jsonl",
                              "--samples",
                              "60",
                              "--seqlen",
                              "256",
                              "--quiet",
                              "--threads",
                              "1"};

/// The folder's tensors, and its Hessians beside it.
std::string quantized_bytes(const TemporaryFolder& folder, const std::string& name) {
  return bytes(folder.path(name + "/model.safetensors")) +
         bytes(folder.path(name + ".hessians.safetensors"));
}
Words into(const TemporaryFolder& folder, const std::string& name) {
  return {"--out", folder.path(name), "--save-hessians",
          folder.path(name + ".hessians.safetensors")};
}

/// quantized_bytes() of the long quantization when nobody stops it.
const std::string& undisturbed() {
  static const std::string whole = [] {
    const TemporaryFolder folder;
    const Ended ended = scute_program(kLongQuantization + into(folder, "q"));
    return ended.code == 0 ? quantized_bytes(folder, "q") : ended.err;
  }();
  return whole;
}

class HessianCheckpoints : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Signals, HessianCheckpoints, testing::Values(SIGKILL, SIGTERM, SIGUSR1));

TEST_P(HessianCheckpoints, AfterASignalTheSameCommandGoesOn) {
  const TemporaryFolder folder;
  const Words kept = kLongQuantization + into(folder, "q") + Words{"--checkpoint-every", "4"};
  const std::string sums = folder.path("q.writing/.checkpoint/");
  // In the first sum, and in a later one.
  for (const char* sign : {"sum-0-0.safetensors", "sum-0-2.safetensors"}) {
    const Ended stopped = stopped_by(GetParam(), kept, sums + sign);
    ASSERT_EQ(stopped.code, 128 + GetParam()) << stopped.err;
    if (GetParam() != SIGKILL) {
      EXPECT_THAT(stopped.err, HasSubstr("of 60 windows; a checkpoint beside"));
      EXPECT_THAT(stopped.err, HasSubstr("the same command goes on"));
    }
    EXPECT_TRUE(fs::exists(sums + sign));
    EXPECT_FALSE(fs::exists(folder.path("q")));
  }
  const Ended rest = scute_program(kept);
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_EQ(quantized_bytes(folder, "q"), undisturbed());
  EXPECT_EQ(folder.names(), (Words{"q", "q.hessians.safetensors"}));
}

TEST(HessianCheckpoint, OfAPartIsGoneOnWith) {
  const TemporaryFolder folder;
  Words words = kLongQuantization;
  words.erase(words.begin() + 2, words.begin() + 6);  // bits, which a part does not read
  for (const char* name : {"one", "p"}) {
    const Words part =
        words + Words{"--out", folder.path(name), "--shard", "1/2", "--checkpoint-every", "1"};
    if (std::string(name) == "p") {
      const Ended killed = stopped_by(
          SIGKILL, part,
          folder.path("p/part-1-of-2.safetensors.writing/.checkpoint/sum-0-1.safetensors"));
      ASSERT_EQ(killed.code, 128 + SIGKILL);
    }
    const Ended ended = scute_program(part);
    ASSERT_EQ(ended.code, 0) << ended.err;
  }
  EXPECT_EQ(bytes(folder.path("p/part-1-of-2.safetensors")),
            bytes(folder.path("one/part-1-of-2.safetensors")));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path("p")), {}), 1);
}

TEST(HessianCheckpoint, OfAnotherCommandIsRefusedUntilForced) {
  const TemporaryFolder folder;
  const Words out{"--out", folder.path("q")};
  const Words kept = kLongQuantization + out + Words{"--checkpoint-every", "4"};
  const std::string sum = folder.path("q.writing/.checkpoint/sum-0-0.safetensors");
  ASSERT_EQ(stopped_by(SIGKILL, kept, sum).code, 128 + SIGKILL);
  const Words few{"--samples", "5"};
  const Ended other = scute_program(kept + few);
  EXPECT_EQ(other.code, 1);
  EXPECT_THAT(other.err, HasSubstr("those of another: "));
  EXPECT_THAT(other.err, HasSubstr("windows 60, not 5"));
  const Ended without = scute_program({"quantize", "examples/tiny-mamba2", "--w-bits", "4",
                                       "--a-bits", "16", "--out", folder.path("q")});
  EXPECT_EQ(without.code, 1);
  EXPECT_THAT(without.err, HasSubstr("--force drops it"));
  // Other verbs never drop it; nor does --force before there is work that takes its place.
  const Ended cobra = scute_program({"quantize", "tests/golden/cobra/model", "--w-bits", "4",
                                     "--a-bits", "16", "--force", "--out", folder.path("q")});
  EXPECT_EQ(cobra.code, 1);
  EXPECT_THAT(cobra.err, HasSubstr("expected no unfinished work of another command there"));
  EXPECT_EQ(scute_program(kept + Words{"--force", "--data", "no-such-file.jsonl"}).code, 1);
  ASSERT_TRUE(fs::exists(sum));
  ASSERT_EQ(scute_program(kLongQuantization + few + Words{"--out", folder.path("five")}).code, 0);
  EXPECT_EQ(scute_program(kept + few + Words{"--force"}).code, 0);
  EXPECT_EQ(bytes(folder.path("q/model.safetensors")),
            bytes(folder.path("five/model.safetensors")));
}

TEST(HessianCheckpoint, ABrokenSumIsMeasuredAgain) {
  const TemporaryFolder folder;
  const Words kept = kLongQuantization + into(folder, "q") + Words{"--checkpoint-every", "4"};
  const std::string sum = folder.path("q.writing/.checkpoint/sum-0-0.safetensors");
  ASSERT_EQ(stopped_by(SIGKILL, kept, sum).code, 128 + SIGKILL);
  std::string changed = bytes(sum);
  changed[changed.size() - 3] = static_cast<char>(changed[changed.size() - 3] ^ 1);
  std::ofstream(sum, std::ios::binary) << changed;
  const Ended rest = scute_program(kept);
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_THAT(rest.err, HasSubstr("sum-0-0.safetensors"));
  EXPECT_THAT(rest.err, HasSubstr("measured again"));
  EXPECT_EQ(quantized_bytes(folder, "q"), undisturbed());
}

/// Whatever it is called: each says which pass and which of its sums it is of.
TEST(HessianCheckpoint, AnotherSumInItsPlaceIsMeasuredAgain) {
  const TemporaryFolder folder;
  const Words kept = kLongQuantization + into(folder, "q") + Words{"--checkpoint-every", "4"};
  const std::string beside = folder.path("q.writing/.checkpoint/");
  ASSERT_EQ(stopped_by(SIGKILL, kept, beside + "sum-0-1.safetensors").code, 128 + SIGKILL);
  fs::copy(beside + "sum-0-1.safetensors", beside + "sum-0-0.safetensors",
           fs::copy_options::overwrite_existing);
  const Ended rest = scute_program(kept);
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_THAT(rest.err, HasSubstr("expected the sums of sum-0-0, found those of sum-0-1"));
  EXPECT_EQ(quantized_bytes(folder, "q"), undisturbed());
}

/// Layer by layer what is finished is kept, and the streams.
class LayeredCheckpoints : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Signals, LayeredCheckpoints, testing::Values(SIGKILL, SIGTERM));

TEST_P(LayeredCheckpoints, AfterASignalTheSameCommandGoesOn) {
  const TemporaryFolder folder;
  const Words little = kLongQuantization + Words{"--memory", "90M", "--out"};
  const Words kept = little + Words{folder.path("q"), "--checkpoint-every", "1"};
  const std::string beside = folder.path("q.writing/.checkpoint/");
  const Ended stopped = stopped_by(GetParam(), kept, beside + "layer-1.safetensors");
  ASSERT_EQ(stopped.code, 128 + GetParam()) << stopped.err;
  const bool is_told = GetParam() != SIGKILL;
  EXPECT_EQ(stopped.err.find("matrices; a checkpoint beside") != std::string::npos, is_told);
  EXPECT_FALSE(fs::exists(folder.path("q")));
  const Ended other = scute_program(kept + Words{"--group-size", "32"});
  EXPECT_EQ(other.code, 1);
  EXPECT_THAT(other.err, HasSubstr("group 128, not 32"));
  // Sums of all layers at once are other work.
  const Ended whole = scute_program(kLongQuantization + Words{"--out", folder.path("q")});
  EXPECT_EQ(whole.code, 1);
  EXPECT_THAT(whole.err, HasSubstr("layer_by_layer"));
  const Ended rest = scute_program(little + Words{folder.path("q")});
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_EQ(folder.names(), Words{"q"});
  ASSERT_EQ(scute_program(little + Words{folder.path("one")}).code, 0);
  for (const char* file : {"/model.safetensors", "/recipe.json"}) {
    EXPECT_EQ(bytes(folder.path("q") + file), bytes(folder.path("one") + file)) << file;
  }
}

TEST(LayeredCheckpoint, WithoutAFileOfItsMatricesSaysThatItBeginsAnew) {
  const TemporaryFolder folder;
  const Words kept = kLongQuantization +
                     Words{"--memory", "90M", "--checkpoint-every", "1", "--out", folder.path("q")};
  const std::string beside = folder.path("q.writing/.checkpoint/");
  ASSERT_EQ(stopped_by(SIGKILL, kept, beside + "layer-1.safetensors").code, 128 + SIGKILL);
  ASSERT_TRUE(fs::remove(beside + "matrices-1.safetensors"));
  const Ended rest = scute_program(kept);
  EXPECT_EQ(rest.code, 0) << rest.err;
  EXPECT_THAT(rest.err, HasSubstr("; begun anew"));
}

}  // namespace
}  // namespace scute::cli_hessians_test
