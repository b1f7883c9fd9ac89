// Bad input at the command line: one clear line, the right exit code, nothing half-written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "scute/base/json.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "tests/program.h"

namespace scute::cli_bad_input_test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr const char* kModel = "examples/tiny-mamba1";
constexpr const char* kText = "examples/text/calibration.jsonl";

/// One line that begins with "scute: error: " and contains the parts; exit code 1.
void expect_error(const Ended& ended, const std::vector<std::string>& parts) {
  EXPECT_EQ(ended.code, 1) << ended.out << ended.err;
  EXPECT_THAT(ended.err, StartsWith("scute: error: "));
  EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
  for (const std::string& part : parts) EXPECT_THAT(ended.err, HasSubstr(part));
}

/// A copy of the example model that a test spoils, and a place for statistics.
class BadInput : public testing::Test {
 protected:
  BadInput() {
    fs::create_directory(model());
    for (const char* name : {"config.json", "model.safetensors", "tokenizer.json"}) {
      fs::copy_file(fs::path(kModel) / name, model(name));
    }
  }
  std::string model(const std::string& name = "") const {
    return name.empty() ? folder_.path("model") : folder_.path("model/" + name);
  }
  std::string path(const std::string& name) const { return folder_.path(name); }
  const TemporaryFolder& folder() const { return folder_; }

  Ended collect(const std::string& data = kText, const std::string& out = "",
                const Surroundings& surroundings = {}) const {
    return scute_program({"collect", model(), "--data", data, "--samples", "4", "--seqlen", "32",
                          "--out", out.empty() ? path("s.safetensors") : out},
                         surroundings);
  }
  /// Rewrites the weights after `change`.
  template <class F>
  void change_weights(const F& change) const {
    SafetensorsFile file = read_safetensors(model("model.safetensors"));
    change(file.tensors);
    write_safetensors(path("changed.safetensors"), file.tensors, file.metadata);
    fs::rename(path("changed.safetensors"), model("model.safetensors"));
  }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name)) << text;
    return path(name);
  }

 private:
  TemporaryFolder folder_;
};

TEST_F(BadInput, TheSoundCopyWorks) { EXPECT_EQ(collect().code, 0); }

TEST_F(BadInput, TruncatedWeights) {
  fs::resize_file(model("model.safetensors"), 1'000'000);
  expect_error(collect(), {"model.safetensors", "expected", "found"});
  fs::resize_file(model("model.safetensors"), 5);
  expect_error(collect(), {"model.safetensors"});
}

TEST_F(BadInput, WeightsOfAnotherKind) {
  std::ofstream(model("model.safetensors")) << "<html>404 Not Found</html>";
  expect_error(collect(), {"model.safetensors"});
  std::ofstream(model("config.json")) << "{\"d_model\": ";
  expect_error(collect(), {"config.json"});
}

TEST_F(BadInput, AFolderThatIsNoModel) {
  expect_error(
      scute_program({"collect", "examples/text", "--data", kText, "--out", path("s.safetensors")}),
      {"examples/text", "config.json"});
  expect_error(scute_program({"sites", "nowhere"}), {"nowhere", "folder"});
  fs::remove(model("model.safetensors"));
  expect_error(collect(), {model(), "model.safetensors"});
}

TEST_F(BadInput, AMissingTensor) {
  change_weights([](auto& tensors) {
    std::erase_if(tensors, [](const NamedTensor& t) { return t.name.ends_with("3.mixer.A_log"); });
  });
  expect_error(collect(), {"backbone.layers.3.mixer.A_log", "missing"});
}

TEST_F(BadInput, AnExtraTensor) {
  change_weights([](auto& tensors) { tensors.push_back({"backbone.extra", tensors[0].tensor}); });
  expect_error(collect(), {"backbone.extra"});
}

TEST_F(BadInput, AMisshapenTensor) {
  change_weights([](auto& tensors) {
    for (NamedTensor& t : tensors) {
      if (t.name.ends_with("0.norm.weight")) t.tensor = Tensor(DType::f32, {255});
    }
  });
  expect_error(collect(), {"backbone.layers.0.norm.weight", "(256)", "(255)"});
}

TEST_F(BadInput, WhatNamesHoldNeverReachesTheTerminal) {
  const std::string name = "backbone.\x1b[31mred\x07\nline\x7f\xc2\x9b";
  change_weights([&](auto& tensors) { tensors.push_back({name, tensors[0].tensor}); });
  const Ended ended = collect();
  expect_error(ended, {"backbone.\\x1b[31mred\\x07"});
  for (const char* bad : {"\x1b", "\x07", "\x7f", "\xc2\x9b"}) {
    EXPECT_THAT(ended.err, Not(HasSubstr(bad)));
  }
  expect_error(collect(path("a\x1b\xff.csv")), {"a\\x1b\\xff.csv"});
}

