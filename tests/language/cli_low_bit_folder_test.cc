// Low-bit folders at the command line: what works on them, and every way to spoil one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>

#include "scute/base/json.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "scute/io/test_npy.h"
#include "tests/program.h"

namespace scute::cli_low_bit_folder_test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

/// tiny-mamba1 as W8A8 with a quantized table, tiny-mamba2 as W4A8 with grouped heads.
class LowBitFolders : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new TemporaryFolder;
    for (const char* name : {"tiny-mamba1", "tiny-mamba2"}) {
      const std::string source = std::string("examples/") + name,
                        statistics = shared_->path(std::string(name) + ".safetensors");
      const Ended collected =
          scute_program({"collect", source, "--data", "examples/text/calibration.jsonl",
                         "--samples", "3", "--seqlen", "70", "--out", statistics, "--quiet"});
      ASSERT_EQ(collected.code, 0) << collected.err;
      std::vector<std::string> arguments{
          "quantize", source, "--stats", statistics, "--out", shared_->path(name), "--quiet"};
      if (name == std::string("tiny-mamba2")) {
        arguments.insert(arguments.end(), {"--w-bits", "4", "--group-heads"});
      } else {
        arguments.insert(arguments.end(), {"--quantize-embedding", "--quantize-lm-head"});
      }
      const Ended quantized = scute_program(arguments);
      ASSERT_EQ(quantized.code, 0) << quantized.err;
    }
  }
  static void TearDownTestSuite() {
    delete shared_;
    shared_ = nullptr;
  }
  static std::string sound(const char* name) { return shared_->path(name); }
  std::string path(const std::string& name) const { return folder_.path(name); }
  std::string copy(const char* name) const {
    fs::remove_all(path("low"));
    fs::copy(sound(name), path("low"), fs::copy_options::recursive);
    return path("low");
  }
  /// A copy whose tensors were changed.
  template <class F>
  std::string with_tensors(const char* name, const F& change) const {
    const std::string low = copy(name);
    SafetensorsFile file = read_safetensors(low + "/model.safetensors");
    change(file.tensors);
    write_safetensors(path("changed"), file.tensors, file.metadata);
    fs::rename(path("changed"), low + "/model.safetensors");
    return low;
  }
  /// A copy in which one tensor is another.
  std::string with(const char* name, const std::string& tensor, const Tensor& other) const {
    return with_tensors(name, [&](auto& tensors) {
      bool found = false;
      for (NamedTensor& item : tensors) {
        if (item.name != tensor) continue;
        item.tensor = other;
        found = true;
      }
      ASSERT_TRUE(found) << tensor;
    });
  }
  std::string with_config(const char* name, const std::function<void(Json&)>& change) const {
    const std::string low = copy(name);
    Json config = Json::parse(read_text(low + "/config.json"), "config");
    change(config);
    std::ofstream(low + "/config.json") << config.dump(1);
    return low;
  }

 private:
  static TemporaryFolder* shared_;
  TemporaryFolder folder_;
};
TemporaryFolder* LowBitFolders::shared_ = nullptr;

