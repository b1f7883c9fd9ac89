// What doctor, collect, decide and run say of doubtful data before they cost hours, and what killed
// writers leave.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "cli/cobra/memory.h"
#include "cli/language/memory.h"
#include "cli/regressor/memory.h"
#include "cli/terminal/machine.h"
#include "cli/terminal/room.h"
#include "scute/base/error.h"
#include "scute/base/json.h"
#include "tests/program.h"
#include "tests/shared_work.h"

namespace scute::cli_hygiene_test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const std::string kModel = "examples/tiny-mamba1", kData = "examples/text/calibration.jsonl",
                  kHeldout = "examples/text/heldout.txt";

/// "LEVEL words" of each finding about a subject.
std::vector<std::string> findings(Words words, const std::string& subject) {
  words.emplace_back("--json");
  const Ended ended = scute_program(words);
  std::vector<std::string> out;
  const Json answer = Json::parse(ended.out, "doctor");
  for (const Json& one : answer.at("findings", "").as_array("")) {
    if (one.at("subject", "").as_string("") != subject) continue;
    out.push_back(one.at("level", "").as_string("") + " " + one.at("words", "").as_string(""));
  }
  return out;
}

TEST(Hygiene, DoctorFindsEvaluationDataInTheCalibration) {
  const TemporaryFolder folder;
  // Half of it is of the calibration data, at another place and among other words.
  std::ifstream lines(kData);
  std::string text, line;
  for (int i = 0; i < 3 && std::getline(lines, line); ++i) {
    text += Json::parse(line, kData).at("text", "").as_string("") + "\n\n";
  }
  std::ofstream(folder.path("mixed.txt")) << text << read_text(kHeldout).substr(0, text.size());
  const auto found = findings(
      {"doctor", kModel, "--data", kData, "--eval-data", folder.path("mixed.txt"), kHeldout},
      "overlap");
  ASSERT_EQ(found.size(), 2u);
  EXPECT_THAT(found[0], AllOf(HasSubstr("WARN"), HasSubstr("tokens in a row of 64")));
  EXPECT_THAT(found[1], HasSubstr("ok none of "));
}

TEST(Hygiene, DoctorComparesPicturesByTheirBytes) {
  const TemporaryFolder folder;
  const std::string pictures = "tests/golden/cobra/pictures";
  const Words doctor{"doctor", "tests/golden/cobra/model", "--images", pictures, "--eval-images"};
  for (const auto& entry : fs::directory_iterator(pictures)) {
    fs::copy(entry.path(), folder / ("other_" + entry.path().filename().string()));
  }
  EXPECT_THAT(findings(doctor + Words{folder.path()}, "overlap"),
              testing::ElementsAre(HasSubstr("WARN 6 of 6 pictures")));
  for (const auto& entry : fs::directory_iterator(folder.path())) {
    std::ofstream(entry.path(), std::ios::app) << "x";
  }
  EXPECT_THAT(findings(doctor + Words{folder.path()}, "overlap"),
              testing::ElementsAre(HasSubstr("ok none of 6 pictures")));
}

TEST(Hygiene, DoctorFindsWindowsOfARegressorInBothRoles) {
  const TemporaryFolder folder;
  const std::string features = "tests/golden/regressor_features";
  const Words doctor{"doctor", "tests/golden/regressor/slim.pt", "--feat-root"};
  for (const std::string& found : findings(doctor + Words{features}, "overlap")) {
    EXPECT_THAT(found, HasSubstr("ok none of "));
  }
  // The recording that is trained on is evaluated under another name.
  fs::copy(features, folder.path("f"), fs::copy_options::recursive);
  std::string name, listed;
  for (const auto& entry : fs::directory_iterator(folder.path("f/json"))) {
    const std::string text = read_text(entry.path());
    if (text.find("train") == std::string::npos) continue;
    name = entry.path().stem();
    listed = text;
  }
  ASSERT_NE(name, "");
  for (const std::string ending : {".feats.npy", ".xy.npy", ".ts.npy"}) {
    const std::string from = folder.path("f/npy/" + name + ending);
    if (fs::exists(from)) fs::copy(from, folder.path("f/npy/again" + ending));
  }
  for (size_t at = 0; (at = listed.find("train", at)) != std::string::npos;) {
    listed.replace(at, 5, "eval");
  }
  std::ofstream(folder.path("f/json/again.json")) << listed;
  EXPECT_THAT(findings(doctor + Words{folder.path("f")}, "overlap"),
              testing::Contains(AllOf(HasSubstr("WARN"), HasSubstr("eval windows in train too"))));
}

