// Collection: exact against the tensors themselves, and the same bytes however the work is cut.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "scute/language/collect.h"
#include "scute/language/dump.h"
#include "scute/observe/distribution.h"
#include "scute/recipe/statistics_io.h"

namespace scute::language_collect_test {
namespace {

using testing::HasSubstr;

CollectOptions small_options() {
  CollectOptions options;
  options.data = {"examples/text/calibration.jsonl"};
  options.windows = {.samples = 6, .seqlen = 40, .shuffle = 42};
  options.windows.take = 6;
  return options;
}

StatisticsSet statistics(const char* model, const CollectOptions& options, int threads = 1) {
  return collect(describe_model(model), options, {.threads = threads}).statistics;
}

class Collect : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::temp_directory_path() / ("scute_collect_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

 private:
  std::filesystem::path folder_;
};
INSTANTIATE_TEST_SUITE_P(Tiny, Collect,
                         testing::Values("examples/tiny-mamba1", "examples/tiny-mamba2"),
                         [](const auto& tested) { return std::string(tested.param).substr(14); });

TEST_P(Collect, TheSameBytesForAnyNumberOfThreads) {
  const std::string one = path("one.safetensors");
  write_statistics(one, statistics(GetParam(), small_options(), 1));
  for (const int threads : {2, 5}) {
    const std::string other = path("other.safetensors");
    write_statistics(other, statistics(GetParam(), small_options(), threads));
    EXPECT_EQ(read_text(one), read_text(other)) << threads << " threads";
  }
}

TEST_P(Collect, TheSameCountsForAnyOrderOfTheSamples) {
  CollectOptions forward = small_options(), shuffled = small_options();
  // All 6 documents of a small file, in file order and shuffled.
  const std::string text = read_text("examples/text/calibration.jsonl");
  size_t end = 0;
  for (int line = 0; line < 6; ++line) end = text.find('\n', end) + 1;
  write_file(path("six.jsonl"), std::string_view(text).substr(0, end));
  forward.data = shuffled.data = {path("six.jsonl")};
  forward.windows.shuffle.reset();
  shuffled.windows.shuffle = 7;
  EXPECT_EQ(statistics(GetParam(), forward).sites, statistics(GetParam(), shuffled).sites);
}

TEST_P(Collect, PartsMergedInAnyWayEqualTheWhole) {
  CollectOptions options = small_options();
  const StatisticsSet whole = statistics(GetParam(), options);
  const std::vector<std::pair<int64_t, int64_t>> parts{{0, 1}, {1, 3}, {4, 2}};
  std::vector<std::string> files;
  for (const auto& [skip, take] : parts) {
    options.windows.skip = skip;
    options.windows.take = take;
    files.push_back(path("part" + std::to_string(skip) + ".safetensors"));
    write_statistics(files.back(), statistics(GetParam(), options));
  }
  const StatisticsSet merged = merge_statistics(files);
  EXPECT_EQ(merged.sites, whole.sites);
  write_statistics(path("a.safetensors"), merged);
  std::ranges::reverse(files);
  write_statistics(path("b.safetensors"), merge_statistics(files));
  EXPECT_EQ(read_text(path("a.safetensors")), read_text(path("b.safetensors")));
}

TEST_P(Collect, ExactAgainstASortOfTheVeryTensors) {
  CollectOptions options = small_options();
  options.windows.samples = 1;
  options.windows.take = 1;
  options.per_channel = true;
  const ModelDescription description = describe_model(GetParam());
  const auto collected = collect(description, options, {});

  const auto documents = read_documents(options.data);
  const auto tokenizer = load_tokenizer(description);
  const Windows windows = cut_windows(documents, &*tokenizer, options.windows, 4096);
  const auto& ids = windows.windows.at(0).ids;
  const LanguageModel model = load_model(description, Compute::f32, LanguageModel::Head::packed);
  const auto seen = dump(model, Tensor::of<int32_t>({static_cast<int64_t>(ids.size())}, ids),
                         model.sites().sites(), false, 1);
  int sites = 0;
  for (const NamedTensor& named : seen) {
    if (!named.name.starts_with("site/") || named.name == "site/lm_head:output") continue;
    SCOPED_TRACE(named.name);
    const Statistic& statistic = collected.statistics.sites.at(named.name.substr(5));
    const auto span = named.tensor.values<float>();
    std::vector<float> values(span.begin(), span.end());
    std::ranges::sort(values);
    ASSERT_EQ(statistic.count, values.size());
    EXPECT_EQ(statistic.min, values.front());
    EXPECT_EQ(statistic.max, values.back());
    EXPECT_EQ(statistic.zeros, static_cast<uint64_t>(std::ranges::count(values, 0.0f)));
    const Distribution distribution(statistic);
    for (const double share : {0.00001, 0.001, 0.01, 0.25, 0.5, 0.75, 0.99, 0.999, 0.99999}) {
      const auto n = static_cast<double>(values.size());
      const auto rank = static_cast<size_t>(std::max(1.0, std::ceil(share * n - 1e-9 * n)));
      const double exact = values[rank - 1];
      // Half a bucket at fine 8.
      EXPECT_NEAR(distribution.quantile(share), exact, std::abs(exact) * 0x1p-9) << share;
    }
    const auto matrix = named.tensor.matrix<float>();
    ASSERT_EQ(statistic.channel_absmax.size(), static_cast<size_t>(matrix.cols));
    for (int64_t c = 0; c < matrix.cols; ++c) {
      float most = 0;
      for (int64_t r = 0; r < matrix.rows; ++r) most = std::max(most, std::abs(matrix.row(r)[c]));
      EXPECT_EQ(statistic.channel_absmax[static_cast<size_t>(c)], most);
    }
    ++sites;
  }
  EXPECT_GT(sites, 60);
}

TEST_P(Collect, SitesAddedUpFromTheirPartsEqualThoseObserved) {
  CollectOptions options = small_options();
  options.per_channel = true;
  const auto added_up = statistics(GetParam(), options).sites;
  options.sites = "*in_proj:output,*x_proj:output";  // alone: without the parts they are observed
  const auto observed = statistics(GetParam(), options).sites;
  EXPECT_GE(observed.size(), 6u);
  for (const auto& [name, statistic] : observed) EXPECT_EQ(added_up.at(name), statistic) << name;
}

TEST_P(Collect, FilesRoundTripInBothFormats) {
  const StatisticsSet set = statistics(GetParam(), small_options());
  for (const char* name : {"s.safetensors", "s.pt"}) {
    write_statistics(path(name), set);
    const StatisticsSet back = read_statistics(path(name));
    EXPECT_EQ(back.sites, set.sites) << name;
    EXPECT_EQ(back.meta, set.meta) << name;
  }
}

TEST_P(Collect, AnInterruptionKeepsTheFirstSamples) {
  std::atomic<bool> stop{false};
  PassControl run{.threads = 2,
                  .progress = [&](int64_t done, int64_t) { stop = stop || done >= 2; },
                  .cancelled = &stop};
  const auto part = collect(describe_model(GetParam()), small_options(), run);
  EXPECT_TRUE(part.interrupted);
  EXPECT_LT(part.samples, 6);
  CollectOptions again = small_options();
  again.windows.take = part.samples;
  EXPECT_EQ(part.statistics.sites, statistics(GetParam(), again).sites);
}

TEST_P(Collect, NanInAWeightIsCountedAndNamedBySite) {
  const std::string folder = path("broken");
  std::filesystem::copy(GetParam(), folder);
  SafetensorsFile file = read_safetensors(std::string(GetParam()) + "/model.safetensors");
  for (NamedTensor& named : file.tensors) {
    if (named.name != "backbone.layers.3.mixer.D") continue;
    const auto values = named.tensor.values<float>();
    std::vector<float> copy(values.begin(), values.end());
    copy[0] = NAN;
    named.tensor = Tensor::of<float>(named.tensor.shape(), copy);
  }
  write_safetensors(folder + "/model.safetensors", file.tensors, file.metadata);
  const auto sites = statistics(folder.c_str(), small_options()).sites;
  EXPECT_EQ(sites.at("layer_2.out_proj:output").nans, 0u);
  EXPECT_GT(sites.at("layer_3.out_proj:input").nans, 0u);
}

TEST(CollectOptions, UnknownSitesAreNamedWithTheNearest) {
  CollectOptions options = small_options();
  options.sites = "layer_0.x_porj:input";
  try {
    statistics("examples/tiny-mamba1", options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("did you mean layer_0.x_proj:input"));
  }
}

TEST(CollectOptions, HeadIsComputedOnlyWhenAskedFor) {
  CollectOptions options = small_options();
  EXPECT_FALSE(statistics("examples/tiny-mamba1", options).sites.contains("lm_head:output"));
  options.sites = "lm_head:*";
  const auto sites = statistics("examples/tiny-mamba1", options).sites;
  EXPECT_EQ(sites.at("lm_head:output").count, 6u * 40 * 4096);
}

TEST(Ema, ReproducesTheMovingAverageOfPerSampleQuantiles) {
  CollectOptions options = small_options();
  options.ema = true;
  options.sites = "layer_0.x_proj:input";
  const auto result = collect(describe_model("examples/tiny-mamba1"), options, {.threads = 2});
  double average = 0;
  for (int64_t i = 0; i < 6; ++i) {
    CollectOptions one = small_options();
    one.sites = options.sites;
    one.windows.skip = i;
    one.windows.take = 1;
    const auto sites = statistics("examples/tiny-mamba1", one).sites;
    const Distribution d(sites.at("layer_0.x_proj:input"));
    const double p = d.magnitude_quantile(0.9995);
    average = i == 0 ? p : average + 0.01 * (p - average);
  }
  const Json& ema = *result.statistics.meta.find("ema");
  const double got =
      ema.at("sites", "m").at("layer_0.x_proj:input", "m").at("percentile", "m").as_double("m");
  // The histogram's inverted cdf and the interpolated quantile differ by at most one rank of 20,480
  // values plus half a bucket; neighbouring ranks at the 10th largest lie within 2 %.
  EXPECT_NEAR(got, average, 0.02 * average);
}

}  // namespace
}  // namespace scute::language_collect_test
