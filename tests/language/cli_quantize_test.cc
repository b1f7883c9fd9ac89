// quantize from outside: what it refuses, in one clear line, with nothing written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>

#include "scute/base/json.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "tests/program.h"

namespace scute::language_cli_quantize_test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;
using Arguments = std::vector<std::string>;

constexpr const char* kText = "examples/text/calibration.jsonl";

/// One line that begins with "scute: error: " and contains the parts.
void expect_error(const Ended& ended, const std::vector<std::string>& parts, int code = 1) {
  EXPECT_EQ(ended.code, code) << ended.out << ended.err;
  EXPECT_THAT(ended.err, StartsWith("scute: error: "));
  EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
  for (const std::string& part : parts) EXPECT_THAT(ended.err, HasSubstr(part));
  EXPECT_EQ(ended.out, "");
}

Ended decided(const std::string& statistics, const std::string& plan, const Arguments& more = {}) {
  Arguments arguments{"decide", statistics, "--out", plan};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return scute_program(arguments);
}

/// Statistics and plans of both bundled models, made once.
class Quantize : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new TemporaryFolder;
    for (const char* name : {"tiny-mamba1", "tiny-mamba2"}) {
      const Ended ended =
          scute_program({"collect", std::string("examples/") + name, "--data", kText, "--samples",
                         "3", "--seqlen", "70", "--out", statistics(name), "--quiet"});
      ASSERT_EQ(ended.code, 0) << ended.err;
      ASSERT_EQ(decided(statistics(name), plan(name)).code, 0);
    }
  }
  static void TearDownTestSuite() {
    delete shared_;
    shared_ = nullptr;
  }
  static std::string statistics(const std::string& name) {
    return shared_->path(name + ".safetensors");
  }
  static std::string plan(const std::string& name) { return shared_->path(name + ".json"); }

  std::string path(const std::string& name) const { return folder_.path(name); }
  /// quantize tiny-mamba1 to "low" with these options.
  Ended quantize(const Arguments& more, const std::string& model = "examples/tiny-mamba1") const {
    Arguments arguments{"quantize", model, "--out", path("low"), "--quiet"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return scute_program(arguments);
  }
  /// Refused with this line; no folder and nothing beside it.
  void expect_refused(const Arguments& more, const std::vector<std::string>& parts, int code = 1,
                      const std::string& model = "examples/tiny-mamba1") const {
    const auto before = folder_.names();
    expect_error(quantize(more, model), parts, code);
    EXPECT_EQ(folder_.names(), before) << "something was written";
  }
  /// tiny-mamba1's plan, changed.
  std::string changed_plan(const std::function<void(Json&)>& change) const {
    Json json = Json::parse(read_text(plan("tiny-mamba1")), "plan");
    change(json);
    std::ofstream(path("plan.json")) << json.dump(1);
    return path("plan.json");
  }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name)) << text;
    return path(name);
  }
  const TemporaryFolder& folder() const { return folder_; }

 private:
  static TemporaryFolder* shared_;
  TemporaryFolder folder_;
};
TemporaryFolder* Quantize::shared_ = nullptr;

Json without(const Json& object, const std::string& key) {
  Json out = Json::object();
  for (const auto& [name, value] : object.as_object("")) {
    if (name != key) out[name] = value;
  }
  return out;
}

TEST_F(Quantize, TheSoundPlanWorksAndInputsStayAsTheyAre) {
  const std::string hash = hash_file("examples/tiny-mamba1/model.safetensors");
  const Ended ended = quantize({"--plan", plan("tiny-mamba1")});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("the same bits in every logit"));
  EXPECT_THAT(folder().names(), testing::ElementsAre("low"));
  EXPECT_EQ(hash_file("examples/tiny-mamba1/model.safetensors"), hash);
}

TEST_F(Quantize, APlanOfAnotherModel) {
  expect_refused({"--plan", plan("tiny-mamba2")}, {"plan", "tiny-mamba1", "SHA-256"});
  // Without a hash its sites tell.
  Json bare = without(Json::parse(read_text(plan("tiny-mamba2")), "plan"), "meta");
  expect_refused({"--plan", write("bare.json", bare.dump())}, {"plan", "B_conv_in:input"});
}

TEST_F(Quantize, APlanThatNamesNoModelIsTakenWithARemark) {
  const Ended ended =
      quantize({"--plan", changed_plan([](Json& json) { json = without(json, "meta"); })});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("remark: model not recorded"));
}