Ended evaluated(const std::string& model, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments{
      "eval",          model, "--perplexity", "examples/text/heldout.txt", "--window", "64",
      "--max-windows", "2",   "--quiet"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return scute_program(arguments);
}

void expect_refused(const std::string& model, const std::vector<std::string>& parts) {
  const Ended ended = evaluated(model);
  EXPECT_EQ(ended.code, 1) << ended.out << ended.err;
  EXPECT_THAT(ended.err, StartsWith("scute: error: "));
  EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
  for (const std::string& part : parts) EXPECT_THAT(ended.err, HasSubstr(part));
  EXPECT_EQ(ended.out, "");
}

Tensor filled(Shape shape, float value) {
  Tensor out(DType::f32, std::move(shape));
  std::ranges::fill(out.mutable_values<float>(), value);
  return out;
}

constexpr const char* kMixer = "backbone.layers.2.mixer.";
std::string in_mixer(const char* name) { return std::string(kMixer) + name; }

TEST_F(LowBitFolders, EvalRunsBothExecutionsAndComparesWithTheFloatModel) {
  for (const char* name : {"tiny-mamba1", "tiny-mamba2"}) {
    for (const char* backend : {"integer", "simulate"}) {
      const Ended ended = evaluated(sound(name), {"--backend", backend, "--against",
                                                  std::string("examples/") + name, "--json"});
      ASSERT_EQ(ended.code, 0) << ended.err;
      const Json json = Json::parse(ended.out, "eval");
      EXPECT_EQ(json.at("backend", "").as_string(""), backend);
      // 128 tokens alone; a wrong scale costs far more than a tenth.
      EXPECT_NEAR(json.at("against", "").at("ratio", "").as_double(""), 1, 0.1);
    }
    const Ended stepwise = evaluated(sound(name), {"--stepwise", "--context", "32"});
    ASSERT_EQ(stepwise.code, 0) << stepwise.err;
    EXPECT_THAT(stepwise.out, HasSubstr("fed one by one"));
  }
}

TEST_F(LowBitFolders, EvalWarnsWhenItScoresTheCalibrationText) {
  const auto with = [&](const std::string& file) {
    return scute_program({"eval", sound("tiny-mamba1"), "--perplexity", file, "--window", "64",
                          "--max-windows", "1", "--quiet"});
  };
  EXPECT_THAT(with("examples/text/calibration.jsonl").err, HasSubstr("calibrated on"));
  EXPECT_EQ(with("examples/text/heldout.txt").err, "");
}

TEST_F(LowBitFolders, GenerateGivesTheSameTextTwice) {
  for (const char* name : {"tiny-mamba1", "tiny-mamba2"}) {
    const auto generate = [&](const std::string& seed) {
      return scute_program({"generate", sound(name), "--prompt", "The river", "--max-tokens", "12",
                            "--temperature", "1", "--seed", seed, "--quiet"});
    };
    const Ended once = generate("1");
    ASSERT_EQ(once.code, 0) << once.err;
    EXPECT_EQ(once.out, generate("1").out);
    EXPECT_NE(once.out, generate("2").out);
  }
}

TEST_F(LowBitFolders, DumpShowsTheSitesOfTheRotatedModel) {
  const Ended ended = scute_program({"sites", sound("tiny-mamba1")});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("layer_0.in_proj:input@rotated"));
  EXPECT_THAT(ended.out, Not(HasSubstr("layer_0.in_proj:input ")));
  write_npy(path("ids.npy"), Tensor::of<int32_t>({4}, std::vector<int32_t>{5, 6, 7, 8}));
  const auto dump = [&](const char* sites) {
    return scute_program({"dump", sound("tiny-mamba1"), "--sites", sites, "--ids", path("ids.npy"),
                          "--out", path("a.safetensors")});
  };
  const Ended dumped = dump("layer_1.*proj:input*");
  EXPECT_EQ(dumped.code, 0) << dumped.err;
  std::vector<std::string> names;
  for (const NamedTensor& item : read_safetensors(path("a.safetensors")).tensors) {
    names.push_back(item.name);
  }
  EXPECT_THAT(names, testing::IsSupersetOf({HasSubstr("layer_1.in_proj:input@rotated"),
                                            HasSubstr("layer_1.out_proj:input@rotated"),
                                            HasSubstr("layer_1.x_proj:input")}));
  const Ended plain = dump("layer_1.in_proj:input");
  EXPECT_EQ(plain.code, 1);
  EXPECT_THAT(plain.err, HasSubstr("layer_1.in_proj:input@rotated"));
}