TEST_F(BadInput, ALongErrorIsCutWithItsLength) {
  change_weights([](auto& tensors) {
    tensors.push_back({"backbone." + std::string(100000, 'x'), tensors[0].tensor});
  });
  const Ended ended = collect();
  expect_error(ended, {"backbone.xxx", "characters in all)"});
  EXPECT_LT(ended.err.size(), 2100u);
}

TEST_F(BadInput, LinesThatCannotBeReadAreNamedOrSkipped) {
  const std::string data =
      write("d.jsonl", "{\"text\": \"one two three\"}\n{\"text\": null}\n{\"te");
  expect_error(collect(data), {"d.jsonl:2: text: expected a string, found null"});
  const Ended ended = scute_program({"collect", model(), "--data", data, "--bad-lines", "skip",
                                     "--out", path("s.safetensors"), "--json"});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("2 bad lines left out:"));
  EXPECT_THAT(ended.err, HasSubstr("d.jsonl:3: expected valid JSON"));
  EXPECT_THAT(ended.out, HasSubstr("\"bad_lines\": 2"));
  const std::string items = write("i.jsonl", "{\"text\": \"one two\"}\n{\"text\": \"word\"}\n");
  const Ended scored =
      scute_program({"eval", model(), "--last-word", items, "--bad-lines", "skip"});
  EXPECT_EQ(scored.code, 0) << scored.err;
  EXPECT_THAT(scored.err, HasSubstr("1 bad line left out:"));
}

TEST_F(BadInput, SpecialTokensAreAddedAndRecordedWhenAskedFor) {
  const auto run = [&](const std::string& special, const std::string& out) {
    return scute_program({"collect", model(), "--data", kText, "--samples", "4", "--seqlen", "32",
                          "--special-tokens", special, "--out", path(out)});
  };
  expect_error(run("on", "a.safetensors"), {"tokenizer.json", "--special-tokens on"});
  Json tokenizer = Json::parse(read_text(model("tokenizer.json")), "tokenizer");
  tokenizer["post_processor"] = Json::parse(
      R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|endoftext|>"}},
          {"Sequence": {"id": "A"}}],
          "special_tokens": {"<|endoftext|>": {"ids": [0]}}})",
      "test");
  std::ofstream(model("tokenizer.json")) << tokenizer.dump();
  EXPECT_EQ(run("off", "off.safetensors").code, 0);
  const Ended on = run("on", "on.safetensors");
  EXPECT_EQ(on.code, 0) << on.err;
  EXPECT_THAT(on.out, HasSubstr("special tokens around each text"));
  const std::string off_text = read_text(path("off.safetensors"));
  const std::string on_text = read_text(path("on.safetensors"));
  EXPECT_THAT(off_text, Not(HasSubstr("special_tokens")));
  EXPECT_THAT(on_text, HasSubstr("--special-tokens on"));
  const Ended eval = scute_program({"eval", model(), "--perplexity", kText, "--window", "64",
                                    "--max-windows", "1", "--special-tokens", "on"});
  EXPECT_THAT(eval.out, HasSubstr("tokenized at once, the tokenizer's special tokens"));
}

TEST_F(BadInput, PlansNameNoFolders) {
  ASSERT_EQ(collect().code, 0);
  const std::string plan = path("plan.json");
  ASSERT_EQ(scute_program({"decide", path("s.safetensors"), "--out", plan}).code, 0);
  const std::string text = read_text(plan);
  EXPECT_THAT(text, HasSubstr("scute decide s.safetensors"));
  EXPECT_THAT(text, Not(HasSubstr(folder().path())));
}

TEST_F(BadInput, ATokenizerOfAnotherModel) {
  Json tokenizer = Json::parse(read_text(model("tokenizer.json")), "tokenizer");
  Json token = tokenizer.at("added_tokens", "").as_array("").front();
  token["id"] = 5000;
  token["content"] = "<|more|>";
  tokenizer["added_tokens"].push_back(token);
  std::ofstream(model("tokenizer.json")) << tokenizer.dump();
  expect_error(collect(), {"tokenizer.json", "4096", "5001"});
}

TEST_F(BadInput, NoTokenizerForText) {
  fs::remove(model("tokenizer.json"));
  expect_error(collect(), {"--tokenizer"});
  const std::string ids = write("ids.jsonl", "{\"ids\": [1, 2, 3]}\n");
  EXPECT_EQ(collect(ids).code, 0);
  expect_error(collect(write("large.jsonl", "{\"ids\": [1, 4096]}\n")), {"4096", "large.jsonl"});
}

TEST_F(BadInput, EmptyAndWrongText) {
  expect_error(collect(write("empty.txt", "")), {"empty.txt", "document"});
  expect_error(collect(write("blank.txt", " \n\n \n")), {"blank.txt"});
  expect_error(collect(write("bad.jsonl", "{\"text\": \"a\"}\n{\"txt\": \"b\"}\n")),
               {"bad.jsonl:2", "\"text\""});
  expect_error(collect(path("none.txt")), {"none.txt"});
  expect_error(collect("examples/text"), {"examples/text"});
}

