#include "scute/cobra/percentile_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "scute/base/error.h"

namespace scute::percentile_config_test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string message_of(auto&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

PercentileOptions read(std::string_view json) {
  return percentile_options_from_json(Json::parse(json, "pct.json"), "pct.json");
}

Lookup environment(std::map<std::string, std::string> variables) {
  return [all = std::move(variables)](const std::string& name) -> std::optional<std::string> {
    const auto found = all.find(name);
    if (found == all.end()) return std::nullopt;
    return found->second;
  };
}

TEST(PercentileConfig, AnEmptyFileGivesTheDefaults) {
  const PercentileOptions o = read("{}");
  EXPECT_THAT(o.targets, ElementsAre("vision.siglip", "vision.dino", "llm", "projector"));
  EXPECT_EQ(o.stats_out, "outputs/percentile_stats.pt");
  EXPECT_EQ(o.overrides_json, "");  // written only when asked for
  EXPECT_EQ(o.batches, 8);
  EXPECT_EQ(o.batch_size, 4);
  EXPECT_EQ(o.text_len, 16);
  EXPECT_EQ(o.seed, 42u);
  EXPECT_FALSE(o.percentile_override || o.img_size);
  EXPECT_TRUE(o.random_text);
}

TEST(PercentileConfig, ReadsEveryKey) {
  const PercentileOptions o = read(R"({"enabled": false, "targets": ["dino", "projector"],
      "images": "pictures", "stats_out": "s.pt", "overrides_json": "o.json", "batches": 2,
      "batch_size": 3, "text_len": 5, "img_size": 384, "percentile_override": 99.9,
      "prompts": "p.txt", "random_text": false, "max_samples_per_batch": 1000, "seed": 7,
      "device": "cpu"})");
  PercentileOptions wanted;
  wanted.enabled = false;
  wanted.targets = {"vision.dino", "projector"};
  wanted.images = "pictures";
  wanted.stats_out = "s.pt";
  wanted.overrides_json = "o.json";
  wanted.batches = 2;
  wanted.batch_size = 3;
  wanted.text_len = 5;
  wanted.img_size = 384;
  wanted.percentile_override = 99.9;
  wanted.prompts = "p.txt";
  wanted.random_text = false;
  wanted.max_samples_per_batch = 1000;
  wanted.seed = 7;
  EXPECT_TRUE(o == wanted);
  EXPECT_TRUE(percentile_options_from_json(to_json(wanted), "again") == wanted);
}

TEST(PercentileConfig, TargetsMayBeCommaSeparatedAndEachCountsOnce) {
  EXPECT_THAT(read(R"({"targets": "llm, SigLIP,vision.siglip"})").targets,
              ElementsAre("llm", "vision.siglip"));
  EXPECT_EQ(read(R"({"targets": []})").targets, bucket_names());
  EXPECT_EQ(read(R"({"targets": ""})").targets, bucket_names());
}

TEST(PercentileConfig, NullLeavesWhatIsNotGiven) {
  EXPECT_TRUE(read(R"({"percentile_override": null, "img_size": null, "prompts": null,
                       "images": ""})") == PercentileOptions{});
  EXPECT_THAT(message_of([] { read(R"({"batches": null})"); }), HasSubstr("pct.json: batches"));
}

TEST(PercentileConfig, MistakesNameTheKey) {
  const auto says = [](std::string_view json) { return message_of([&] { read(json); }); };
  EXPECT_THAT(says(R"({"batchsize": 4})"), AllOf(HasSubstr("pct.json"), HasSubstr("\"batchsize\""),
                                                 HasSubstr("did you mean batch_size")));
  EXPECT_THAT(says(R"({"batches": "8"})"), HasSubstr("pct.json: batches: expected"));
  EXPECT_THAT(says(R"({"batches": 0})"), AllOf(HasSubstr("batches"), HasSubstr("at least 1")));
  EXPECT_THAT(says(R"({"text_len": 1.5})"), HasSubstr("text_len"));
  EXPECT_THAT(says(R"({"enabled": 1})"), HasSubstr("enabled"));
  EXPECT_THAT(says(R"({"percentile_override": 0})"), HasSubstr("percentile_override"));
  EXPECT_THAT(says(R"({"percentile_override": 100.5})"), HasSubstr("100.5"));
  EXPECT_THAT(says(R"({"targets": 4})"), HasSubstr("targets"));
  EXPECT_THAT(says(R"({"targets": ["vision.dinno"]})"),
              AllOf(HasSubstr("pct.json: targets"), HasSubstr("vision.dino?")));
  EXPECT_THAT(says(R"({"device": "cuda"})"),
              AllOf(HasSubstr("device"), HasSubstr("scute runs on CPUs")));
  EXPECT_THAT(says("[]"), HasSubstr("pct.json"));
}

