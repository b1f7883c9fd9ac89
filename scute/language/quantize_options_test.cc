#include "scute/language/quantize_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/base/error.h"
#include "scute/language/low_bit_config.h"
#include "scute/language/test_hybrids.h"
#include "scute/language/test_models.h"

namespace scute::quantize_options_test {
namespace {

using fixtures::Folder;
using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(LayerFormat, NamesReadBackAsThemselves) {
  for (const char* name : {"W8A8", "W4A8", "W8A16", "W4A16", "FP"}) {
    EXPECT_EQ(LayerFormat::parse(name, "").name(), name);
  }
  EXPECT_TRUE(LayerFormat::parse("FP", "").is_float());
  EXPECT_FALSE(LayerFormat::parse("W4A16", "").eight_bit_activations());
  for (const char* name : {"W16A8", "w8a8", "", "W4A4", "FP16"}) {
    EXPECT_THAT([&] { LayerFormat::parse(name, "blocks"); },
                ThrowsMessage<Error>(HasSubstr("blocks: expected W8A8, W4A8, W8A16, W4A16 or FP")));
  }
}

MambaConfig of_layers(int64_t layers) {
  MambaConfig out;
  out.layers = layers;
  return out;
}

TEST(ReadHybrid, TakesOneFormatALayer) {
  const Folder folder;
  write_file(folder.path("h.json"), R"(["FP", "W4A8"])");
  const auto formats = read_hybrid(folder.path("h.json"), of_layers(2));
  ASSERT_EQ(formats.size(), 2u);
  EXPECT_EQ(formats[0], LayerFormats::all(kFloatFormat));
  EXPECT_EQ(formats[1], LayerFormats::all({4, 8}));
  EXPECT_THAT([&] { read_hybrid(folder.path("h.json"), of_layers(3)); },
              ThrowsMessage<Error>(HasSubstr("3 layers, found 2")));
  for (const char* bad : {R"(["FP", 4])", R"({"0": "FP"})", R"("FP")", "[", R"(["FP", "W2A2"])"}) {
    write_file(folder.path("h.json"), bad);
    EXPECT_THROW(read_hybrid(folder.path("h.json"), of_layers(2)), Error) << bad;
  }
}

TEST(ReadHybrid, TakesAFormatForEachPartOfALayer) {
  const Folder folder;
  const auto read = [&](const MambaConfig& config, const std::string& list) {
    write_file(folder.path("h.json"), list);
    return read_hybrid(folder.path("h.json"), config);
  };
  const auto refusal = [&](const MambaConfig& config, const std::string& list) -> std::string {
    try {
      read(config, list);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  const auto [name, jamba] = test::small_hybrids()[2];  // mixer, attention, mixer; experts each
  const auto formats =
      read(jamba, R"(["experts=W4A8+mixer=W8A8", "W8A8", "mixer=FP+experts=W4A8"])");
  EXPECT_EQ(formats[0].mixer.name() + formats[0].experts.name(), "W8A8W4A8");
  EXPECT_EQ(formats[1], LayerFormats::all({8, 8}));
  EXPECT_EQ(formats[2].mixer.name() + formats[2].experts.name(), "FPW4A8");
  // As config.json has them.
  EXPECT_EQ(read(jamba, Json(Json::Array{formats[0].to_json(), "W8A8", "FP"}).dump())[0],
            formats[0]);
  for (const char* wrong :
       {"mixer=W8A8", "mixer=W8A8+attention=W8A8", "mixer=W8A8+experts=W8A8+experts=FP",
        "mixer=W8A8+experts", "mixer=W8A8+experts=W8A8+", "W8A8+experts=FP", "=FP", "mixers=FP"}) {
    const std::string said = refusal(jamba, Json(Json::Array{"FP", "FP", wrong}).dump());
    EXPECT_THAT(said, HasSubstr("layer 2: expected a format, or one of each part: "
                                "mixer=W8A8+experts=W8A8, found \"" +
                                std::string(wrong)));
  }
  EXPECT_THAT(refusal(jamba, R"(["FP", "FP", "mixer=W2A2+experts=FP"])"), HasSubstr("W2A2"));
  // A block that two layers share is of one format.
  const MambaConfig zamba = test::small_hybrids()[5].second;  // layers 1 and 2 use block 0
  const std::string first = R"(["FP", "mixer=FP+attention=W8A8+feed-forward=W8A8", )";
  EXPECT_EQ(refusal(zamba, first + R"("mixer=FP+attention=W8A8+feed-forward=FP"])"), "");
  EXPECT_EQ(refusal(zamba, first + R"("FP"])"), "");
  EXPECT_THAT(
      refusal(zamba, first + R"("mixer=FP+attention=FP+feed-forward=W8A8"])"),
      HasSubstr("layer 2: expected attention=W8A8, that of layer 1, whose block it shares"));
}

TEST(QuantizeOptions, RecordWhatWasAsked) {
  QuantizeOptions options;
  options.format = LayerFormat::parse("W4A8", "");
  options.hybrid = {LayerFormats::all(kFloatFormat), LayerFormats::all({4, 8})};
  options.state_scale = QuantizeOptions::StateScale::none;
  options.state_rounding = Scheme::StateRounding::nearest;
  options.group = 64;
  const Json json = options.to_json();
  EXPECT_EQ(json.at("format", ""), Json("W4A8"));
  EXPECT_EQ(json.at("hybrid", ""), Json(Json::Array{"FP", "W4A8"}));
  EXPECT_EQ(json.at("state_scale", ""), Json("none"));
  EXPECT_EQ(json.at("state_rounding", ""), Json("nearest"));
  EXPECT_EQ(json.at("group_size", ""), Json(64));
  EXPECT_EQ(json.at("seed", ""), Json(42));
  EXPECT_EQ(QuantizeOptions{}.to_json().find("hybrid"), nullptr);
}

/// Layers of one format each.
std::vector<LayerFormats> formats(std::initializer_list<const char*> names) {
  std::vector<LayerFormats> out;
  for (const char* name : names) out.push_back(LayerFormats::all(LayerFormat::parse(name, "")));
  return out;
}

TEST(LowBitConfig, ASchemeReadsBackAsItself) {
  Scheme scheme;
  scheme.rotated_stream = scheme.folded_head = true;
  scheme.state_rounding = Scheme::StateRounding::nearest;
  // JSON holds signed 64 bits: the upper half of the seeds comes back too.
  scheme.seed = 0xfedcba9876543210;
  const auto layers = formats({"W8A8", "FP", "W4A16", "W8A16"});
  const Json json = Json::parse(scheme_to_json(scheme, layers, "channel").dump(), "json");
  EXPECT_EQ(scheme_from_json(json, "json"), scheme);
  EXPECT_EQ(layers_from_json(json, "json"), layers);
  auto mixed = layers;
  mixed[0].attention = LayerFormat::parse("W4A16", "");
  EXPECT_EQ(layers_from_json(scheme_to_json(scheme, mixed, "none"), "json"), mixed);
}

TEST(LowBitConfig, RefusesWhatItDoesNotKnowNamingTheKey) {
  const auto refused = [](const char* key, Json value) {
    Json json = scheme_to_json({}, formats({"W8A8"}), "none");
    json[key] = std::move(value);
    EXPECT_THAT(([&] {
                  scheme_from_json(json, "c");
                  layers_from_json(json, "c");
                }),
                ThrowsMessage<Error>(testing::AllOf(HasSubstr("c: "), HasSubstr(key))));
  };
  refused("format", "scute-plan");
  refused("version", 2);
  refused("version", 0);
  refused("rotated_stream", 1);
  refused("rotated_out_proj", Json());
  refused("state_rounding", "floor");
  refused("state_scale", "row");
  refused("seed", "42");
  refused("layers", "W8A8");
  refused("layers", Json::Array{"W8A9"});
  for (const char* key : {"version", "folded_head", "state_scale", "layers"}) {
    Json json = Json::object();
    const Json whole = scheme_to_json({}, {}, "tensor");
    for (const auto& [name, value] : whole.as_object("")) {
      if (name != key) json[name] = value;
    }
    EXPECT_THROW((scheme_from_json(json, "c"), layers_from_json(json, "c")), Error) << key;
  }
}

/// The groups' targets and bits, "targets: bits, inputs".
std::vector<std::string> groups(const Json& config) {
  std::vector<std::string> out;
  for (const auto& [name, group] : config.at("config_groups", "").as_object("")) {
    std::string text;
    for (const Json& target : group.at("targets", "").as_array("")) text += target.as_string("");
    const bool inputs = !group.at("input_activations", "").is_null();
    out.push_back(text + ": " + group.at("weights", "").at("num_bits", "").dump() +
                  (inputs ? ", 8" : "") + ", " + group.at("weights", "").at("strategy", "").dump());
  }
  return out;
}

MambaConfig config_of(int64_t width) {
  MambaConfig config;
  config.width = width;
  config.inner = 2 * width;
  config.dt_rank = 16;
  return config;
}

TEST(LowBitConfig, AMatrixWithoutAFullGroupHasAScaleAnOutput) {
  const Json config = quantization_config(config_of(96), formats({"W4A16"}), {}, {4, false});
  EXPECT_THAT(groups(config), testing::UnorderedElementsAre(
                                  R"(re:.*layers\.(0)\.mixer\.(x_proj|out_proj)$: 4, "group")",
                                  R"(re:.*layers\.(0)\.mixer\.(in_proj)$: 4, "channel")",
                                  R"(re:.*embeddings$: 4, "channel")", R"(lm_head: 4, "channel")"));
}

TEST(LowBitConfig, OneGroupOfModulesForEachWeightFormat) {
  QuantizeOptions options;
  Json config = quantization_config(config_of(256), formats({"W8A8", "W8A8"}), options, {});
  EXPECT_THAT(
      groups(config),
      testing::ElementsAre(
          R"(re:.*layers\.(0|1)\.mixer\.(in_proj|x_proj|dt_proj|out_proj)$: 8, 8, "channel")"));
  EXPECT_EQ(config.at("format", ""), Json("int-quantized"));
  EXPECT_THAT(
      groups(quantization_config(config_of(256), formats({"W8A16"}), options, {})),
      testing::ElementsAre(R"(re:.*layers\.(0)\.mixer\.(in_proj|x_proj|out_proj)$: 8, "channel")"));
  EXPECT_EQ(config.at("ignore", ""), Json(Json::Array{"lm_head", "re:.*conv1d$"}));

  config =
      quantization_config(config_of(256), formats({"W4A8", "FP", "W4A16"}), options, {8, true});
  EXPECT_THAT(groups(config),
              testing::UnorderedElementsAre(
                  R"(re:.*layers\.(0)\.mixer\.(in_proj|x_proj|out_proj)$: 4, 8, "group")",
                  R"(re:.*layers\.(0)\.mixer\.(dt_proj)$: 8, 8, "channel")",
                  R"(re:.*layers\.(2)\.mixer\.(in_proj|x_proj|out_proj)$: 4, "group")",
                  R"(re:.*embeddings$: 8, "channel")", R"(lm_head: 8, 8, "channel")"));
  EXPECT_EQ(config.at("format", ""), Json("mixed-precision"));
  EXPECT_EQ(config.at("ignore", ""), Json(Json::Array{"re:.*conv1d$"}));
}

}  // namespace
}  // namespace scute::quantize_options_test
