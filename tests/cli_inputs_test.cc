// What verbs read: one file from beginning to end, standard input where texts are meant.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>

#include "cli/form.h"
#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/base/json.h"
#include "scute/io/file.h"
#include "scute/recipe/statistics_io.h"
#include "tests/program.h"

namespace scute::cli {

/// A verb that reads a file, which is changed meanwhile if it says so.
struct ReadingRequest {
  std::string file, out;
  bool change = false, change_out = false;
  void declare(Options& options) {
    options.text("FILE", file, "FILE", "what is read");
    options.last_reads();
    options.text("--out", out, "FILE", "what is written");
    options.flag("--change", change, "");
    options.flag("--change-out", change_out, "");
  }
};
int run(ReadingRequest& request, const Call&, Output&) {
  if (request.change) std::ofstream(request.file) << "another";
  if (request.change_out) std::ofstream(request.out) << "another";
  return kDone;
}

}  // namespace scute::cli

namespace scute::cli_inputs_test {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::HasSubstr;
using Words = std::vector<std::string>;

const std::string kModel = "examples/tiny-mamba1";
const std::string kTexts = "examples/text/calibration.jsonl";
const std::string kHeldout = "examples/text/heldout.txt";
const std::string kCobra = "tests/golden/cobra/";

TEST(Inputs, ThatChangeAreAnErrorOfEveryForm) {
  const TemporaryFolder folder;
  const cli::Form form = cli::form<cli::ReadingRequest>({});
  const auto run = [&](const Words& words) {
    std::ofstream(folder.path("a")) << "one";
    std::ofstream(folder.path("b")) << "one";
    cli::Call call{.verb = "sites", .form = &form, .arguments = {folder.path("a")}};
    call.arguments.insert(call.arguments.end(), words.begin(), words.end());
    cli::Output out(cli::Output::To::text);
    return form.run(call, out);
  };
  EXPECT_EQ(run({}), 0);
  EXPECT_THROW(run({"--change"}), Error);
  EXPECT_EQ(run({"--out", folder.path("b"), "--change-out"}), 0);
}

/// Flags that name what is written or cleaned, or a log that others add to.
TEST(Inputs, EveryFlagThatNamesAFileReadsOrWritesIt) {
  const Words written{"--out",     "--save-hessians", "--save-calib-ckpt",
                      "--out-dir", "--items-out",     "--export-best-json",
                      "--log",     "--mlflow",        "--pretrained-dir",
                      "--parts",   "--leftovers",     "TARGET"};
  int read = 0;
  for (const cli::Verb& verb : cli::verbs()) {
    for (const cli::Form& form : verb.forms) {
      for (const cli::FlagInfo& flag : form.flags()) {
        const bool path = flag.label.find("FILE") != std::string::npos ||
                          std::ranges::count(Words{"DIR", "FOLDER", "PATH", "MODEL", "MODEL,..."},
                                             flag.label) > 0;
        const std::string& name = flag.names.front();
        const bool writes = std::ranges::count(written, name) > 0;
        EXPECT_FALSE(flag.reads && (!path || writes)) << verb.name << " " << name;
        EXPECT_TRUE(!path || flag.reads || writes) << verb.name << " " << name;
        read += flag.reads ? 1 : 0;
      }
    }
  }
  EXPECT_GT(read, 80);
}

class StandardInput : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_.path(name); }
  TemporaryFolder folder_;
};

TEST_F(StandardInput, HoldsTextsToCollect) {
  const std::string end = " --samples 3 --seqlen 16 --quiet --out ";
  const auto collected = [&](const std::string& input, const std::string& data,
                             const std::string& name) {
    const std::string out = path(name);
    const Ended ended = shell(input + "scute collect " + kModel + " --data " + data + end + out);
    EXPECT_EQ(ended.code, 0) << ended.err;
    return read_statistics(out);
  };
  const StatisticsSet file = collected("", kTexts, "a.safetensors");
  for (const char* name : {"-", "/dev/stdin"}) {
    const StatisticsSet piped = collected("cat " + kTexts + " | ", name, "b.safetensors");
    EXPECT_EQ(piped.meta.at("windows_sha256", ""), file.meta.at("windows_sha256", ""));
    const auto data = [](const StatisticsSet& set) {
      return set.meta.at("data", "")
          .as_array("")[0]
          .at("files", "")
          .as_array("")[0]
          .at("sha256", "");
    };
    EXPECT_EQ(data(piped), data(file));
    fs::remove(path("b.safetensors"));
  }
}

