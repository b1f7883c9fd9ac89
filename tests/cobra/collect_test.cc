// Collecting on a small Cobra and its pictures, against values computed in double: that of the
// repository, and the shared one where it is.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
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

namespace scute::cobra_collect_test {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A model with golden tensors, and what its sizes make of them.
struct Place {
  std::string name, model, images;
  int64_t pictures;   ///< that can be read, in `images`
  int64_t ids;        ///< of each golden text
  int64_t width;      ///< of the language model
  size_t dino_sites;  ///< 4 inputs of each block but the last, the patch embedding, the bucket
  size_t sites;       ///< of all buckets: the same for SigLIP; the projector's 3 inputs and it; llm
  int64_t dino_width, dino_hidden;
  std::string last_fc2;       ///< of DINO, in the last block that is computed
  std::string before, after;  ///< the words around a prompt
};

const Place kRepository{"repository",
                        "tests/golden/cobra/model",
                        "tests/golden/cobra/pictures",
                        5,
                        7,
                        64,
                        2 * 4 + 2,
                        2 * (2 * 4 + 2) + 4 + 1,
                        32,
                        128,
                        "vision.dino.blocks.1.mlp.fc2:input",
                        "<|user|>\n",
                        "<|endoftext|>\n<|assistant|>\n"};
const Place kShared{"shared",
                    "../shared/models/tiny-cobra",
                    "../shared/images",
                    8,
                    8,
                    256,
                    3 * 4 + 2,
                    3 * 4 + 2 + 2 * 4 + 2 + 4 + 1,
                    64,
                    256,
                    "vision.dino.blocks.2.mlp.fc2:input",
                    "In: ",
                    "\nOut: "};
constexpr int64_t kPatches = 16, kPrefix = 5;  ///< of both

class CobraCollect : public ::testing::TestWithParam<Place> {
 protected:
  void SetUp() override {
    if (!fs::exists(at.model)) GTEST_SKIP() << "SKIPPED: ../shared not present";
    model = describe_cobra(at.model);
    fs::create_directories(folder / "whole");
    for (const auto& entry : fs::directory_iterator(at.images)) {
      const std::string file = entry.path().filename().string();
      if (file.find("broken") == std::string::npos && file != "README.md") {
        fs::copy(entry.path(), fs::path(folder / "whole") / file);
      }
    }
    options.images = folder / "whole";
    options.text.prompts = golden_ids();
  }
  /// The golden texts as a file of ids.
  std::string golden_ids() {
    const SafetensorsFile golden = read_safetensors(at.model + "/golden.safetensors");
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
    return fixtures::get(folder / "s.pt");
  }
  std::string error_of() const {
    return fixtures::error_of([&] { collect(); });
  }
  /// The pictures with a file that is none among them.
  std::string with_a_corrupt_picture() {
    fs::copy(folder / "whole", folder / "pictures");
    fixtures::put(folder / "pictures/cut.jpg", "\xFF\xD8 this is no picture");
    return folder / "pictures";
  }

  const Place at = GetParam();
  fixtures::Folder folder;
  CobraDescription model;
  CobraCollectOptions options;
};
INSTANTIATE_TEST_SUITE_P(Small, CobraCollect, ::testing::Values(kRepository, kShared),
                         [](const auto& place) { return place.param.name; });

// The value read back from a histogram with 8 mantissa bits is within 2^-9 of the one in its place;
// the forward pass in f32 moves values by at most 1e-4 of the largest (the golden test's bound;
// 3e-6 is what it measures), which matters near zero.
TEST_P(CobraCollect, QuantilesAreThoseOfTheGoldenTensors) {
  const CobraCollectResult result = collect();
  for (const NamedTensor& golden : read_safetensors(at.model + "/golden.safetensors").tensors) {
    const auto found = result.statistics.sites.find(golden.name);
    if (found == result.statistics.sites.end()) continue;
    SCOPED_TRACE(golden.name);
    std::vector<float> values = to_vector(golden.tensor);
    std::ranges::sort(values);
    const Statistic& statistic = found->second;
    ASSERT_EQ(static_cast<int64_t>(statistic.count), std::ssize(values));
    const double noise = 1e-5 * static_cast<double>(std::max(-values.front(), values.back()));
    const Distribution distribution(statistic);
    for (const double share : {1e-5, 0.001, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0}) {
      const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(values.size())));
      const double wanted = static_cast<double>(values[std::max<size_t>(rank, 1) - 1]);
      EXPECT_NEAR(distribution.quantile(share), wanted, std::abs(wanted) / 512 + noise) << share;
    }
  }
}

