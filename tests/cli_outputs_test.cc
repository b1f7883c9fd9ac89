// What verbs may write over, who may write it, and what a killed one leaves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "cli/terminal/lost_input.h"
#include "scute/io/file.h"
#include "tests/program.h"

namespace scute::cli_outputs_test {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

using Words = std::vector<std::string>;

const std::string kText = "examples/text/calibration.jsonl";
const std::string kCobra = "tests/golden/cobra/";
const std::string kRegressor = "tests/golden/regressor/slim.pt";

class CliOutputs : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_.path(name); }
  Words collect(const std::string& out) const {
    return {"collect",   "examples/tiny-mamba1",
            "--data",    kText,
            "--samples", "2",
            "--seqlen",  "16",
            "--quiet",   "--out",
            out};
  }
  std::string statistics() const {
    const std::string out = path("s.safetensors");
    if (!fs::exists(out)) {
      EXPECT_EQ(scute_program(collect(out)).code, 0);
    }
    return out;
  }
  std::string plan() const {
    const std::string out = path("plan.json");
    if (!fs::exists(out)) {
      EXPECT_EQ(scute_program({"decide", statistics(), "--out", out}).code, 0);
    }
    return out;
  }

  TemporaryFolder folder_;
};

/// Every verb that writes one file, with the file last.
struct OneFile {
  const char* name;
  Words words;
  std::string ending;
};

/// STATS and PLAN stand for files that are made first.
const OneFile kFiles[] = {
    {"Collect",
     {"collect", "examples/tiny-mamba1", "--data", kText, "--samples", "2", "--seqlen", "16",
      "--quiet", "--out"},
     ".safetensors"},
    {"CollectCobra",
     {"collect", kCobra + "model", "--images", kCobra + "pictures", "--batches", "1", "--quiet",
      "--out"},
     ".pt"},
    {"CollectRegressor",
     {"collect", kRegressor, "--feat-root", "tests/golden/regressor_features", "--quiet", "--out"},
     ".pt"},
    {"Merge", {"merge", "STATS", "--out"}, ".pt"},
    {"Decide", {"decide", "STATS", "--out"}, ".json"},
    {"Dump",
     {"dump", "examples/tiny-mamba1", "--text", "examples/text/README.md", "--sites",
      "layer_0.in_proj:input", "--out"},
     ".safetensors"},
    {"DumpCobra",
     {"dump", kCobra + "model", "--images", kCobra + "pictures", "--sites", "projector", "--out"},
     ".safetensors"},
    {"ExportGguf", {"export", "examples/tiny-mamba1", "--gguf", "q8_0", "--out"}, ".gguf"},
    {"Hessians",
     {"quantize", "examples/tiny-mamba1", "--w-bits", "4", "--a-bits", "16", "--data", kText,
      "--samples", "2", "--seqlen", "16", "--quiet", "--out", "FOLDER", "--save-hessians"},
     ".safetensors"},
    {"Items",
     {"eval", "examples/tiny-mamba1", "--perplexity", "examples/text/heldout.txt", "--window", "32",
      "--max-windows", "2", "--quiet", "--items-out"},
     ".jsonl"},
    {"ItemsCobra",
     {"eval", kCobra + "model", "--images", kCobra + "pictures", "--against", kCobra + "model",
      "--max-pictures", "1", "--quiet", "--items-out"},
     ".jsonl"},
    {"SavedCheckpoint",
     {"eval", kRegressor, "--feat-root", "tests/golden/regressor_features", "--quant-bits", "8",
      "--quiet", "--save-calib-ckpt"},
     ".pt"},
    {"QuantizeRegressor", {"quantize", kRegressor, "--quant-mode", "fixed88", "--out"}, ".pt"},
    {"Scales", {"scales", "PLAN", "--set", "*x_proj:input*=1.5", "--out"}, ".json"},
    {"Report", {"report", "--stats", "STATS", "--out"}, ".html"},
};