TEST_F(StandardInput, HoldsATextToScore) {
  const std::string end = " --window 32 --max-windows 2 --quiet --json";
  const auto scored = [&](const std::string& line) {
    const Ended ended = shell(line + end);
    EXPECT_EQ(ended.code, 0) << ended.err;
    return Json::parse(ended.out, "").at("perplexity", "");
  };
  const std::string verb = "scute eval " + kModel + " --perplexity ";
  const Json file = scored(verb + kHeldout), piped = scored("cat " + kHeldout + " | " + verb + "-"),
             redirected = scored(verb + "- < " + kHeldout);
  for (const Json& one : {piped, redirected}) {
    EXPECT_EQ(one.at("value", ""), file.at("value", ""));
    EXPECT_EQ(one.at("sha256", ""), file.at("sha256", ""));
    EXPECT_EQ(one.at("file", ""), Json("-"));
  }
}

TEST_F(StandardInput, HoldsPrompts) {
  const std::string line = "printf '%s\\n' '{\"ids\": [1, 2, 3]}' | scute collect " + kCobra +
                           "model --images " + kCobra + "pictures --batches 1 --prompts - --out " +
                           path("s.safetensors");
  const Ended ended = shell(line);
  ASSERT_EQ(ended.code, 0) << ended.err;
  const Json text = read_statistics(path("s.safetensors")).meta.at("text", "");
  EXPECT_EQ(text.at("sha256", ""), Json(sha256("{\"ids\": [1, 2, 3]}\n")));
}

TEST_F(StandardInput, IsReadOnceAndByWhoReadsTexts) {
  const Ended twice = shell("echo a | scute eval " + kModel + " --perplexity - --last-word -");
  EXPECT_EQ(twice.code, 2);
  EXPECT_THAT(twice.err, AllOf(HasSubstr("standard input"), HasSubstr("--perplexity"),
                               HasSubstr("--last-word")));
  EXPECT_EQ(shell("echo a | scute collect " + kModel + " --data - --data /dev/stdin --out " +
                  path("s.safetensors"))
                .code,
            2);
  const Ended plan = shell("echo a | scute quantize " + kModel + " --plan - --out " + path("q"));
  EXPECT_EQ(plan.code, 1);
  const Ended statistics = shell("cat " + kTexts + " | scute decide /dev/stdin");
  EXPECT_EQ(statistics.code, 1);
}

TEST_F(StandardInput, ThatIsClosedIsNoOtherFile) {
  const Ended ended =
      shell("scute collect " + kModel + " --data - --out " + path("s.safetensors") + " <&-");
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.err, HasSubstr("found a device"));
}

/// These verbs answer and write nothing; they wait for standard input while the model is changed.
TEST_F(StandardInput, WhatChangesMeanwhileIsAnError) {
  fs::copy(kModel, path("model"));
  const std::string weights = path("model/model.safetensors"), verb = " | scute ";
  const std::string slow = "(sleep 1; touch -d 2001-01-01 " + weights + "; cat " + kHeldout + ")";
  for (const std::string& words :
       Words{"generate " + path("model") + " --prompt - --max-tokens 2 --quiet",
             "doctor " + path("model") + " --data -",
             "eval " + path("model") + " --perplexity - --window 32 --max-windows 2 --quiet"}) {
    fs::last_write_time(weights, fs::file_time_type::clock::now());
    const Ended ended = shell(slow + verb + words);
    EXPECT_EQ(ended.code, 1) << words;
    EXPECT_THAT(ended.err + ended.out,
                AllOf(HasSubstr(weights), HasSubstr("changed while it was read")))
        << words;
  }
}

TEST(Hessians, SavedBesideTheModelTwiceAreNoChangeOfIt) {
  const TemporaryFolder folder;
  fs::copy(kModel, folder.path("model"));
  for (const std::string samples : {"2", "3"}) {
    const Ended ended = scute_program(
        {"quantize", folder.path("model"), "--w-bits", "4", "--a-bits", "16", "--data", kTexts,
         "--samples", samples, "--seqlen", "16", "--quiet", "--save-hessians",
         folder.path("model/hessians.safetensors"), "--out", folder.path("low")});
    EXPECT_EQ(ended.code, 0) << ended.err;
  }
}

}  // namespace
}  // namespace scute::cli_inputs_test
