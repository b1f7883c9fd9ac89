// export, trace and scales from outside, on the bundled models.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "scute/base/json.h"
#include "scute/decide/plan.h"
#include "scute/io/file.h"
#include "tests/program.h"

namespace scute::language_cli_low_bit_test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

/// A W8A8 model of each bundled one, quantized once for all tests.
class LowBit : public testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() { folder_ = new TemporaryFolder; }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  void SetUp() override {
    model_ = folder_->path(GetParam());
    if (fs::exists(model_)) return;
    const std::string source = std::string("examples/") + GetParam();
    const std::string statistics = model_ + ".safetensors";
    const Ended collected =
        scute_program({"collect", source, "--data", "examples/text/calibration.jsonl", "--samples",
                       "4", "--seqlen", "70", "--out", statistics, "--quiet"});
    ASSERT_EQ(collected.code, 0) << collected.err;
    const Ended quantized =
        scute_program({"quantize", source, "--stats", statistics, "--out", model_, "--quiet"});
    ASSERT_EQ(quantized.code, 0) << quantized.err;
  }
  /// A copy that a test may change.
  std::string copy(const TemporaryFolder& folder) const {
    fs::copy(model_, folder.path("low"), fs::copy_options::recursive);
    return folder.path("low");
  }
  bool mamba1() const { return std::string(GetParam()) == "tiny-mamba1"; }

  static TemporaryFolder* folder_;
  std::string model_;
};
TemporaryFolder* LowBit::folder_ = nullptr;
INSTANTIATE_TEST_SUITE_P(Tiny, LowBit, testing::Values("tiny-mamba1", "tiny-mamba2"),
                         [](const auto& tested) { return std::string(tested.param).substr(5); });

/// Characters on screen.
size_t columns(const std::string& line) {
  return static_cast<size_t>(std::ranges::count_if(
      line, [](char c) { return (static_cast<unsigned char>(c) >> 6) != 2; }));
}

TEST_P(LowBit, TraceShowsTheChainInOrderAndFitsATerminal) {
  const Ended ended = scute_program({"trace", model_});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const std::vector<std::string> parts =
      mamba1()
          ? std::vector<std::string>{"layer 0, W8A8",     "\nnorm → in_proj", "\nin_proj → conv1d",
                                     "\nconv1d → x_proj", "\nx_proj → scan",  "\nscan → out_proj",
                                     "layer 5, W8A8"}
          : std::vector<std::string>{"layer 0, W8A8",       "\nnorm → in_proj",
                                     "\nin_proj → conv1d",  "\nconv1d → scan",
                                     "\nscan → gated norm", "\ngated norm → out_proj",
                                     "layer 5, W8A8"};
  size_t at = 0;
  for (const std::string& part : parts) {
    at = ended.out.find(part, at);
    ASSERT_NE(at, std::string::npos) << part;
  }
  std::istringstream lines(ended.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(columns(line), 80u) << line;
  const Ended wide = scute_program({"trace", model_, "--wide"});
  for (const char* word : {"range before", "range after", "clipped %", "SQNR dB", "min-max",
                           "policy: plan.json", "samples 4"}) {
    EXPECT_THAT(wide.out, HasSubstr(word));
  }
}

TEST_P(LowBit, TraceOfOneLayerAsCsvAndJsonSaysTheSame) {
  const Ended json = scute_program({"trace", model_, "--layer", "3", "--json"});
  ASSERT_EQ(json.code, 0) << json.err;
  const Json layers = Json::parse(json.out, "answer").at("layers", "");
  ASSERT_EQ(layers.as_array("").size(), 1u);
  const Json scales = layers.as_array("")[0].at("scales", "");
  const Ended csv = scute_program({"trace", model_, "--layer", "3", "--csv"});
  std::istringstream lines(csv.out);
  std::string line;
  std::getline(lines, line);
  for (const Json& scale : scales.as_array("")) {
    ASSERT_TRUE(std::getline(lines, line));
    EXPECT_THAT(line, HasSubstr(scale.at("tensor", "").as_string("")));
    EXPECT_THAT(line, HasSubstr(scale.at("site", "").as_string("")));
  }
  EXPECT_FALSE(std::getline(lines, line));
  // What it prints is understood where a person takes it next.
  const std::string tensor = scales.as_array("")[0].at("tensor", "").as_string("");
  const std::string site = scales.as_array("")[0].at("site", "").as_string("");
  EXPECT_THAT(scute_program({"sites", model_, "find", tensor, "--wide"}).out,
              testing::StartsWith(tensor + " holds the scale of " + site + "\n"));
  EXPECT_THAT(scute_program({"scales", model_, "--set", tensor + "*=2", "--dry-run"}).out,
              HasSubstr("\n" + site + " "));
  const Ended none = scute_program({"trace", model_, "--layer", "6"});
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.err, HasSubstr("6 layers"));
  EXPECT_EQ(scute_program({"trace", model_, "--csv", "--json"}).code, 2);
}