TEST(Hygiene, RunSaysBeforeItScoresWhatItWasCalibratedOn) {
  const TemporaryFolder folder;
  const Words work{"run",        kModel,      "--data",
                   kData,        "--samples", "4",
                   "--seqlen",   "128",       "--shuffle",
                   "none",       "--tasks",   "perplexity",
                   "--window",   "64",        "--max-windows",
                   "4",          "--log",     folder.path("log.jsonl"),
                   "--quiet",    "--policy",  "percentile:0.999999",
                   "--eval-data"};
  const Ended same = scute_program(work + Words{kData});
  ASSERT_EQ(same.code, 0) << same.err;
  EXPECT_THAT(same.err, AllOf(HasSubstr("that are scored"), HasSubstr("the scores flatter it")));
  // And of the percentile, which so few values cannot tell.
  EXPECT_THAT(same.err, HasSubstr("p99.9999 of "));
  EXPECT_THAT(same.err, HasSubstr("rests on none: 1,000,000 are needed"));
  EXPECT_THAT(scute_program(work + Words{kHeldout}).err, Not(HasSubstr("flatter")));
}

TEST(Hygiene, DecideSaysWhichPercentilesRestOnNoValue) {
  const TemporaryFolder folder;
  const std::string stats = folder.path("s.safetensors");
  ASSERT_EQ(scute_program({"collect", kModel, "--data", kData, "--samples", "1", "--seqlen", "16",
                           "--quiet", "--out", stats})
                .code,
            0);
  const Words decide{"decide", stats, "--policy", "percentile:0.99999"};
  EXPECT_THAT(scute_program(decide + Words{"--wide"}).out,
              AllOf(HasSubstr("WARNING: too few values at "),
                    HasSubstr("p99.999 of 256 values rests on none: 100,000 are needed")));
  const Json answer = Json::parse(scute_program(decide + Words{"--json"}).out, "decide");
  const Json& few = answer.at("summary", "").at("too_few_values", "");
  EXPECT_GT(few.at("sites", "").as_int(""), 10);
  EXPECT_EQ(few.at("needed", "").as_int(""), 100000);
  EXPECT_THAT(scute_program({"decide", stats, "--policy", "minmax"}).out,
              Not(HasSubstr("too few values")));
}

TEST(Hygiene, CollectDoubtsATokenizerOfFarFewerIds) {
  const TemporaryFolder folder;
  Json json = Json::parse(read_text(kModel + "/tokenizer.json"), "tokenizer");
  // Bytes and the first pairs alone: whole, and of another vocabulary.
  constexpr int64_t kIds = 300;
  Json few = Json::object();
  const Json all = json.at("model", "").at("vocab", "");
  for (const auto& [word, id] : all.as_object("")) {
    if (id.as_int("") < kIds) few.append_member(word, id);
  }
  json["model"]["vocab"] = few;
  json["model"]["merges"] = Json::array();
  std::ofstream(folder.path("other.json")) << json.dump();
  const Words collect{"collect",
                      kModel,
                      "--data",
                      kData,
                      "--samples",
                      "1",
                      "--seqlen",
                      "16",
                      "--quiet",
                      "--out",
                      folder.path("s.safetensors")};
  const Ended other = scute_program(collect + Words{"--tokenizer", folder.path("other.json")});
  EXPECT_EQ(other.code, 0);
  EXPECT_THAT(other.err, AllOf(HasSubstr("300 ids"), HasSubstr("4,096 rows"),
                               HasSubstr("is it the one that belongs to this model?")));
  EXPECT_EQ(scute_program(collect).err, "");
}

TEST(Hygiene, RoomOnADiskIsLookedAtBeforeTheWork) {
  const TemporaryFolder folder;
  constexpr int64_t kExabyte = 1'000'000'000'000'000'000;
  cli::require_disk(folder.path("q"), 1, "the low-bit model");
  EXPECT_THAT(fixtures::error_of(
                  [&] { cli::require_disk(folder.path("q"), kExabyte, "the low-bit model"); }),
              AllOf(HasSubstr(folder.path("q") + ": expected room for the low-bit model"),
                    HasSubstr("TB"), HasSubstr("are free on its disk")));
}

/// What work on so many threads says on standard error before it begins.
template <class Plan>
std::string said_before(int threads, const Plan& plan) {
  cli::Job job;
  job.threads = threads;
  testing::internal::CaptureStderr();
  plan(job);
  return testing::internal::GetCapturedStderr();
}

