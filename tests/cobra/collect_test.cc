// Collecting on the shared Cobra and its pictures, against exact percentiles computed elsewhere.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "scute/base/error.h"
#include "scute/base/json.h"
#include "scute/cobra/collect.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "scute/io/test_npy.h"
#include "scute/io/testing.h"
#include "scute/observe/distribution.h"
#include "scute/recipe/statistics_io.h"

namespace scute {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kModel = "../shared/models/tiny-cobra";
constexpr const char* kImages = "../shared/images";

class CobraCollect : public ::testing::Test {
 protected:
  void SetUp() override {
    model = describe_cobra(kModel);
    options.images = kImages;
    options.text.prompts = golden_ids();
  }
  /// The golden texts as a file of ids.
  std::string golden_ids() {
    const SafetensorsFile golden = read_safetensors(std::string(kModel) + "/golden.safetensors");
    for (const NamedTensor& item : golden.tensors) {
      if (item.name == "text_ids") write_npy(folder / "ids.npy", item.tensor);
    }
    return folder / "ids.npy";
  }
  CobraCollectResult collect(int threads = 2) const {
    return collect_cobra(model, options, {.threads = threads});
  }
  std::string bytes(const CobraCollectResult& result) const {
    write_statistics(folder / "s.pt", result.statistics);
    return testing::get(folder / "s.pt");
  }
  std::string error_of() const {
    return testing::error_of([&] { collect(); });
  }
  /// The shared pictures, linked, with a file that is none between the second and the third.
  std::string with_a_corrupt_picture() {
    fs::create_directories(folder / "pictures");
    for (const auto& entry : fs::directory_iterator(kImages)) {
      fs::copy(entry.path(), fs::path(folder / "pictures") / entry.path().filename());
    }
    testing::put(folder / "pictures/cut.jpg", "\xFF\xD8 this is no picture");
    return folder / "pictures";
  }

