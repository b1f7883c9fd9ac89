// Hybrids from outside: quantized by kind of part, explained, edited, run and exported.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "scute/base/json.h"
#include "scute/io/file.h"
#include "scute/io/test_npy.h"
#include "tests/program.h"

namespace scute::cli_hybrids_test {
namespace {

using testing::HasSubstr;
using testing::Not;
using Arguments = std::vector<std::string>;

/// A model with mixers, attention, feed-forwards and experts.
const std::string kHybrid = std::string(SCUTE_FAMILIES) + "/jamba";

class Hybrid : public testing::Test {
 protected:
  Hybrid() {
    std::string lines;
    for (int document = 0; document < 4; ++document) {
      lines += "{\"ids\": [";
      for (int t = 0; t < 90; ++t) {
        lines += std::to_string((t * (document + 3) + t * t) % 61) + (t == 89 ? "]}\n" : ", ");
      }
    }
    write_file(path("ids.jsonl"), lines);
    write_npy(path("ids.npy"), Tensor(DType::i32, {1, 12}));
    run({"collect", kHybrid, "--data", path("ids.jsonl"), "--samples", "4", "--seqlen", "80",
         "--out", path("s.safetensors"), "--quiet"});
  }

  std::string path(const std::string& name) const { return folder_.path(name); }
  /// What it says, having ended well.
  std::string run(const Arguments& arguments) const {
    const Ended ended = scute_program(arguments);
    EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
    return ended.out;
  }
  std::string quantize(const std::string& name, const Arguments& more) const {
    Arguments arguments{"quantize", kHybrid, "--stats", path("s.safetensors"), "--out", path(name)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }

  TemporaryFolder folder_;
};

TEST_F(Hybrid, KindsOfPartsGetFormatsOfTheirOwn) {
  const std::string said =
      quantize("low", {"--attention", "W8A16", "--experts", "W4A8", "--cache", "int8"});
  EXPECT_THAT(said, HasSubstr("mixers 2 × W8A8, attention 1 × W8A16, feed-forwards 2 × W8A8,"));
  EXPECT_THAT(said, HasSubstr("experts 1 × W4A8"));
  const Json config = Json::parse(read_text(path("low/config.json"), 1 << 20), "config.json");
  const Json& scute = config.at("scute", "");
  EXPECT_EQ(scute.at("cache", "").as_string(""), "int8");
  EXPECT_EQ(scute.at("layers", "").as_array("")[1].at("experts", "").as_string(""), "W4A8");
  EXPECT_THAT(run({"eval", path("low"), "--perplexity", path("ids.jsonl"), "--window", "40"}),
              HasSubstr("perplexity"));
  EXPECT_THAT(quantize("all", {}), HasSubstr("3 × W8A8"));
}

TEST_F(Hybrid, AListMayHaveAFormatForEachPart) {
  const auto with = [&](const std::string& list) {
    write_file(path("list.json"), list);
    return Arguments{"--hybrid-blocks", path("list.json")};
  };
  const std::string list =
      R"(["W8A8", "mixer=FP+experts=W4A8", "attention=W8A16+feed-forward=W8A8"])";
  const std::string said = quantize("low", with(list));
  EXPECT_THAT(said, HasSubstr("mixers 1 × FP, mixers 1 × W8A8, attention 1 × W8A16,"));
  EXPECT_THAT(said, HasSubstr("experts 1 × W4A8"));
  const Ended ended =
      scute_program({"quantize", kHybrid, "--stats", path("s.safetensors"), "--out", path("no"),
                     "--hybrid-blocks", with(R"(["FP", "mixer=FP", "FP"])")[1]});
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.err, HasSubstr("layer 1: expected a format, or one of each part: "
                                   "mixer=W8A8+experts=W8A8, found \"mixer=FP\""));
  // What a model says of its layers is such a list.
  const Json layers =
      Json::parse(read_text(path("low/config.json"), 1 << 20), "").at("scute", "").at("layers", "");
  quantize("again", with(layers.dump()));
  EXPECT_EQ(read_text(path("low/model.safetensors"), 1 << 24),
            read_text(path("again/model.safetensors"), 1 << 24));
}

TEST_F(Hybrid, ASearchFindsAFormatForEachPart) {
  const Arguments how{"--search", "9", "--data", path("ids.jsonl"), "--search-samples", "2"};
  const std::string said = quantize("low", how);
  EXPECT_THAT(said, HasSubstr("with one part rounded"));
  EXPECT_THAT(said, HasSubstr("    2  feed-forward"));
  EXPECT_THAT(said, HasSubstr("bits a weight"));
  const Json recipe = Json::parse(read_text(path("low/recipe.json"), 1 << 24), "");
  EXPECT_EQ(recipe.at("search", "").at("parts", "").as_array("").size(), 6U);
  EXPECT_LE(recipe.at("search", "").at("average_bits", "").as_double(""), 9);
}

TEST_F(Hybrid, WhatAPureModelDoesNotHaveIsRefused) {
  for (const auto& [flag, what] :
       {std::pair("--attention", "attention"), std::pair("--feed-forwards", "feed-forwards"),
        std::pair("--experts", "experts")}) {
    const Ended ended = scute_program({"quantize", "examples/tiny-mamba1", "--w-bits", "4",
                                       "--a-bits", "16", flag, "W8A16", "--out", path("low")});
    EXPECT_EQ(ended.code, 1);
    EXPECT_THAT(ended.err, HasSubstr(std::string(flag) + ": expected a model with " + what));
  }
  const Ended ended =
      scute_program({"quantize", "examples/tiny-mamba1", "--w-bits", "4", "--a-bits", "16",
                     "--attention", "W2A2", "--out", path("low")});
  EXPECT_THAT(ended.err, HasSubstr("--attention: expected W8A8, W4A8, W8A16, W4A16 or FP"));
}

TEST_F(Hybrid, ScalesOfEveryPartAreExplainedAndEdited) {
  quantize("low", {});
  const std::string trace = run({"trace", path("low")});
  EXPECT_THAT(trace, HasSubstr("attention: norm → q_proj, k_proj, v_proj → attention → o_proj"));
  EXPECT_THAT(trace, HasSubstr("experts: norm → router → gate_proj, up_proj → experts.down_proj"));
  EXPECT_THAT(trace, Not(HasSubstr("not known")));
  const std::string tensor = "backbone.layers.2.attention.k_proj.input_scale";
  const Json found = Json::parse(run({"sites", path("low"), "find", tensor, "--json"}), "sites");
  EXPECT_EQ(found.at("explanation", "").as_string(""),
            tensor + " holds the scale of layer_2.q_proj:input@rotated");
  const auto scale = [&](const char* name) {
    const Json all = Json::parse(run({"trace", path("low"), "--json"}), "trace");
    for (const Json& one : all.at("layers", "").as_array("")[2].at("scales", "").as_array("")) {
      if (one.at("tensor", "").as_string("") == name) return one.at("largest", "").as_double("");
    }
    return 0.0;
  };
  const double before = scale(tensor.c_str());
  run({"scales", path("low"), "--set", tensor + "*=0.5"});
  for (const char* matrix : {"q_proj", "k_proj", "v_proj"}) {
    const std::string name = std::string("backbone.layers.2.attention.") + matrix + ".input_scale";
    EXPECT_NEAR(scale(name.c_str()), before / 2, 1e-6 * before) << matrix;
  }
  run({"scales", path("low"), "--undo"});
  EXPECT_EQ(scale(tensor.c_str()), before);
}

TEST_F(Hybrid, LowBitItIsListedExaminedDumpedAndMeasured) {
  quantize("low", {});
  EXPECT_THAT(run({"sites", path("low")}), HasSubstr("layer_2.q_proj:input@rotated"));
  EXPECT_THAT(run({"sites", path("low"), "*.k_proj:input@rotated"}), HasSubstr("q_proj"));
  run({"doctor", path("low")});
  run({"dump", path("low"), "--ids", path("ids.npy"), "--out", path("d.safetensors")});
  run({"collect", path("low"), "--data", path("ids.jsonl"), "--out", path("t.safetensors"),
       "--quiet"});
}

TEST_F(Hybrid, WhatNoPartReadsIsRefused) {
  const auto refusal = [&](const Arguments& more) {
    Arguments all{"quantize", kHybrid,      "--stats",  path("s.safetensors"),
                  "--out",    path("none"), "--mixers", "FP"};
    all.insert(all.end(), more.begin(), more.end());
    const Ended ended = scute_program(all);
    EXPECT_EQ(ended.code, 1);
    return ended.err;
  };
  for (const auto& [flag, value] :
       {std::pair("--state-rounding", "nearest"), std::pair("--conv-scale", "tensor"),
        std::pair("--state-clip", "0.5"), std::pair("--state-scale", "none")}) {
    EXPECT_THAT(refusal({flag, value}), HasSubstr(std::string(flag) + ": expected Mamba mixers"));
  }
  EXPECT_THAT(
      refusal({"--attention", "FP", "--feed-forwards", "FP", "--experts", "FP", "--per-tensor"}),
      HasSubstr("--per-tensor: expected matrices that are rounded"));
  EXPECT_THAT(refusal({"--w-bits", "4", "--attention", "FP", "--feed-forwards", "W8A8", "--experts",
                       "FP", "--group-size", "32"}),
              HasSubstr("--group-size: expected matrices that are rounded to 4 bits"));
  EXPECT_THAT(
      refusal({"--attention", "FP", "--feed-forwards", "W4A16", "--experts", "FP", "--per-tensor"}),
      HasSubstr("--per-tensor: expected matrices that are rounded to 8 bits"));
  const Ended dumped = scute_program({"dump", kHybrid, "--ids", path("ids.npy"), "--sites",
                                      "*.experts.0.*", "--out", path("d.safetensors")});
  EXPECT_THAT(dumped.err, HasSubstr("--sites: expected a site whose tensors have one shape"));
}

/// One expert of its layer 1 is never chosen.
TEST_F(Hybrid, ExpertsThatSawNoTokenAreNamedAndTakeTheCommonRange) {
  const std::string model = std::string(SCUTE_FAMILIES) + "/granite-moe-old";
  const Arguments collect{"collect",  model, "--data", path("ids.jsonl"),      "--samples", "4",
                          "--seqlen", "80",  "--out",  path("moe.safetensors")};
  const std::string sentence = "layer 1: 1 of 6 experts saw no token (";
  EXPECT_THAT(run(collect), HasSubstr("WARNING    " + sentence));
  EXPECT_THAT(scute_program({"doctor", model}).out, HasSubstr(" experts saw no token ("));
  EXPECT_THAT(run({"quantize", model, "--stats", path("moe.safetensors"), "--out", path("moe")}),
              HasSubstr("layer 1: 1 of 6 experts have no range of their own in the plan"));
  Arguments asked = collect;
  asked.insert(asked.end(), {"--sites", "*experts.*", "--force"});
  const Ended ended = scute_program(asked);
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.err, HasSubstr("expected a value at every site asked for"));
  EXPECT_THAT(ended.err, HasSubstr("layer_1.experts."));
}

TEST_F(Hybrid, ATokenReadsTheExpertsThatAreChosenAlone) {
  const auto read_by = [&](const std::string& model) {
    const std::string text = run({"bench", std::string(SCUTE_FAMILIES) + "/" + model, "--pp", "4",
                                  "--tg", "1", "--repeat", "1", "--json", "--quiet"});
    const Json found = Json::parse(text, "bench");
    const auto bytes = [&](const char* figure) {
      return found.at(figure, "").at("bytes_read", "").as_int(figure);
    };
    return std::pair(bytes("pp"), bytes("tg"));
  };
  const auto [prompt, token] = read_by("granite-moe-old");  // two of six experts
  EXPECT_LT(token, prompt);
  EXPECT_GT(token, prompt / 3);
  const auto [dense_prompt, dense_token] = read_by("jamba-dense");
  EXPECT_EQ(dense_token, dense_prompt);
}

TEST_F(Hybrid, AListWithoutRangesSaysWhichLayerNeedsThem) {
  write_file(path("list.json"), R"(["W4A16", "mixer=FP+experts=W4A8", "FP"])");
  const Ended ended = scute_program(
      {"quantize", kHybrid, "--hybrid-blocks", path("list.json"), "--out", path("low")});
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.err, HasSubstr("list.json: layer 1: expected --stats FILE or --plan FILE"));
  EXPECT_THAT(ended.err, HasSubstr("found W4A8 and neither"));
}