TEST_F(Quantize, StatisticsOfAnotherModelBesideAPlan) {
  expect_refused({"--plan", plan("tiny-mamba1"), "--stats", statistics("tiny-mamba2")},
                 {"statistics", "tiny-mamba1", "SHA-256"});
  expect_refused({"--stats", statistics("tiny-mamba2")}, {"tiny-mamba1", "SHA-256"});
}

TEST_F(Quantize, ASiteThatTheModelDoesNotHave) {
  const std::string changed =
      changed_plan([](Json& json) { json["layer_0.x_prj:input"] = json["layer_0.x_proj:input"]; });
  expect_refused({"--plan", changed}, {"layer_0.x_prj:input", "layer_0.x_proj:input"});
}

TEST_F(Quantize, ASiteThatThePlanDoesNotHave) {
  const std::string changed =
      changed_plan([](Json& json) { json = without(json, "layer_3.x_proj:input"); });
  expect_refused({"--plan", changed}, {"missing layer_3.x_proj:input", "1 problem:"});
  // Rotated, the plain site is not enough, and the other way round.
  const std::string plain =
      changed_plan([](Json& json) { json = without(json, "layer_2.out_proj:input@rotated"); });
  expect_refused({"--plan", plain}, {"missing layer_2.out_proj:input@rotated"});
  EXPECT_EQ(quantize({"--plan", plain, "--hadamard", "off"}).code, 0);
}

TEST_F(Quantize, NoPlanAtAll) { expect_refused({}, {"--stats", "--plan", "collect"}, 2); }

TEST_F(Quantize, RangesThatLeaveNoScale) {
  for (const double magnitude : {0.0, 1e-40}) {
    Json json = Json::parse(read_text(plan("tiny-mamba1")), "plan");
    json["layer_0.x_proj:input"]["lo"] = -magnitude;
    json["layer_0.x_proj:input"]["hi"] = magnitude;
    expect_refused({"--plan", write("zero.json", json.dump())},
                   {"layer_0.x_proj:input", "no scale"});
  }
}

TEST_F(Quantize, OptionsThatWouldBeIgnored) {
  const std::string p = plan("tiny-mamba1"), s = statistics("tiny-mamba1");
  expect_refused({"--stats", s, "--data", kText}, {"--gptq"}, 2);
  expect_refused({"--stats", s, "--hessians", "h"}, {"--gptq"}, 2);
  expect_refused({"--plan", p, "--stats", s, "--policy", "minmax"}, {"--policy"}, 2);
  expect_refused({"--stats", s, "--policy", "minmax", "--percentile-alpha", "0.9"},
                 {"--percentile-alpha"}, 2);
  expect_refused({"--stats", s, "--group-size", "64"}, {"--group-size"}, 2);
  expect_refused({"--stats", s, "--w-bits", "4", "--per-tensor"}, {"--per-tensor"}, 2);
  expect_refused({"--stats", statistics("tiny-mamba2"), "--shared-scales"}, {"--shared-scales"}, 1,
                 "examples/tiny-mamba2");
}

TEST_F(Quantize, HessiansThatAreNoSumsOfSquares) {
  ASSERT_EQ(scute_program({"quantize", "examples/tiny-mamba1", "--w-bits", "4", "--a-bits", "16",
                           "--save-hessians", path("h.safetensors"), "--data", kText, "--samples",
                           "1", "--seqlen", "32", "--out", path("other"), "--quiet"})
                .code,
            0);
  const SafetensorsFile sound = read_safetensors(path("h.safetensors"));
  for (const int64_t element : {0, 1}) {  // on the diagonal, and beside it
    std::vector<NamedTensor> tensors = sound.tensors;
    Tensor& first = tensors.front().tensor;
    first = Tensor::of_bytes(first.dtype(), first.shape(), first.bytes());
    first.mutable_values<double>()[static_cast<size_t>(element)] = -5;
    write_safetensors(path("bad.safetensors"), tensors, sound.metadata);
    expect_refused(
        {"--w-bits", "4", "--a-bits", "16", "--gptq", "--hessians", path("bad.safetensors")},
        {"bad.safetensors", "sum of x·xᵀ"});
  }
}