class CliOutputFile : public CliOutputs, public ::testing::WithParamInterface<OneFile> {
 protected:
  Ended run(const std::string& out, const Words& more = {}) const {
    Words words = GetParam().words;
    for (std::string& word : words) {
      if (word == "STATS") word = statistics();
      if (word == "PLAN") word = plan();
      if (word == "FOLDER") word = path("low");
    }
    words.push_back(out);
    words.insert(words.end(), more.begin(), more.end());
    return scute_program(words);
  }
};
INSTANTIATE_TEST_SUITE_P(Verbs, CliOutputFile, ::testing::ValuesIn(kFiles),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST_P(CliOutputFile, IsReplacedWhenScuteWroteItAndNobodyChangedIt) {
  const std::string out = path("out" + GetParam().ending);
  const Ended first = run(out);
  ASSERT_EQ(first.code, 0) << first.err;
  const Ended second = run(out);
  EXPECT_EQ(second.code, 0) << second.err;
  std::ofstream(out, std::ios::app) << "\n";
  const std::string edited = read_text(out);
  const Ended third = run(out);
  EXPECT_EQ(third.code, 1);
  EXPECT_THAT(third.err, AllOf(HasSubstr(out), HasSubstr("changed since"), HasSubstr("--force")));
  EXPECT_EQ(read_text(out), edited);
  EXPECT_EQ(run(out, {"--force"}).code, 0);
  EXPECT_NE(read_text(out), edited);
  std::ofstream(out) << "somebody's";
  EXPECT_EQ(run(out).code, 1);
  EXPECT_EQ(read_text(out), "somebody's");
  EXPECT_THAT(folder_.names(), Not(Contains(HasSubstr(".writing"))));
}

TEST_P(CliOutputFile, IsNotWrittenByTwo) {
  const std::string out = path("out" + GetParam().ending);
  const Claim other(out);
  const Ended ended = run(out);
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.err, AllOf(HasSubstr(out), HasSubstr("nobody else is writing")));
}

TEST_P(CliOutputFile, IsNeverAnInput) {
  const std::string model = GetParam().words[1];
  if (!fs::exists(model)) GTEST_SKIP() << "SKIPPED: reads no model";
  // A model of one's own, of which the output would be a part.
  fs::copy(model, path(fs::is_directory(model) ? "model" : "model.pt"),
           fs::copy_options::recursive);
  std::string target = path("model.pt");
  if (fs::is_directory(path("model"))) {
    target = path("model/anything" + GetParam().ending);
    std::ofstream(target) << "an input";
  } else if (GetParam().ending != ".pt") {
    GTEST_SKIP() << "SKIPPED: has another name than its input";
  }
  const std::string before = read_text(target);
  Words words = GetParam().words;
  words[1] = fs::is_directory(path("model")) ? path("model") : path("model.pt");
  for (std::string& word : words) {
    if (word == "FOLDER") word = path("low");
  }
  words.insert(words.end(), {target, "--force"});
  const Ended ended = scute_program(words);
  EXPECT_EQ(ended.code, 2) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("an output that is not read"));
  EXPECT_EQ(read_text(target), before);
}

TEST_P(CliOutputFile, EndsAsTheHelpSays) {
  const Ended ended = run(path("out.tex"));
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("out.tex"), HasSubstr(GetParam().ending)));
}

TEST_F(CliOutputs, ARecordIsAddedToALogAlone) {
  const auto eval = [&](const std::string& log) {
    return scute_program({"eval", kRegressor, "--feat-root", "tests/golden/regressor_features",
                          "--quiet", "--log", log});
  };
  const std::string log = path("log.jsonl");
  for (const char* text : {"my notes\n", "{\n \"a\": 1\n}\n"}) {
    std::ofstream(log) << text;
    const Ended ended = eval(log);
    EXPECT_EQ(ended.code, 1);
    EXPECT_THAT(ended.err, AllOf(HasSubstr(log), HasSubstr("expected an experiment log")));
    EXPECT_EQ(read_text(log), text);
  }
  for (const char* text : {"", "{\"id\": \"1\", \"timesta", "{\"id\": \"1\"}\n"}) {
    std::ofstream(log) << text;
    EXPECT_EQ(eval(log).code, 0) << text;
    EXPECT_GT(read_text(log).size(), std::string_view(text).size());
  }
}

TEST_F(CliOutputs, AFolderIsNotWrittenByTwo) {
  const Words words{"quantize", "examples/tiny-mamba1", "--plan", plan(), "--quiet", "--out",
                    path("low")};
  {
    const Claim other(path("low"));
    const Ended ended = scute_program(words);
    EXPECT_EQ(ended.code, 1);
    EXPECT_THAT(ended.err, AllOf(HasSubstr(path("low")), HasSubstr("process")));
  }
  EXPECT_EQ(scute_program(words).code, 0);
}