TEST_P(CobraCollect, PercentilesAreThoseComputedInDouble) {
  const std::string file = at.model + "/golden_buckets.json";
  if (!fs::exists(file)) GTEST_SKIP() << "SKIPPED: no " << file;
  const CobraCollectResult result = collect();
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

TEST_P(CobraCollect, SameBytesForAnyThreadsAndBatches) {
  const std::string once = bytes(collect(1));
  EXPECT_EQ(bytes(collect(3)), once);
  options.batches = 4;
  options.batch_size = 2;
  EXPECT_EQ(bytes(collect(2)), once);
  options.batches = 1;
  options.batch_size = 8;
  EXPECT_EQ(bytes(collect(2)), once);
}

TEST_P(CobraCollect, TheFileReadsBackInBothFormats) {
  const CobraCollectResult result = collect();
  for (const char* name : {"s.pt", "s.safetensors"}) {
    write_statistics(folder / name, result.statistics);
    const StatisticsSet read = read_statistics(folder / name);
    EXPECT_EQ(read.sites, result.statistics.sites) << name;
    EXPECT_EQ(read.meta, result.statistics.meta) << name;
  }
}

TEST_P(CobraCollect, ObservesTheSitesInsideTheTargets) {
  const CobraCollectResult result = collect();
  const auto& sites = result.statistics.sites;
  EXPECT_EQ(sites.size(), at.sites);
  const auto count = [&](const std::string& site) {
    return static_cast<int64_t>(sites.at(site).count);
  };
  EXPECT_EQ(count("vision.dino.blocks.0.attn.qkv:input"),
            at.pictures * (kPatches + kPrefix) * at.dino_width);
  EXPECT_EQ(count(at.last_fc2), at.pictures * kPatches * at.dino_hidden)
      << "the prefix rows of the last block are not computed";
  EXPECT_EQ(sites.at("projector.0:input").count,
            sites.at("vision.dino").count + sites.at("vision.siglip").count);
  EXPECT_TRUE(result.silent_sites.empty());
}

TEST_P(CobraCollect, TargetsSkipBuckets) {
  options.targets = {"vision.dino"};
  const CobraCollectResult dino = collect();
  EXPECT_EQ(dino.statistics.sites.size(), at.dino_sites);
  EXPECT_EQ(dino.text_tokens, 0);
  options.targets = {"llm"};
  const CobraCollectResult llm = collect();
  EXPECT_EQ(llm.statistics.sites.size(), 1U);
  EXPECT_EQ(llm.text_tokens, at.pictures * at.ids);
}

TEST_P(CobraCollect, TheLanguageModelRunsOnPicturesAndTextWhenItsSitesAreAskedFor) {
  options.sites = "layer_0.in_proj:input,lm_head:input";
  const CobraCollectResult result = collect();
  for (const char* site : {"layer_0.in_proj:input", "lm_head:input"}) {
    EXPECT_EQ(static_cast<int64_t>(result.statistics.sites.at(site).count),
              at.pictures * (kPatches + at.ids) * at.width);
  }
}

TEST_P(CobraCollect, PicturesBeyondTheBatchesAreCountedAsUnused) {
  options.batches = 1;
  options.batch_size = 3;
  const CobraCollectResult result = collect();
  EXPECT_EQ(result.pictures, 3);
  EXPECT_EQ(result.unused, at.pictures - 3);
  EXPECT_EQ(result.listed, at.pictures);
}

TEST_P(CobraCollect, CorruptPicturesAreNamedAndTheOthersKeepTheirTexts) {
  options.images = with_a_corrupt_picture();
  options.text.prompts.clear();
  const CobraCollectResult result = collect();
  EXPECT_EQ(result.pictures, at.pictures);
  ASSERT_EQ(result.corrupt.size(), 1U);
  EXPECT_THAT(result.corrupt.front(), HasSubstr("cut.jpg"));
  EXPECT_EQ(result.statistics.meta.at("pictures_corrupt", "m").as_int("m"), 1);
  // Vision is what it is without the file.
  options.images = folder / "whole";
  EXPECT_EQ(collect().statistics.sites.at("projector"), result.statistics.sites.at("projector"));
}

TEST_P(CobraCollect, NoPictureThatCanBeReadIsAnError) {
  fs::create_directories(folder / "bad");
  fixtures::put(folder / "bad/a.png", "no picture");
  options.images = folder / "bad";
  EXPECT_THAT(error_of(), HasSubstr("expected a picture that can be read, found none of 1"));
  fs::create_directories(folder / "empty");
  options.images = folder / "empty";
  EXPECT_THAT(error_of(), HasSubstr("empty"));
}

TEST_P(CobraCollect, RandomTextIsSeededAndSaidInTheFile) {
  options.text.prompts.clear();
  options.targets = {"llm"};
  const CobraCollectResult a = collect(), again = collect(1);
  EXPECT_EQ(static_cast<int64_t>(a.statistics.sites.at("llm").count), at.pictures * 16 * at.width);
  EXPECT_EQ(bytes(a), bytes(again));
  const Json& text = a.statistics.meta.at("text", "m");
  EXPECT_EQ(text.at("source", "m").as_string("m"), "random");
  EXPECT_EQ(text.at("seed", "m").as_int("m"), 42);
  EXPECT_EQ(text.at("vocabulary", "m").as_int("m"), 4096);
  options.text.seed = 43;
  EXPECT_NE(collect().statistics.sites.at("llm"), a.statistics.sites.at("llm"));
}

TEST_P(CobraCollect, PromptsGoThroughThePromptBuilder) {
  fixtures::put(folder / "one.txt", "What is in the picture?");
  options.text.prompts = folder / "one.txt";
  options.targets = {"llm"};
  const CobraCollectResult result = collect();
  // As the model's name has "zephyr" in it or not; one row for all pictures.
  const auto tokenizer = load_tokenizer(model.language);
  const auto ids = tokenizer->encode(at.before + "What is in the picture?" + at.after);
  EXPECT_EQ(result.text_tokens, at.pictures * std::ssize(ids));
}

TEST_P(CobraCollect, TextsThatDoNotFitAreRefused) {
  fixtures::put(folder / "two.jsonl", "{\"ids\": [1, 2]}\n{\"ids\": [3]}\n");
  options.text.prompts = folder / "two.jsonl";
  EXPECT_THAT(error_of(),
              HasSubstr(fmt::format("a row for each of the {}, found 2 rows", at.pictures)));
  fixtures::put(folder / "large.jsonl", "{\"ids\": [4096]}\n");
  options.text.prompts = folder / "large.jsonl";
  EXPECT_THAT(error_of(), HasSubstr("ids from 0 to 4095, found 4096"));
  options.text.prompts.clear();
  options.text.random = false;
  options.sites = "layer_*";
  EXPECT_THAT(error_of(), HasSubstr("expected text for the language model"));
}

TEST_P(CobraCollect, WithoutTextOnlyItsBucketIsSilent) {
  options.text.prompts.clear();
  options.text.random = false;
  const CobraCollectResult result = collect();
  EXPECT_THAT(result.silent_sites, ElementsAre("llm"));
  EXPECT_EQ(result.statistics.sites.count("projector"), 1U);
  EXPECT_EQ(result.text_tokens, 0);
}

TEST_P(CobraCollect, SamplingIsSeededAndSaidAndKeepsTheExtremes) {
  const CobraCollectResult whole = collect();
  options.max_samples_per_batch = 400;
  const CobraCollectResult a = collect(1), b = collect(3);
  EXPECT_EQ(bytes(a), bytes(b));
  const Statistic& dino = a.statistics.sites.at("vision.dino");
  EXPECT_GE(static_cast<int64_t>(dino.count), at.pictures * 100);
  EXPECT_LE(static_cast<int64_t>(dino.count), at.pictures * 102);
  EXPECT_EQ(dino.min, whole.statistics.sites.at("vision.dino").min);
  EXPECT_EQ(dino.max, whole.statistics.sites.at("vision.dino").max);
  EXPECT_EQ(a.statistics.meta.at("sampling", "m").at("values_per_batch", "m").as_int("m"), 400);
  EXPECT_EQ(whole.statistics.meta.find("sampling"), nullptr);
}

TEST_P(CobraCollect, AnUnknownBucketOrSiteNamesTheNearest) {
  options.targets = {"vision.dimo"};
  EXPECT_THAT(error_of(), HasSubstr("vision.dino"));
  options.targets = {"vision.dino"};
  options.sites = "layer_0.in_prog:input";
  EXPECT_THAT(error_of(), HasSubstr("layer_0.in_proj:input"));
}

TEST_P(CobraCollect, AnInterruptionKeepsWhatIsFinished) {
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
}  // namespace scute::cobra_collect_test