TEST_F(Hybrid, WhatConfigSaysOfDownProjIsWhatWasDone) {
  quantize("low", {});
  const std::string file = path("low/config.json");
  const Json said = Json::parse(read_text(file, 1 << 20), file);
  for (const std::string key : {"rotated_down_proj", "rotated_experts"}) {
    EXPECT_TRUE(said.at("scute", "").at(key, "").as_bool(""));
    Json config = said;
    config["scute"][key] = false;
    write_file(file, config.dump());
    const Ended ended =
        scute_program({"eval", path("low"), "--perplexity", path("ids.jsonl"), "--window", "40"});
    EXPECT_EQ(ended.code, 1);
    EXPECT_THAT(ended.err, HasSubstr(key + ": expected true, as recipe.json says"));
  }
}

TEST_F(Hybrid, LatentExpertsAreRotatedNamedAndChecked) {
  const std::string model = std::string(SCUTE_FAMILIES) + "/nemotron-h-latent";
  run({"collect", model, "--data", path("ids.jsonl"), "--samples", "4", "--seqlen", "80", "--out",
       path("l.safetensors"), "--quiet"});
  run({"quantize", model, "--stats", path("l.safetensors"), "--out", path("low")});
  EXPECT_THAT(run({"sites", model, "find", "layer_1.fc2_latent_proj:input@rotated"}),
              HasSubstr("latent_out:input@rotated"));
  EXPECT_THAT(run({"sites", path("low"), "*.experts.up_proj:input*"}),
              HasSubstr("experts.up_proj:input@rotated"));
  const std::string trace = run({"trace", path("low"), "--json"});
  EXPECT_THAT(trace, HasSubstr("layer_1.experts.up_proj:input@rotated"));
  EXPECT_THAT(trace, HasSubstr("layer_1.latent_out:input@rotated"));
  EXPECT_THAT(run({"trace", path("low")}), Not(HasSubstr("not known")));

  const std::string file = path("low/config.json");
  Json config = Json::parse(read_text(file, 1 << 20), file);
  EXPECT_TRUE(config.at("scute", "").at("rotated_latent", "").as_bool(""));
  config["scute"]["rotated_latent"] = false;
  write_file(file, config.dump());
  const Ended ended =
      scute_program({"eval", path("low"), "--perplexity", path("ids.jsonl"), "--window", "40"});
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.err, HasSubstr("rotated_latent: expected true, as recipe.json says"));
}