// The first one would be made, and the second not allowed to replace it.
TEST_F(CliOutputs, AFolderIsNotWrittenIntoAModel) {
  fs::copy("examples/tiny-mamba1", path("model"));
  fs::create_directory(path("model/sub"));
  fs::copy(kCobra + "model", path("cobra"), fs::copy_options::recursive);
  for (Words words : {Words{"quantize", path("model"), "--w-bits", "4", "--a-bits", "16", "--out",
                            path("model/in")},
                      Words{"quantize", path("model"), "--w-bits", "4", "--a-bits", "16", "--force",
                            "--out", path("model/sub/in")},
                      Words{"quantize", path("cobra"), "--w-bits", "8", "--a-bits", "16", "--out",
                            path("cobra/in")}}) {
    const Ended ended = scute_program(words);
    EXPECT_EQ(ended.code, 1) << ended.out;
    EXPECT_THAT(ended.err, HasSubstr("none that holds it or lies in it, found a new one in "));
    EXPECT_FALSE(fs::exists(words.back()));
    EXPECT_FALSE(fs::exists(words.back() + ".writing"));
  }
}

TEST_F(CliOutputs, WhatLooksLikeALeftoverStays) {
  for (const std::string name : {"low.writing-12345", "low.writing-1.old"}) {
    fs::create_directory(path(name));
    std::ofstream(path(name + "/thesis.tex")) << "mine";
  }
  EXPECT_EQ(scute_program({"quantize", "examples/tiny-mamba1", "--plan", plan(), "--quiet", "--out",
                           path("low")})
                .code,
            0);
  EXPECT_EQ(read_text(path("low.writing-12345/thesis.tex")), "mine");
  EXPECT_EQ(read_text(path("low.writing-1.old/thesis.tex")), "mine");
}

TEST_F(CliOutputs, ASignalLeavesNothing) {
  Words words = collect(path("s.safetensors"));
  words[5] = "300";
  words[7] = "512";
  Child child(words);
  for (int i = 0; i < 1000 && !fs::exists(path("s.safetensors.writing")); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_TRUE(fs::exists(path("s.safetensors.writing")));
  std::this_thread::sleep_for(std::chrono::milliseconds(500));  // it has half a minute to do
  child.send(SIGTERM);
  child.send(SIGTERM);  // the second ends it wherever it is
  EXPECT_EQ(child.wait().code, 128 + SIGTERM);
  EXPECT_THAT(folder_.names(), Not(Contains(HasSubstr(".writing"))));
}

TEST_F(CliOutputs, WhatChangesWhileItIsReadIsNoResult) {
  fs::copy("examples/tiny-mamba1", path("model"));
  Words words = collect(path("s.safetensors"));
  words[1] = path("model");
  words[5] = "40";
  words[7] = "512";
  const std::string weights = path("model/model.safetensors");
  fs::copy(weights, path("other.safetensors"));  // the same bytes: it is another file all the same
  Child child(words);
  for (int i = 0; i < 1000 && !fs::exists(path("s.safetensors.writing/.scute-writing")); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(300));  // it has seconds to do
  fs::rename(path("other.safetensors"), weights);
  const Ended ended = child.wait();
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.err, AllOf(HasSubstr(weights), HasSubstr("changed while it was read")));
  EXPECT_THAT(folder_.names(), ElementsAre("model"));
}

TEST_F(CliOutputs, WhatIsCutShortWhileItIsMappedIsNamed) {
  const std::string file = path("large");
  std::ofstream(file) << "x";
  fs::resize_file(file, 1 << 16);
  const auto mapped = map_file(file, 0, 1 << 16);
  fs::resize_file(file, 1);
  const auto read_beyond = [&] {
    cli::name_lost_inputs();
    std::_Exit(static_cast<const volatile unsigned char*>(
        static_cast<const volatile void*>(mapped.get()))[1 << 15]);
  };
  EXPECT_EXIT(read_beyond(), ::testing::ExitedWithCode(1), "large: .*cut short");
}

TEST_F(CliOutputs, ANamedPipeIsRefusedAtOnce) {
  const std::string pipe = path("pipe.jsonl");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  for (const Words& words : std::vector<Words>{
           {"collect", "examples/tiny-mamba1", "--data", pipe, "--out", path("s.safetensors")},
           {"decide", statistics(), "--per-site", "*=minmax", "--out", pipe + ".json"},
           {"eval", "examples/tiny-mamba1", "--last-word", pipe},
           {"eval", "examples/tiny-mamba1", "--perplexity", pipe},
           {"dump", "examples/tiny-mamba1", "--text", pipe, "--out", path("d.safetensors")},
           {"scales", pipe, "--set", "a=1"},
           {"log", "--log", pipe},
           {"generate", "examples/tiny-mamba1", "--prompt-file", pipe},
       }) {
    if (words[0] == "decide") ::mkfifo((pipe + ".json").c_str(), 0600);
    Child child(words);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const Ended ended = child.wait();
    EXPECT_EQ(ended.code, 1) << words[0] << ended.err;
    EXPECT_THAT(ended.err, HasSubstr("pipe")) << words[0];
  }
}

}  // namespace
}  // namespace scute::cli_outputs_test