TEST_F(Quantize, ARangeThatMakesNoSense) {
  const auto with = [&](const char* key, Json value) {
    return changed_plan([&](Json& json) { json["layer_1.z_act:input"][key] = value; });
  };
  expect_refused({"--plan", with("lo", 1e9)}, {"layer_1.z_act:input", "lo"});
  expect_refused({"--plan", with("hi", std::nan(""))}, {"layer_1.z_act:input", "hi"});
  expect_refused({"--plan", with("bits", 4)}, {"layer_1.z_act:input", "4 bits", "--bits 8"});
  expect_refused({"--plan", with("symmetric", false)}, {"layer_1.z_act:input", "asymmetric"});
  expect_refused({"--plan", write("cut.json", "{\"layer_0")}, {"cut.json"});
  expect_refused({"--plan", path("none.json")}, {"none.json"});
}

TEST_F(Quantize, APlanDecidedForFourBits) {
  ASSERT_EQ(decided(statistics("tiny-mamba1"), path("four.json"), {"--bits", "4"}).code, 0);
  expect_refused({"--plan", path("four.json")}, {"plan", "4 bits", "problems"});
}

TEST_F(Quantize, StatisticsWithNan) {
  fs::create_directory(path("bad"));
  for (const char* name : {"config.json", "tokenizer.json"}) {
    fs::copy_file(fs::path("examples/tiny-mamba1") / name, path("bad") + "/" + name);
  }
  SafetensorsFile file = read_safetensors("examples/tiny-mamba1/model.safetensors");
  for (NamedTensor& item : file.tensors) {
    if (!item.name.ends_with("layers.5.mixer.out_proj.weight")) continue;
    Tensor spoiled(DType::f32, item.tensor.shape());
    spoiled.mutable_values<float>()[3] = std::nanf("");
    item.tensor = spoiled;
  }
  write_safetensors(path("bad") + "/model.safetensors", file.tensors, file.metadata);
  ASSERT_EQ(scute_program({"collect", path("bad"), "--data", kText, "--samples", "1", "--seqlen",
                           "32", "--out", path("nan.safetensors"), "--quiet"})
                .code,
            0);
  expect_refused({"--stats", path("nan.safetensors")}, {"NaN", "layer_5.out_proj:output"}, 1,
                 path("bad"));
  // And weights that are no numbers, whatever the plan says.
  expect_refused({"--w-bits", "4", "--a-bits", "16"}, {"layers.5.mixer.out_proj", "finite"}, 1,
                 path("bad"));
}

TEST_F(Quantize, FormatsThatAreNotOffered) {
  expect_refused({"--w-bits", "3"}, {"--w-bits", "3"}, 2);
  expect_refused({"--a-bits", "4"}, {"--a-bits", "4"}, 2);
  expect_refused({"--w-bits", "16", "--a-bits", "8"}, {"--w-bits"}, 2);
  expect_refused({"--group-size", "0"}, {"--group-size"}, 2);
  expect_refused({"--fold", "maybe"}, {"--fold"}, 2);
  expect_refused({"--state-clip", "0"}, {"--state-clip"}, 2);
  expect_refused({"--w-bits", "4", "--a-bits", "16", "--group-size", "100"},
                 {"in_proj", "divides 256", "100"});
}

TEST_F(Quantize, OptionsThatDoNotGoTogether) {
  const std::string p = plan("tiny-mamba1");
  expect_refused({"--plan", p, "--gptq"}, {"--gptq", "--data", "--hessians"}, 2);
  expect_refused({"--plan", p, "--group-heads"}, {"--group-heads", "Mamba-2"});
  expect_refused({"--plan", p, "--fold", "off"}, {"--fold off", "--hadamard off"});
  expect_refused({"--plan", plan("tiny-mamba2"), "--group-heads"}, {"--group-heads", "--stats"}, 1,
                 "examples/tiny-mamba2");
}

TEST_F(Quantize, HybridListsThatDoNotFit) {
  const std::string p = plan("tiny-mamba1");
  const auto with = [&](const std::string& text) { return write("blocks.json", text); };
  expect_refused({"--plan", p, "--hybrid-blocks", with(R"(["W8A8", "W8A8"])")},
                 {"blocks.json", "6 layers", "found 2"});
  expect_refused(
      {"--plan", p, "--hybrid-blocks", with(R"(["W8A8", "W4A8", "W8A8", "FP", "W8A4", "W8A8"])")},
      {"blocks.json: layer 4", "W8A4"});
  expect_refused({"--plan", p, "--hybrid-blocks", with(R"({"layers": []})")}, {"blocks.json"});
  expect_refused({"--plan", p, "--hybrid-blocks", with("[1, 2, 3, 4, 5, 6]")}, {"blocks.json"});
  expect_refused({"--plan", p, "--hybrid-blocks", path("none.json")}, {"none.json"});
}