TEST(PercentileConfig, TheEnvironmentComesAfterTheFile) {
  const PercentileOptions file = read(R"({"batches": 2, "batch_size": 3})");
  const PercentileOptions o =
      apply_environment(file, environment({{"SCUTE_PCT_BATCHES", "6"},
                                           {"SCUTE_PCT_TARGETS", "projector,mm_projector"},
                                           {"SCUTE_PCT_PERCENTILE_OVERRIDE", "99.99"},
                                           {"SCUTE_PCT_RANDOM_TEXT", "off"},
                                           {"SCUTE_PCT_STATS_OUT", "x.pt"},
                                           {"SCUTE_PCT_DEVICE", "CPU"},
                                           {"SCUTE_PCT_TEXT_LEN", " "},
                                           {"PCT_SEED", "1"}}));
  EXPECT_EQ(o.batches, 6);
  EXPECT_EQ(o.batch_size, 3);
  EXPECT_THAT(o.targets, ElementsAre("projector"));
  EXPECT_EQ(o.percentile_override, 99.99);
  EXPECT_FALSE(o.random_text);
  EXPECT_EQ(o.stats_out, "x.pt");
  EXPECT_EQ(o.text_len, 16);
  EXPECT_EQ(o.seed, 42u);
}

TEST(PercentileConfig, MistakesInTheEnvironmentNameTheVariable) {
  const auto says = [](const std::string& name, const std::string& text) {
    return message_of([&] { apply_environment({}, environment({{name, text}})); });
  };
  EXPECT_THAT(says("SCUTE_PCT_BATCHES", "8x"),
              AllOf(HasSubstr("SCUTE_PCT_BATCHES"), HasSubstr("8x")));
  EXPECT_THAT(says("SCUTE_PCT_BATCH_SIZE", "0"), HasSubstr("SCUTE_PCT_BATCH_SIZE"));
  EXPECT_THAT(says("SCUTE_PCT_PERCENTILE_OVERRIDE", "high"),
              HasSubstr("SCUTE_PCT_PERCENTILE_OVERRIDE"));
  EXPECT_THAT(says("SCUTE_PCT_PERCENTILE_OVERRIDE", "nan"),
              HasSubstr("SCUTE_PCT_PERCENTILE_OVERRIDE"));
  EXPECT_THAT(says("SCUTE_PCT_ENABLED", "maybe"), HasSubstr("SCUTE_PCT_ENABLED"));
  EXPECT_THAT(says("SCUTE_PCT_TARGETS", "vision"), HasSubstr("SCUTE_PCT_TARGETS"));
  EXPECT_THAT(says("SCUTE_PCT_DEVICE", "cuda:0"), HasSubstr("scute runs on CPUs"));
}

TEST(PercentileConfig, AliasesMeanTheOneBucketTheyCan) {
  for (const char* name : {"SigLIP", "siglip", "vision/siglip", "vision_backbone.siglip_featurizer",
                           " vision.siglip "}) {
    EXPECT_EQ(normalize_target(name), "vision.siglip") << name;
  }
  for (const char* name : {"dino", "DINOv2", "vision_backbone.dino_featurizer"}) {
    EXPECT_EQ(normalize_target(name), "vision.dino") << name;
  }
  EXPECT_EQ(normalize_target("language"), "llm");
  EXPECT_EQ(normalize_target("mm_projector"), "projector");
  // Words that could mean more than one: the original turned each into some bucket.
  for (const char* name : {"backbone", "vision", "proj", "vision_backbone.clip", "",
                           "llm_backbone.llm.backbone.layers.0.mixer.in_proj.act_quantizer"}) {
    EXPECT_THAT(message_of([&] { normalize_target(name); }),
                HasSubstr("vision.siglip, vision.dino, llm, projector"))
        << name;
  }
  EXPECT_THAT(message_of([] { normalize_target("projektor"); }), HasSubstr("projector?"));
  EXPECT_THAT(message_of([] { normalize_target("siglipp"); }), HasSubstr("mean vision.siglip?"));
}

}  // namespace
}  // namespace scute::percentile_config_test