TEST_F(BadInput, TextWithoutAFullWindow) {
  const std::string text = write("short.txt", "Only a few words are here.\n");
  const auto eval = [&](const std::string& file) {
    return scute_program({"eval", model(), "--perplexity", file});
  };
  expect_error(eval(text), {"short.txt", "2048", "--window "});
  expect_error(eval(write("empty.txt", "")), {"empty.txt"});
  expect_error(
      scute_program({"eval", model(), "--last-word", write("w.jsonl", "{\"text\": \"w\"}\n")}),
      {"w.jsonl", ".jsonl:1: "});
  expect_error(scute_program({"eval", model(), "--last-word", write("e.jsonl", "\n")}),
               {"e.jsonl"});
}

TEST_F(BadInput, AnUnknownSite) {
  expect_error(scute_program({"collect", model(), "--data", kText, "--sites", "layer_0.x_prj:input",
                              "--out", path("s.safetensors")}),
               {"layer_0.x_prj:input", "layer_0.x_proj:input"});
  EXPECT_FALSE(fs::exists(path("s.safetensors")));
}

TEST_F(BadInput, StatisticsThatAreNone) {
  expect_error(scute_program({"decide", model("model.safetensors")}), {"model.safetensors"});
  expect_error(scute_program({"decide", path("none.safetensors")}), {"none.safetensors"});
  ASSERT_EQ(collect().code, 0);
  fs::resize_file(path("s.safetensors"), fs::file_size(path("s.safetensors")) - 1);
  expect_error(scute_program({"decide", path("s.safetensors")}), {"s.safetensors"});
  expect_error(scute_program({"merge", path("s.safetensors"), "--out", path("m.safetensors")}),
               {"s.safetensors"});
  EXPECT_FALSE(fs::exists(path("m.safetensors")));
}

TEST_F(BadInput, AFolderThatCannotBeWritten) {
  // Permissions do not bind the superuser, so: a parent that is a file, and one nobody can write.
  expect_error(collect(kText, model("config.json") + "/s.safetensors"), {"config.json/s"});
  expect_error(collect(kText, "/proc/s.safetensors"), {"/proc/s.safetensors"});
  expect_error(collect(kText, path("no/such/s.pt")), {"no/such/s.pt"});
  expect_error(scute_program({"demo", "--out", model("config.json")}), {"config.json"});
}

TEST_F(BadInput, AFullDiskLeavesTheOldFileAndNoOther) {
  const std::string out = path("s.safetensors");
  ASSERT_EQ(collect(kText, out).code, 0);
  const std::string old = read_text(out);
  Surroundings full;
  full.largest_file = 50'000;
  expect_error(collect(kText, out, full), {"s.safetensors", "room"});
  EXPECT_EQ(read_text(out), old);
  EXPECT_THAT(folder().names(), ElementsAre("model", "s.safetensors"));
}

TEST_F(BadInput, StatisticsDoNotReplaceAnotherFile) {
  const std::string out = write("s.safetensors", "somebody's work");
  expect_error(collect(kText, out), {"s.safetensors", "which stays"});
  EXPECT_EQ(read_text(out), "somebody's work");
}

TEST_F(BadInput, AFullDiskBehindStandardOutput) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "SKIPPED: no /dev/full";
  Surroundings full;
  full.standard_output = "/dev/full";
  expect_error(scute_program({"sites", kModel}, full), {"standard output"});
  expect_error(scute_program({"--help"}, full), {"standard output"});
}

TEST_F(BadInput, AReaderThatStopsEarlyIsNoError) {
  const Ended ended = shell("scute sites examples/tiny-mamba1 | head -n 1");
  EXPECT_EQ(ended.code, 0);
  EXPECT_EQ(ended.err, "");
  // Nobody reads at all: the pipe is closed before the program writes.
  const Ended closed =
      shell("{ sleep 0.3; scute sites examples/tiny-mamba1; echo $? >&2; } | true");
  EXPECT_EQ(closed.err, "0\n");
}

TEST_F(BadInput, DamagedWeightsAreReportedBySite) {
  change_weights([](auto& tensors) {
    for (NamedTensor& t : tensors) {
      if (!t.name.ends_with("2.mixer.out_proj.weight")) continue;
      Tensor spoiled(DType::f32, t.tensor.shape());
      std::ranges::copy(t.tensor.to_f32().template values<float>(),
                        spoiled.mutable_values<float>().begin());
      spoiled.mutable_values<float>()[7] = __builtin_nanf("");
      t.tensor = spoiled;
    }
  });
  const Ended ended = collect();
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("layer_2.out_proj:output"));
  EXPECT_THAT(ended.out, HasSubstr("NaN"));
  expect_error(scute_program({"decide", path("s.safetensors"), "--out", path("p.json")}),
               {"layer_2.out_proj:output", "NaN"});
  EXPECT_FALSE(fs::exists(path("p.json")));
}

}  // namespace
}  // namespace scute::cli_bad_input_test