TEST_F(LowBitFolders, ScalesThatMakeNoSense) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float bad : {0.0f, -1.0f, kInfinity, std::nanf("")}) {
    SCOPED_TRACE(bad);
    for (const char* scale :
         {"in_proj.input_scale", "selective_scan.z_scale", "selective_scan.ssm_state_scale"}) {
      expect_refused(with("tiny-mamba1", in_mixer(scale), filled({1}, bad)), {in_mixer(scale)});
    }
    expect_refused(with("tiny-mamba1", in_mixer("out_proj.weight_scale"), filled({256, 1}, bad)),
                   {in_mixer("out_proj.weight_scale")});
    expect_refused(with("tiny-mamba1", "lm_head.input_scale", filled({1}, bad)),
                   {"lm_head.input_scale"});
  }
  for (const float bad : {0.0f, -1.0f, kInfinity}) {
    const std::string u = in_mixer("selective_scan.u_scale");
    expect_refused(with("tiny-mamba2", u, filled({1, 4, 4}, bad)), {u});
    const std::string channel = in_mixer("out_proj.weight_channel_scale");
    expect_refused(with("tiny-mamba2", channel, filled({256, 1}, bad)), {channel});
  }
}

TEST_F(LowBitFolders, TwoValuesForOneScale) {
  for (const char* scale :
       {"conv1d.output_scale", "x_proj.input_scale", "selective_scan.u_scale"}) {
    expect_refused(with("tiny-mamba1", in_mixer(scale), filled({1}, 0.0123f)),
                   {"0.0123", "conv1d.output_scale", "x_proj.input_scale", "selective_scan.u_scale",
                    "scute scales"});
  }
}

TEST_F(LowBitFolders, TensorsMissingExtraOrOfAnotherShape) {
  for (const char* gone : {"in_proj.weight_scale", "conv1d.input_scale", "selective_scan.B_scale",
                           "A_log", "out_proj.weight"}) {
    expect_refused(with_tensors("tiny-mamba1",
                                [&](auto& tensors) {
                                  std::erase_if(tensors, [&](const NamedTensor& t) {
                                    return t.name == in_mixer(gone);
                                  });
                                }),
                   {in_mixer(gone)});
  }
  expect_refused(with_tensors("tiny-mamba1",
                              [](auto& tensors) {
                                tensors.push_back({in_mixer("bonus_scale"), filled({1}, 1)});
                              }),
                 {"unknown tensor " + in_mixer("bonus_scale")});
  for (const auto& [name, shape] :
       {std::pair<const char*, Shape>{"in_proj.weight_scale", {1023, 1}},
        {"selective_scan.z_scale", {2}},
        {"selective_scan.ssm_state_channel_scale", {511}}}) {
    expect_refused(with("tiny-mamba1", in_mixer(name), filled(shape, 0.1f)), {in_mixer(name)});
  }
  expect_refused(with("tiny-mamba1", in_mixer("x_proj.weight"), Tensor(DType::i8, {48, 511})),
                 {in_mixer("x_proj.weight")});
}

TEST_F(LowBitFolders, PackedWeightsThatLie) {
  const std::string out_proj = in_mixer("out_proj.");
  expect_refused(with("tiny-mamba2", out_proj + "weight_shape",
                      Tensor::of<int64_t>({2}, std::vector<int64_t>{256, 1024})),
                 {out_proj + "weight_shape"});
  expect_refused(with("tiny-mamba2", out_proj + "weight_packed", Tensor(DType::i32, {256, 63})),
                 {out_proj + "weight_packed"});
  for (const int64_t groups : {int64_t{0}, int64_t{3}, int64_t{1024}}) {
    expect_refused(with("tiny-mamba2", out_proj + "weight_scale", filled({256, groups}, 0.1f)),
                   {out_proj + "weight_scale"});
  }
}