TEST(Hygiene, MemoryIsLookedAtBeforeACollectionOfEveryKind) {
  constexpr int kMany = 4096;  // the most there may be
  const std::string file = "statistics.safetensors";
  const auto lacks = AllOf(HasSubstr("of memory"), HasSubstr("are free: --memory"));
  EXPECT_THAT(said_before(kMany,
                          [&](const cli::Job& job) {
                            CollectOptions options;
                            options.data = {kData};
                            options.fine = 12;
                            cli::planned_collection(job, describe_model(kModel), options, file);
                          }),
              lacks);
  EXPECT_THAT(said_before(kMany,
                          [&](const cli::Job& job) {
                            const auto model = describe_cobra("tests/golden/cobra/model");
                            cli::planned_cobra_collection(job, model, {.sites = 10'000}, file);
                          }),
              lacks);
  const auto checkpoint = read_regressor_checkpoint("tests/golden/regressor/slim.pt");
  const cli::FeatureWork features{.root = "tests/golden/regressor_features",
                                  .roles = {FeatureRole::train}};
  EXPECT_THAT(said_before(kMany,
                          [&](const cli::Job& job) {
                            cli::plan_regressor_collection(job, checkpoint, features, file, false);
                          }),
              lacks);
  EXPECT_EQ(said_before(1,
                        [&](const cli::Job& job) {
                          cli::plan_regressor_collection(job, checkpoint, features, file, true);
                        }),
            "");
}

/// A collection that keeps what it finished, killed when there is something.
const Words kLong{"collect", kModel,    "--data",    kData, "--samples",          "200", "--seqlen",
                  "256",     "--quiet", "--threads", "1",   "--checkpoint-every", "2"};

TEST(Leftovers, DoctorListsThemAndRemovesThoseOfTheDead) {
  const TemporaryFolder folder;
  fs::create_directory(folder.path("deep"));
  const std::string out = folder.path("deep/s.safetensors");
  const Ended killed = stopped_by(SIGKILL, kLong + Words{"--out", out},
                                  out + ".writing/.checkpoint/part.safetensors");
  ASSERT_EQ(killed.code, 128 + SIGKILL);
  fs::create_directory(folder.path("other.writing"));
  std::ofstream(folder.path("other.writing/poem")) << "roses";
  const Words doctor{"doctor", "--leftovers", folder.path()};
  const auto listed = findings(doctor, "leftovers");
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_THAT(listed[0], AllOf(HasSubstr("WARN " + out + ".writing: "), HasSubstr("B, changed "),
                               HasSubstr("this host since"), HasSubstr("unfinished work")));
  // What can be gone on with stays until a person says otherwise.
  EXPECT_THAT(findings(doctor + Words{"--clean"}, "leftovers"),
              testing::ElementsAre(HasSubstr("what is unfinished is kept")));
  EXPECT_TRUE(fs::exists(out + ".writing"));
  EXPECT_THAT(findings(doctor + Words{"--clean", "--force"}, "leftovers"),
              testing::ElementsAre(AllOf(HasSubstr("ok "), HasSubstr("removed"))));
  EXPECT_FALSE(fs::exists(out + ".writing"));
  EXPECT_TRUE(fs::exists(folder.path("other.writing/poem")));
  EXPECT_THAT(findings(doctor + Words{"--clean"}, "leftovers"),
              testing::ElementsAre("ok none in " + folder.path()));
}

TEST(Leftovers, WhatIsNotProvenToBeScutesStaysOrWaitsForAPerson) {
  const TemporaryFolder folder;
  fs::create_directory(folder.path("log.jsonl.lock.writing"));
  fs::create_directory(folder.path("mine.writing"));
  std::ofstream(folder.path("mine.writing/.scute-writing")).close();
  std::ofstream(folder.path("mine.writing/poem")) << "roses";
  const Words clean{"doctor", "--leftovers", folder.path(), "--clean"};
  const auto mine =
      AllOf(HasSubstr("WARN " + folder.path("mine.writing: ")), HasSubstr("no record of scute's"));
  EXPECT_THAT(findings(clean, "leftovers"),
              testing::ElementsAre(HasSubstr("nothing proves that its writer is gone"), mine));
  EXPECT_THAT(findings(clean + Words{"--force"}, "leftovers"),
              testing::ElementsAre(HasSubstr("log.jsonl.lock.writing"), mine));
  EXPECT_EQ(folder.names(), std::vector<std::string>{"mine.writing"});
  EXPECT_TRUE(fs::exists(folder.path("mine.writing/.scute-writing")));
  EXPECT_TRUE(fs::exists(folder.path("mine.writing/poem")));
}

TEST(Leftovers, ANameThatSpeaksToTerminalsIsShown) {
  const TemporaryFolder folder;
  fs::create_directory(folder.path("a\x1b[2J\nb.writing"));
  const auto found = findings({"doctor", "--leftovers", folder.path()}, "leftovers");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_THAT(found[0], testing::Not(testing::AnyOf(HasSubstr("\x1b"), HasSubstr("\n"))));
}

TEST(Leftovers, OfALivingProcessStay) {
  const TemporaryFolder folder;
  const std::string out = folder.path("s.safetensors");
  Child child(kLong + Words{"--out", out});
  const std::string marker = out + ".writing/.scute-writing";
  for (int i = 0; i < 1000 && (!fs::exists(marker) || fs::file_size(marker) == 0); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const auto found =
      findings({"doctor", "--leftovers", folder.path(), "--clean", "--force"}, "leftovers");
  EXPECT_THAT(found, testing::ElementsAre(AllOf(HasSubstr("ok "), HasSubstr("being written"))));
  EXPECT_TRUE(fs::exists(marker));
  child.send(SIGKILL);
  child.wait();
}

}  // namespace
}  // namespace scute::cli_hygiene_test