  testing::Folder folder;
  CobraDescription model;
  CobraCollectOptions options;
};

// The value read back from a histogram with 8 mantissa bits is within 2^-9 of the one in its place;
// the forward pass in f32 moves values by at most 1e-4 of the largest (the golden test's bound;
// 3e-6 is what it measures), which matters near zero.
TEST_F(CobraCollect, PercentilesAreThoseComputedInDouble) {
  const CobraCollectResult result = collect();
  const std::string file = std::string(kModel) + "/golden_buckets.json";
  const Json golden = Json::parse(read_text(file), file);
  for (const auto& [bucket, expected] : golden.at("buckets", file).as_object(file)) {
    SCOPED_TRACE(bucket);
    const Statistic& statistic = result.statistics.sites.at(bucket);
    EXPECT_EQ(static_cast<int64_t>(statistic.count), expected.at("count", file).as_int(file));
    const double largest = std::max(std::abs(expected.at("min", file).as_double(file)),
                                    std::abs(expected.at("max", file).as_double(file)));
    const double noise = 1e-5 * largest;
    EXPECT_NEAR(static_cast<double>(statistic.min), expected.at("min", file).as_double(file),
                noise);
    EXPECT_NEAR(static_cast<double>(statistic.max), expected.at("max", file).as_double(file),
                noise);
    const Distribution distribution(statistic);
    for (const auto& [key, value] : expected.at("percentiles", file).as_object(file)) {
      const double wanted = value.as_double(file), share = std::stod(key.substr(1)) / 100;
      EXPECT_NEAR(distribution.quantile(share), wanted, std::abs(wanted) / 512 + noise) << key;
    }
    for (const auto& [key, value] : expected.at("magnitude", file).as_object(file)) {
      const double wanted = value.as_double(file), share = std::stod(key.substr(1)) / 100;
      EXPECT_NEAR(distribution.magnitude_quantile(share), wanted, wanted / 512 + noise) << key;
    }
  }
}

TEST_F(CobraCollect, SameBytesForAnyThreadsAndBatches) {
  const std::string once = bytes(collect(1));
  EXPECT_EQ(bytes(collect(3)), once);
  options.batches = 4;
  options.batch_size = 2;
  EXPECT_EQ(bytes(collect(2)), once);
  options.batches = 1;
  options.batch_size = 8;
  EXPECT_EQ(bytes(collect(2)), once);
}

TEST_F(CobraCollect, TheFileReadsBackInBothFormats) {
  const CobraCollectResult result = collect();
  for (const char* name : {"s.pt", "s.safetensors"}) {
    write_statistics(folder / name, result.statistics);
    const StatisticsSet read = read_statistics(folder / name);
    EXPECT_EQ(read.sites, result.statistics.sites) << name;
    EXPECT_EQ(read.meta, result.statistics.meta) << name;
  }
}

TEST_F(CobraCollect, ObservesTheSitesInsideTheTargets) {
  const CobraCollectResult result = collect();
  const auto& sites = result.statistics.sites;
  // DINO: 3 of 4 blocks, SigLIP 2 of 3: 4 inputs each, the patch embedding and the bucket; the
  // projector's 3 inputs and its bucket; llm.
  EXPECT_EQ(sites.size(), 3U * 4 + 2 + 2 * 4 + 2 + 4 + 1);
  EXPECT_EQ(sites.at("vision.dino.blocks.0.attn.qkv:input").count, 8U * (16 + 5) * 64);
  EXPECT_EQ(sites.at("vision.dino.blocks.2.mlp.fc2:input").count, 8U * 16 * 256)
      << "the prefix rows of the last block are not computed";
  EXPECT_EQ(sites.at("projector.0:input").count,
            sites.at("vision.dino").count + sites.at("vision.siglip").count);
  EXPECT_TRUE(result.silent_sites.empty());
}

TEST_F(CobraCollect, TargetsSkipBuckets) {
  options.targets = {"vision.dino"};
  const CobraCollectResult dino = collect();
  EXPECT_EQ(dino.statistics.sites.size(), 14U);
  EXPECT_EQ(dino.text_tokens, 0);
  options.targets = {"llm"};
  const CobraCollectResult llm = collect();
  EXPECT_EQ(llm.statistics.sites.size(), 1U);
  EXPECT_EQ(llm.text_tokens, 64);
}

TEST_F(CobraCollect, TheLanguageModelRunsOnPicturesAndTextWhenItsSitesAreAskedFor) {
  options.sites = "layer_0.in_proj:input,lm_head:input";
  const CobraCollectResult result = collect();
  EXPECT_EQ(result.statistics.sites.at("layer_0.in_proj:input").count, 8U * (16 + 8) * 256);
  EXPECT_EQ(result.statistics.sites.at("lm_head:input").count, 8U * (16 + 8) * 256);
}

TEST_F(CobraCollect, PicturesBeyondTheBatchesAreCountedAsUnused) {
  options.batches = 1;
  options.batch_size = 3;
  const CobraCollectResult result = collect();
  EXPECT_EQ(result.pictures, 3);
  EXPECT_EQ(result.unused, 5);
  EXPECT_EQ(result.listed, 8);
}

TEST_F(CobraCollect, CorruptPicturesAreNamedAndTheOthersKeepTheirTexts) {
  options.images = with_a_corrupt_picture();
  options.text.prompts.clear();
  const CobraCollectResult result = collect();
  EXPECT_EQ(result.pictures, 8);
  ASSERT_EQ(result.corrupt.size(), 1U);
  EXPECT_THAT(result.corrupt.front(), HasSubstr("cut.jpg"));
  EXPECT_EQ(result.statistics.meta.at("pictures_corrupt", "m").as_int("m"), 1);
  // Vision is what it is without the file.
  options.images = kImages;
  EXPECT_EQ(collect().statistics.sites.at("projector"), result.statistics.sites.at("projector"));
}

TEST_F(CobraCollect, NoPictureThatCanBeReadIsAnError) {
  fs::create_directories(folder / "bad");
  testing::put(folder / "bad/a.png", "no picture");
  options.images = folder / "bad";
  EXPECT_THAT(error_of(), HasSubstr("expected a picture that can be read, found none of 1"));
  fs::create_directories(folder / "empty");
  options.images = folder / "empty";
  EXPECT_THAT(error_of(), HasSubstr("empty"));
}

TEST_F(CobraCollect, RandomTextIsSeededAndSaidInTheFile) {
  options.text.prompts.clear();
  options.targets = {"llm"};
  const CobraCollectResult a = collect(), again = collect(1);
  EXPECT_EQ(a.statistics.sites.at("llm").count, 8U * 16 * 256);
  EXPECT_EQ(bytes(a), bytes(again));
  const Json& text = a.statistics.meta.at("text", "m");
  EXPECT_EQ(text.at("source", "m").as_string("m"), "random");
  EXPECT_EQ(text.at("seed", "m").as_int("m"), 42);
  EXPECT_EQ(text.at("vocabulary", "m").as_int("m"), 4096);
  options.text.seed = 43;
  EXPECT_NE(collect().statistics.sites.at("llm"), a.statistics.sites.at("llm"));
}

TEST_F(CobraCollect, PromptsGoThroughThePromptBuilder) {
  testing::put(folder / "one.txt", "What is in the picture?");
  options.text.prompts = folder / "one.txt";
  options.targets = {"llm"};
  const CobraCollectResult result = collect();
  // "In: …\nOut: ", as the model's name has no zephyr in it: one row for all eight.
  const auto tokenizer = load_tokenizer(model.language);
  const auto ids = tokenizer->encode("In: What is in the picture?\nOut: ");
  EXPECT_EQ(result.text_tokens, 8 * std::ssize(ids));
}

TEST_F(CobraCollect, TextsThatDoNotFitAreRefused) {
  testing::put(folder / "two.jsonl", "{\"ids\": [1, 2]}\n{\"ids\": [3]}\n");
  options.text.prompts = folder / "two.jsonl";
  EXPECT_THAT(error_of(), HasSubstr("a row for each of the 8, found 2 rows"));
  testing::put(folder / "large.jsonl", "{\"ids\": [4096]}\n");
  options.text.prompts = folder / "large.jsonl";
  EXPECT_THAT(error_of(), HasSubstr("ids from 0 to 4095, found 4096"));
  options.text.prompts.clear();
  options.text.random = false;
  options.sites = "layer_*";
  EXPECT_THAT(error_of(), HasSubstr("expected text for the language model"));
}

TEST_F(CobraCollect, WithoutTextOnlyItsBucketIsSilent) {
  options.text.prompts.clear();
  options.text.random = false;
  const CobraCollectResult result = collect();
  EXPECT_THAT(result.silent_sites, ElementsAre("llm"));
  EXPECT_EQ(result.statistics.sites.count("projector"), 1U);
  EXPECT_EQ(result.text_tokens, 0);
}

TEST_F(CobraCollect, SamplingIsSeededAndSaidAndKeepsTheExtremes) {
  const CobraCollectResult whole = collect();
  options.max_samples_per_batch = 400;
  const CobraCollectResult a = collect(1), b = collect(3);
  EXPECT_EQ(bytes(a), bytes(b));
  const Statistic& dino = a.statistics.sites.at("vision.dino");
  EXPECT_GE(dino.count, 800U);
  EXPECT_LE(dino.count, 816U);
  EXPECT_EQ(dino.min, whole.statistics.sites.at("vision.dino").min);
  EXPECT_EQ(dino.max, whole.statistics.sites.at("vision.dino").max);
  EXPECT_EQ(a.statistics.meta.at("sampling", "m").at("values_per_batch", "m").as_int("m"), 400);
  EXPECT_EQ(whole.statistics.meta.find("sampling"), nullptr);
}

TEST_F(CobraCollect, AnUnknownBucketOrSiteNamesTheNearest) {
  options.targets = {"vision.dimo"};
  EXPECT_THAT(error_of(), HasSubstr("vision.dino"));
  options.targets = {"vision.dino"};
  options.sites = "layer_0.in_prog:input";
  EXPECT_THAT(error_of(), HasSubstr("layer_0.in_proj:input"));
}

TEST_F(CobraCollect, AnInterruptionKeepsWhatIsFinished) {
  std::atomic<bool> cancelled{false};
  const CobraCollectResult result =
      collect_cobra(model, options,
                    {.threads = 1,
                     .progress = [&](int64_t done, int64_t) { cancelled = done >= 2; },
                     .cancelled = &cancelled});
  EXPECT_TRUE(result.interrupted);
  EXPECT_EQ(result.pictures, 2);
  options.batches = 1;
  options.batch_size = 2;
  EXPECT_EQ(collect().statistics.sites, result.statistics.sites);
}

}  // namespace
}  // namespace scute