TEST_F(Quantize, HessiansOfAnotherModelOrNone) {
  const std::string p = plan("tiny-mamba1");
  ASSERT_EQ(scute_program({"quantize", "examples/tiny-mamba2", "--w-bits", "4", "--a-bits", "16",
                           "--save-hessians", path("h.safetensors"), "--data", kText, "--samples",
                           "1", "--seqlen", "32", "--out", path("other"), "--quiet"})
                .code,
            0);
  expect_refused({"--plan", p, "--gptq", "--hessians", path("h.safetensors")},
                 {"h.safetensors", "tiny-mamba1", "SHA-256"});
  expect_refused({"--plan", p, "--gptq", "--hessians", statistics("tiny-mamba1")},
                 {"tiny-mamba1.safetensors", "Hessians"});
  expect_refused({"--plan", p, "--gptq", "--data", path("none.txt")}, {"none.txt"});
}

TEST_F(Quantize, AFolderThatExistsIsKeptUnlessForced) {
  const std::string p = plan("tiny-mamba1");
  fs::create_directory(path("low"));
  write("low/mine.txt", "keep me");
  expect_refused({"--plan", p}, {"low", "--force"});
  EXPECT_EQ(read_text(path("low/mine.txt")), "keep me");
  // Forced, but it is not scute's alone.
  expect_refused({"--plan", p, "--force"}, {"low", "mine.txt"});
  EXPECT_EQ(read_text(path("low/mine.txt")), "keep me");
  fs::remove(path("low/mine.txt"));
  ASSERT_EQ(quantize({"--plan", p, "--force"}).code, 0);
  ASSERT_EQ(quantize({"--plan", p, "--force"}).code, 0);
  // Forced, but the work fails: what was there stays.
  const std::string before = hash_file(path("low/model.safetensors"));
  expect_refused({"--plan", plan("tiny-mamba2"), "--force"}, {"plan"});
  EXPECT_EQ(hash_file(path("low/model.safetensors")), before);
  fs::create_directory_symlink(path("low"), path("link"));
  write("file", "x");
  for (const char* name : {"link", "file"}) {
    expect_error(scute_program({"quantize", "examples/tiny-mamba1", "--plan", p, "--out",
                                path(name), "--force"}),
                 {name});
  }
}

TEST_F(Quantize, AFolderThatHoldsTheModelIsNotReplaced) {
  fs::create_directories(path("outer"));
  fs::copy("examples/tiny-mamba1", path("outer/model"));
  expect_error(scute_program({"quantize", path("outer/model"), "--w-bits", "4", "--a-bits", "16",
                              "--out", path("outer"), "--force"}),
               {"outer", "model's own"});
  EXPECT_TRUE(fs::exists(path("outer/model/model.safetensors")));
}

TEST_F(Quantize, ALowBitModelIsNotQuantizedAgain) {
  ASSERT_EQ(quantize({"--plan", plan("tiny-mamba1")}).code, 0);
  expect_error(scute_program({"quantize", path("low"), "--plan", plan("tiny-mamba1"), "--out",
                              path("again"), "--quiet"}),
               {"low", "low-bit"});
  EXPECT_FALSE(fs::exists(path("again")));
  expect_error(scute_program({"quantize", path("low"), "--plan", plan("tiny-mamba1"), "--out",
                              path("low"), "--force", "--quiet"}),
               {"low"});
  EXPECT_TRUE(fs::exists(path("low/model.safetensors")));
}

TEST_F(Quantize, AnOutputThatCannotBeWritten) {
  expect_error(scute_program({"quantize", "examples/tiny-mamba1", "--plan", plan("tiny-mamba1"),
                              "--out", "/proc/low", "--quiet"}),
               {"/proc/low"});
  Surroundings full;
  full.largest_file = 500'000;
  expect_error(scute_program({"quantize", "examples/tiny-mamba1", "--plan", plan("tiny-mamba1"),
                              "--out", path("low"), "--quiet"},
                             full),
               {"model.safetensors", "room"});
  EXPECT_THAT(folder().names(), testing::IsEmpty());
}

}  // namespace
}  // namespace scute::language_cli_quantize_test