TEST_F(Hybrid, AsGgufItIsItsDequantizedWeights) {
  quantize("low", {});
  std::filesystem::create_directory(path("plain"));  // the file names the folder's last part
  run({"export", path("low"), "--dequantized", "--out", path("plain/low")});
  run({"export", path("low"), "--gguf", "f32", "--out", path("a.gguf")});
  run({"export", path("plain/low"), "--gguf", "f32", "--out", path("b.gguf")});
  const std::string made = read_text(path("a.gguf"), 1 << 24);
  EXPECT_GT(made.size(), 10000u);
  EXPECT_TRUE(made == read_text(path("b.gguf"), 1 << 24));
}

TEST_F(Hybrid, DequantizedItIsReadAgain) {
  quantize("low", {"--w-bits", "4", "--a-bits", "16"});
  run({"export", path("low"), "--dequantized", "--out", path("plain")});
  EXPECT_TRUE(Json::parse(read_text(path("plain/config.json"), 1 << 20), "").find("scute") ==
              nullptr);
  const auto perplexity = [&](const std::string& model) {
    const Json said = Json::parse(
        run({"eval", path(model), "--perplexity", path("ids.jsonl"), "--window", "40", "--json"}),
        "eval");
    return said.at("perplexity", "").at("value", "").as_double("");
  };
  EXPECT_NEAR(perplexity("plain") / perplexity("low"), 1, 1e-5);
}

}  // namespace
}  // namespace scute::cli_hybrids_test
