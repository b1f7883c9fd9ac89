#include "scute/regressor/collect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "scute/base/error.h"
#include "scute/io/testing.h"
#include "scute/recipe/statistics_io.h"
#include "scute/regressor/predict.h"

namespace scute::collect_test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kModels = "tests/golden/regressor/";
constexpr const char* kFeatures = "tests/golden/regressor_features";

RegressorCollectOptions every_window() {
  return {.features = kFeatures, .role = FeatureRole::automatic, .batches = 0};
}

RegressorCollectResult collected(const RegressorCollectOptions& options, int threads = 2,
                                 const std::string& model = "slim") {
  return collect_regressor(read_regressor_checkpoint(kModels + model + ".pt"), options,
                           {.threads = threads});
}

template <class Call>
std::string refusal(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

TEST(CollectRegressor, IsTheSameForAnyNumberOfThreads) {
  for (const char* model : {"slim", "origin_positions", "slim_dwconv"}) {
    const auto alone = collected(every_window(), 1, model);
    EXPECT_EQ(alone.windows, alone.listed);
    EXPECT_THAT(alone.silent_sites, IsEmpty());
    EXPECT_FALSE(alone.interrupted);
    EXPECT_EQ(alone.statistics.sites.at("head:output").count,
              static_cast<uint64_t>(2 * alone.windows));
    for (const int threads : {2, 5}) {
      const auto several = collected(every_window(), threads, model);
      EXPECT_EQ(several.statistics.sites, alone.statistics.sites) << model << threads;
      EXPECT_EQ(several.statistics.meta, alone.statistics.meta) << model << threads;
    }
  }
}

TEST(CollectRegressor, HoldsWhateverFormatsAreDecidedFrom) {
  for (const char* model : {"slim", "origin", "slim_average", "slim_dwconv", "slim_gate_off"}) {
    const RegressorCheckpoint checkpoint = read_regressor_checkpoint(kModels + model + ".pt");
    const RegressorTensors tensors(checkpoint.config, checkpoint.weights);
    RegressorQuantization how;
    how.backend = RegressorBackend::integer;
    how.all = true;
    how.mode = RegressorQuantization::Mode::dynamic;
    const auto seen = collected({.features = kFeatures, .role = FeatureRole::train}, 2, model);
    const FeatureFolder folder =
        read_feature_folder(kFeatures, {.role = FeatureRole::train,
                                        .features = checkpoint.config.features,
                                        .window = checkpoint.config.window});
    EXPECT_EQ(seen.statistics.sites,
              measure_regressor(build_regressor(checkpoint), folder, 50 * 64, Threads(1)));
    EXPECT_FALSE(
        decide_formats(checkpoint.config, tensors, how, seen.statistics.sites, {}).values.empty());
  }
}

TEST(CollectRegressor, PartsMergeToTheWholeCountForCount) {
  RegressorCollectOptions options = every_window();
  const auto whole = collected(options);
  ASSERT_GE(whole.pieces, 3);
  StatisticsSet merged;
  int64_t windows = 0;
  for (int64_t i = whole.pieces; i-- > 0;) {  // in any order
    options.skip = i;
    options.take = 1;
    const auto part = collected(options);
    EXPECT_EQ(part.pieces, 1);
    EXPECT_EQ(part.wanted, whole.windows) << "the choice is that of the whole";
    windows += part.windows;
    if (merged.sites.empty()) {
      merged = part.statistics;
    } else {
      merge(merged, part.statistics);
    }
  }
  EXPECT_EQ(windows, whole.windows);
  EXPECT_EQ(merged.sites, whole.statistics.sites);
  EXPECT_EQ(merged.meta.at("samples", "").as_int(""), whole.windows);
}

TEST(CollectRegressor, WhatDoesNotBelongTogetherDoesNotMerge) {
  RegressorCollectOptions options = every_window();
  options.take = 2;
  const StatisticsSet first = collected(options).statistics;
  const auto merging = [&](const StatisticsSet& other) {
    return refusal([&] {
      StatisticsSet into = first;
      merge(into, other);
    });
  };
  EXPECT_THAT(merging(first), HasSubstr("the same windows"));
  options.skip = 1;
  EXPECT_THAT(merging(collected(options).statistics), HasSubstr("in both")) << "an overlap";
  options.skip = 2;
  EXPECT_EQ(merging(collected(options).statistics), "none");
  options.normalize = false;
  EXPECT_THAT(merging(collected(options).statistics), HasSubstr("normalization_sha256"));
  options.normalize = true;
  EXPECT_THAT(merging(collected(options, 2, "slim_dwconv").statistics), HasSubstr("model_sha256"));
}

TEST(CollectRegressor, ACalibratedCheckpointIsMeasuredInFloats) {
  const auto checkpoint = read_regressor_checkpoint(kModels + "calibrated_python.pt");
  RegressorCheckpoint plain = checkpoint;
  plain.scales.clear();
  const auto a = collect_regressor(checkpoint, every_window(), {.threads = 2});
  const auto b = collect_regressor(plain, every_window(), {.threads = 2});
  EXPECT_EQ(a.statistics.sites, b.statistics.sites);
}

TEST(CollectRegressor, AnInterruptionKeepsTheFirstPiecesAndTheRestMergesToTheWhole) {
  std::atomic<bool> stop{false};
  int64_t told = 0;
  const auto checkpoint = read_regressor_checkpoint(kModels + "slim.pt");
  RegressorCollectOptions options = every_window();
  const auto part = collect_regressor(checkpoint, options,
                                      {.threads = 2,
                                       .progress =
                                           [&](int64_t done, int64_t) {
                                             told = done;
                                             stop = true;
                                           },
                                       .cancelled = &stop});
  EXPECT_TRUE(part.interrupted);
  EXPECT_EQ(told, part.windows);
  EXPECT_LT(part.windows, part.windows_planned);
  options.skip = part.pieces;
  StatisticsSet all = collected(options).statistics;
  merge(all, part.statistics);
  EXPECT_EQ(all.sites, collected(every_window()).statistics.sites);
  EXPECT_THAT(
      refusal([&] { collect_regressor(checkpoint, options, {.threads = 2, .cancelled = &stop}); }),
      HasSubstr("an interruption"));
}

TEST(CollectRegressor, WhenItGoesOnItsNumbersAreOfTheWhole) {
  const auto checkpoint = read_regressor_checkpoint(kModels + "slim.pt");
  std::vector<StatisticsSet> kept;
  PartRequest keeping;
  keeping.due = [](int64_t) { return true; };
  keeping.keep = [&](const StatisticsSet& set) { kept.push_back(set); };
  const auto whole = collect_regressor(checkpoint, every_window(), {.threads = 1}, keeping);
  ASSERT_GT(kept.size(), 2u);
  for (const size_t at : {size_t{0}, kept.size() - 2}) {
    const PartRequest rest{
        .shard = std::nullopt, .begun = &kept[at], .begun_name = "kept", .begun_was_kept = true};
    const auto found = collect_regressor(checkpoint, every_window(), {.threads = 1}, rest);
    EXPECT_GT(found.before, 0);
    EXPECT_LT(found.windows_measured, found.windows);
    EXPECT_EQ(found.windows, whole.windows);
    EXPECT_EQ(found.windows_planned, whole.windows_planned);
    EXPECT_EQ(found.pieces, whole.pieces);
    EXPECT_EQ(found.found.nans, whole.found.nans);
    EXPECT_EQ(found.found.infinities, whole.found.infinities);
    EXPECT_EQ(found.statistics.sites, whole.statistics.sites);
  }
}

TEST(CollectRegressor, SaysWhereItsNumbersComeFrom) {
  RegressorCollectOptions options = every_window();
  options.batches = 1;
  options.batch_size = 70;
  options.take = 1;
  options.sites = "head:*";
  const auto result = collected(options);
  const Json& meta = result.statistics.meta;
  EXPECT_EQ(meta.at("model", "").as_string(""), "slim.pt");
  EXPECT_EQ(meta.at("role", "").as_string(""), "auto");
  EXPECT_EQ(meta.at("samples", "").as_int(""), result.windows);
  EXPECT_EQ(result.wanted, 70);
  EXPECT_EQ(meta.at("command", "").as_string(""),
            "scute collect slim.pt --feat-root regressor_features --calib-target auto "
            "--quant-calib-batches 1 --batch-size 70 --take 1 --sites 'head:*' --fine 8");
  const Json& data = meta.at("data", "").as_array("").front();
  EXPECT_EQ(std::ssize(data.at("windows", "").as_array("")), result.windows);
  EXPECT_EQ(data.at("files", "").as_array("").front().at("file", "").as_string(""),
            "json/Grid1.json");
  EXPECT_EQ(result.statistics.sites.size(), 2U);
  const fixtures::Folder folder;
  const std::string file = folder / "collected.safetensors";
  write_statistics(file, result.statistics);
  EXPECT_EQ(read_statistics(file).sites, result.statistics.sites);
}

TEST(CollectRegressor, SaysWhatCannotBeMeasured) {
  RegressorCollectOptions options = every_window();
  options.skip = 1000;
  EXPECT_THAT(refusal([&] { collected(options); }), HasSubstr("--skip"));
  options = every_window();
  options.sites = "blocks.0.in_porj:input";
  EXPECT_THAT(refusal([&] { collected(options); }), HasSubstr("did you mean blocks.0.in_proj"));
  options = every_window();
  options.batch_size = 0;
  EXPECT_THAT(refusal([&] { collected(options); }), HasSubstr("--batch-size"));
}

}  // namespace
}  // namespace scute::collect_test