TEST_P(LowBit, TraceOfAnOldFolderSaysWhatIsNotRecorded) {
  const TemporaryFolder folder;
  const std::string low = copy(folder);
  for (const char* name : {"plan.json", "statistics.safetensors", "recipe.json"}) {
    fs::remove(fs::path(low) / name);
  }
  const Ended ended = scute_program({"trace", low, "--layer", "0"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("policy: not recorded (no plan.json)"));
  EXPECT_THAT(ended.out, HasSubstr("in_proj.input_scale"));
}

TEST_P(LowBit, ScalesEditAModelThatStillRuns) {
  const TemporaryFolder folder;
  const std::string low = copy(folder);
  const std::string site = mamba1() ? "x_proj:input" : "x_conv_out:input";
  const std::string edit = "layer_*." + site + "*=1.5";
  const std::string tensors = fs::path(low) / "model.safetensors";
  const std::string before = read_text(tensors);

  const Ended dry = scute_program({"scales", low, "--set", edit, "--dry-run"});
  ASSERT_EQ(dry.code, 0) << dry.err;
  EXPECT_THAT(dry.out, HasSubstr("layer_5." + site));
  EXPECT_THAT(dry.out, HasSubstr("nothing written"));
  EXPECT_EQ(read_text(tensors), before);

  const Ended inside = scute_program({"scales", low, "--set", edit, "--out", low + "/inner"});
  EXPECT_EQ(inside.code, 1);
  EXPECT_THAT(inside.err, HasSubstr("outside of the one that is copied"));
  const std::string apart = folder.path("apart");
  const Ended copied =
      scute_program({"scales", low, "--set", edit, "layer_0.z_act:input=6", "--out", apart});
  ASSERT_EQ(copied.code, 0) << copied.err;
  EXPECT_EQ(read_text(tensors), before);
  EXPECT_THAT(copied.out, HasSubstr("wrote      " + apart));
  const std::string edited = read_text(apart + "/model.safetensors");
  fs::remove_all(apart);

  const Ended ended = scute_program({"scales", low, "--set", edit, "layer_0.z_act:input=6"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(read_text(tensors), edited);
  EXPECT_NE(read_text(tensors), before);
  EXPECT_THAT(ended.out, HasSubstr("logits of 64 tokens"));
  EXPECT_THAT(read_text(fs::path(low) / "recipe.json"), HasSubstr(edit));
  EXPECT_THAT(folder.names(), ElementsAre("low"));
  const Ended traced = scute_program({"trace", low, "--layer", "0"});
  EXPECT_THAT(traced.out, HasSubstr("edits of ranges by hand"));
  EXPECT_THAT(traced.out, HasSubstr("±6"));
  EXPECT_EQ(scute_program({"dump", low, "--text", "examples/text/README.md", "--sites",
                           "layer_0.z_act:input", "--out", folder.path("d.safetensors")})
                .code,
            0);
}

TEST_P(LowBit, ScalesRefuseAndLeaveEverythingAsItWas) {
  const TemporaryFolder folder;
  const std::string low = copy(folder);
  const std::string before = read_text(fs::path(low) / "model.safetensors");
  const auto expect = [&](const std::string& set, int code, const char* hint) {
    const Ended ended = scute_program({"scales", low, "--set", set});
    EXPECT_EQ(ended.code, code) << set;
    EXPECT_THAT(ended.err, HasSubstr(hint));
    EXPECT_EQ(ended.out, "");
  };
  expect("layer_0.z_atc:input*=2", 1, "did you mean layer_0.z_act:input");
  expect("layer_0.z_act:input*=0", 1, "positive, finite range");
  expect("layer_0.z_act:input+=-1000", 1, "positive, finite range");
  expect("layer_0.z_act:input", 2, "GLOB=VALUE");
  expect("layer_0.z_act:input=x", 2, "GLOB=VALUE");
  EXPECT_EQ(read_text(fs::path(low) / "model.safetensors"), before);
  EXPECT_THAT(folder.names(), ElementsAre("low"));
  EXPECT_EQ(scute_program({"scales", low}).code, 2);
  EXPECT_EQ(scute_program({"scales", low, "--undo", "0"}).code, 2);
  const Ended none = scute_program({"scales", low, "--undo"});
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.err, HasSubstr("an edit that can be taken back, found none"));
}

TEST_P(LowBit, ScalesEditAPlanThatQuantizeThenUses) {
  const TemporaryFolder folder;
  const std::string plan = folder.path("p.json"), out = folder.path("low");
  ASSERT_EQ(scute_program({"decide", model_ + ".safetensors", "--out", plan}).code, 0);
  const std::string before = read_text(plan);
  ASSERT_EQ(scute_program({"scales", plan, "--set", "*.z_act:input*=2", "--dry-run"}).code, 0);
  EXPECT_EQ(read_text(plan), before);
  const Ended ended = scute_program({"scales", plan, "--set", "*.z_act:input*=2", "--json"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(Json::parse(ended.out, "answer").at("sites", "").as_array("").size(), 6u);
  const std::string apart = folder.path("before.json");
  ASSERT_EQ(scute_program({"scales", plan, "--undo", "--out", apart}).code, 0);
  EXPECT_EQ(read_text(apart), before);
  const Ended bad = scute_program({"scales", plan, "--set", "*.z_act:input*=-2"});
  EXPECT_EQ(bad.code, 1);
  const Ended quantized =
      scute_program({"quantize", std::string("examples/") + GetParam(), "--stats",
                     model_ + ".safetensors", "--plan", plan, "--out", out, "--quiet"});
  ASSERT_EQ(quantized.code, 0) << quantized.err;
  const Ended traced = scute_program({"trace", out, "--layer", "0"});
  EXPECT_THAT(traced.out, testing::ContainsRegex("z_act:input +edited"));
}

TEST_P(LowBit, ExportGivesAPlainModelThatEveryVerbReads) {
  const TemporaryFolder folder;
  const std::string plain = folder.path("plain");
  const Ended ended = scute_program({"export", model_, "--dequantized", "--out", plain, "--json"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const Json answer = Json::parse(ended.out, "answer");
  // Activations are rounded in one and not in the other: alike, not equal.
  const double difference = answer.at("largest_difference", "").as_double("");
  EXPECT_GT(difference, 1e-6);
  EXPECT_LT(difference, 0.2);
  EXPECT_THAT(read_text(plain + "/config.json"), Not(HasSubstr("quantization_config")));
  EXPECT_TRUE(fs::exists(plain + "/tokenizer.json"));
  EXPECT_EQ(scute_program({"doctor", plain}).code, 0);
  EXPECT_EQ(scute_program({"export", model_, "--dequantized", "--out", plain}).code, 0);
  std::ofstream(plain + "/config.json", std::ios::app) << "\n";
  const Ended again = scute_program({"export", model_, "--dequantized", "--out", plain});
  EXPECT_EQ(again.code, 1);
  EXPECT_THAT(again.err, HasSubstr("--force"));
  EXPECT_EQ(scute_program(
                {"export", model_, "--dequantized", "--out", plain, "--force", "--dtype", "bf16"})
                .code,
            0);
  EXPECT_EQ(scute_program({"export", model_, "--out", folder.path("other")}).code, 2);
  EXPECT_EQ(scute_program({"export", plain, "--dequantized", "--out", folder.path("x")}).code, 1);
  EXPECT_THAT(folder.names(), ElementsAre("plain"));
}

}  // namespace
}  // namespace scute::language_cli_low_bit_test