TEST_F(LowBitFolders, RangesThatDoNotAscend) {
  const std::string heads = in_mixer("selective_scan.x_head_group_range"),
                    channels = in_mixer("selective_scan.x_dim_group_range");
  for (const std::vector<int32_t>& ends :
       {std::vector<int32_t>{4, 2, 6, 8}, {-1, 2, 6, 8}, {2, 4, 6, 7}, {2, 4, 6, 2'000'000'000}}) {
    expect_refused(with("tiny-mamba2", heads, Tensor::of<int32_t>({1, 4}, ends)),
                   {kMixer, "group_range"});
  }
  Tensor zero(DType::i32, {1, 4, 4});
  expect_refused(with("tiny-mamba2", channels, zero), {channels});
}

TEST_F(LowBitFolders, AConfigThatMakesNoSense) {
  const auto scute = [&](const char* key, Json value) {
    return with_config("tiny-mamba1", [&](Json& json) { json["scute"][key] = value; });
  };
  expect_refused(scute("version", 2), {"config.json", "version", "2"});
  expect_refused(scute("format", "other"), {"config.json", "format", "other"});
  expect_refused(scute("rotated_stream", "yes"), {"config.json", "rotated_stream"});
  expect_refused(scute("folded_head", true), {"folded head"});
  expect_refused(scute("state_rounding", "up"), {"config.json", "state_rounding", "up"});
  expect_refused(scute("layers", "W8A8"), {"config.json", "layers"});
  expect_refused(scute("layers", Json::Array{"W8A8", "W8A8"}), {"config.json", "layers", "6"});
  expect_refused(scute("layers", Json::Array{"W8A8", "W8A8", "W2A2", "FP", "FP", "FP"}),
                 {"config.json", "layers", "W2A2"});
  expect_refused(with_config("tiny-mamba1", [](Json& json) { json["scute"] = 1; }),
                 {"config.json", "scute"});
  expect_refused(with_config("tiny-mamba1", [](Json& json) { json["n_layer"] = 5; }),
                 {"config.json", "5"});
}

// Tensors do not show whether they were rotated: with another word of it they are another model's.
TEST_F(LowBitFolders, AConfigThatSaysOfRotationsWhatWasNotDone) {
  for (const char* key : {"rotated_stream", "rotated_out_proj", "rotated_down_proj",
                          "rotated_experts", "rotated_latent"}) {
    const std::string low = with_config("tiny-mamba1", [&](Json& json) {
      const Json* said = json["scute"].find(key);
      json["scute"][key] = said == nullptr || !said->as_bool(key);
    });
    expect_refused(low, {std::string("config.json: scute: ") + key, "as recipe.json says"});
  }
}

TEST_F(LowBitFolders, TensorsThatAreNotOfTheirFormat) {
  const auto without = [&](const std::string& ending) {
    return with_tensors("tiny-mamba1", [&](auto& tensors) {
      std::erase_if(tensors, [&](const NamedTensor& t) { return t.name.ends_with(ending); });
    });
  };
  expect_refused(without("in_proj.input_scale"), {"in_proj.input_scale", "W8A8"});
  expect_refused(without("ssm_state_channel_scale"), {"ssm_state_channel_scale"});
  expect_refused(without("ssm_state_scale"), {"ssm_state_scale"});
  for (const char* format : {"FP", "W4A8", "W8A16", "W4A16"}) {
    const auto folder = with_config(
        "tiny-mamba1", [&](Json& json) { json["scute"]["layers"] = Json::Array(6, Json(format)); });
    expect_refused(folder, {format});
  }
  expect_refused(with_config("tiny-mamba1",
                             [](Json& json) {
                               Json plain = Json::object();
                               for (const auto& [key, value] : json.as_object("")) {
                                 if (key != "scute") plain[key] = value;
                               }
                               json = plain;
                             }),
                 {"config.json", "scute"});
  expect_refused(with("tiny-mamba1", in_mixer("D"), filled({512}, std::nanf(""))),
                 {in_mixer("D"), "finite"});
}

TEST_F(LowBitFolders, TruncatedOrForeignFiles) {
  const std::string low = copy("tiny-mamba1");
  const auto size = fs::file_size(low + "/model.safetensors");
  for (const auto bytes : {size - 1, size / 2, uintmax_t{100}, uintmax_t{3}, uintmax_t{0}}) {
    fs::resize_file(low + "/model.safetensors", bytes);
    expect_refused(low, {"model.safetensors"});
  }
  fs::remove(low + "/model.safetensors");
  expect_refused(low, {low});
}

}  // namespace
}  // namespace scute::cli_low_bit_folder_test
