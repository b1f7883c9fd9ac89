#include "scute/recipe/part.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "scute/base/error.h"
#include "scute/io/testing.h"
#include "scute/recipe/part_folder.h"
#include "scute/recipe/statistics_io.h"

namespace scute::part_test {
namespace {

using ::testing::HasSubstr;

/// One site; sample i shows i, so that every sample has a bucket of its own.
std::vector<Site> one_site() { return {{"s", {1}, Site::Extent::per_token, 0}}; }

Json key_of(const char* model = "m") {
  Json out;
  out["model"] = model;
  out["instruction_set"] = "AVX2";
  return out;
}

StatisticsSet measured(const PartRequest& request, int64_t all, int64_t until = 1 << 20) {
  PartWork work(request, key_of());
  Measurement measurement(one_site(), {}, {.threads = 1}, all);
  const auto meta = [] {
    Json out;
    out["model"] = "m";
    return out;
  };
  work.begin(measurement, all, 8, meta);
  std::vector<int64_t> mine;
  for (int64_t i = 0; i < all; ++i) {
    if (work.takes(i) && std::ssize(mine) < until) mine.push_back(i);
  }
  const std::vector<Sample> samples(mine.size());
  work.add(measurement.run(samples, [&](int64_t i, Run& run) {
    const auto value = static_cast<float>(mine[static_cast<size_t>(i)]);
    std::vector<float> values{value};
    run.pass(one_site()[0], {values.data(), 1, 1});
  }));
  Collected out;
  work.finish(out, all);
  return out.statistics;
}

struct Parts : ::testing::Test {
  Parts() { std::filesystem::create_directory(folder); }
  void write(int64_t index, int64_t of, int64_t all = 10, int64_t until = 1 << 20) const {
    const Shard shard{index, of};
    write_statistics(part_file(folder, shard), measured({.shard = shard}, all, until));
  }
  std::string refusal() const {
    try {
      merge_parts(folder);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  const fixtures::Folder files;
  const std::string folder = files / "parts";
};

TEST_F(Parts, AddUpToOneCollectionForAnyNumberAndLimits) {
  StatisticsSet whole = measured({}, 10);
  EXPECT_FALSE(part_of(whole, "whole"));
  for (const int64_t of : {1, 2, 3, 10, 13}) {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directory(folder);
    for (int64_t i = of; i-- > 0;) write(i, of);
    for (const MergeLimits limits : {MergeLimits{1, 2}, MergeLimits{3, 16}, MergeLimits{8, 4}}) {
      const MergedParts merged = merge_parts(folder, limits);
      EXPECT_EQ(merged.parts, of);
      EXPECT_EQ(merged.statistics.sites, whole.sites) << of;
      EXPECT_EQ(merged.statistics.meta, whole.meta) << of;
    }
  }
}

TEST_F(Parts, AreNamedWhenMissingUnfinishedOrBeingWritten) {
  write(0, 4);
  write(2, 4, 10, 1);
  std::filesystem::create_directory(part_file(folder, {3, 4}) + ".writing");
  EXPECT_THAT(refusal(), HasSubstr("missing: 1"));
  EXPECT_THAT(refusal(), HasSubstr("died: 3"));
  EXPECT_THAT(refusal(), HasSubstr("not finished: 2 (1 of 2 samples)"));
  write(1, 4);
  write(3, 4);
  EXPECT_THAT(refusal(), HasSubstr("not finished: 2 (1 of 2 samples)"));
  write(2, 4);
  EXPECT_EQ(refusal(), "");
}

TEST_F(Parts, OfAnotherNumberOrAnotherCollectionAreRefused) {
  EXPECT_THAT(refusal(), HasSubstr("found none"));
  write(0, 2);
  write(1, 3);
  EXPECT_THAT(refusal(), HasSubstr("beside it"));
  std::filesystem::remove(part_file(folder, {1, 3}));
  StatisticsSet other = measured({.shard = Shard{1, 2}}, 10);
  PartRecord record = *part_of(other, "");
  record.collection["instruction_set"] = "AVX3";
  say_part(other, record);
  write_statistics(part_file(folder, {1, 2}), other);
  EXPECT_THAT(refusal(), HasSubstr("part-1-of-2"));
  EXPECT_THAT(refusal(), HasSubstr("one of another: instruction_set AVX3, not AVX2"));
  // A copy of part 0 under the name of part 1 would count its samples twice.
  std::filesystem::copy_file(part_file(folder, {0, 2}), part_file(folder, {1, 2}),
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_THAT(refusal(), HasSubstr("expected part 1/2, found part 0/2"));
  StatisticsSet whole = measured({}, 10);
  write_statistics(part_file(folder, {1, 2}), whole);
  EXPECT_THAT(refusal(), HasSubstr("statistics of a whole one"));
  std::ofstream(part_file(folder, {1, 2})) << "torn";
  EXPECT_THAT(refusal(), HasSubstr("part-1-of-2"));
  write(1, 2, 11);
  StatisticsSet longer = read_statistics(part_file(folder, {1, 2}));
  longer.meta["model"] = "n";
  write_statistics(part_file(folder, {1, 2}), longer);
  EXPECT_THAT(refusal(), HasSubstr("the same model"));
}

TEST_F(Parts, ThatWereBegunGoOnToTheSameBytes) {
  for (const Shard shard : {Shard{0, 1}, Shard{1, 3}}) {
    const StatisticsSet whole = measured({.shard = shard}, 10);
    const StatisticsSet begun = measured({.shard = shard}, 10, 2);
    EXPECT_FALSE(part_of(begun, "")->complete());
    const StatisticsSet rest = measured({.shard = shard, .begun = &begun}, 10);
    EXPECT_EQ(rest.sites, whole.sites);
    EXPECT_EQ(rest.meta, whole.meta);
    Collected result;
    EXPECT_TRUE(PartWork({.shard = shard, .begun = &rest}, key_of()).was_complete(result));
    EXPECT_EQ(result.statistics.sites, whole.sites);
    // What was only kept is not under its name: there is something to do.
    const PartRequest kept{.shard = shard, .begun = &rest, .begun_was_kept = true};
    EXPECT_FALSE(PartWork(kept, key_of()).was_complete(result));
  }
}

TEST_F(Parts, OfAnotherCollectionAreNotGoneOnWith) {
  const StatisticsSet begun = measured({.shard = Shard{0, 2}}, 10, 2);
  const auto refused = [&](const PartRequest& request, const Json& key) {
    return fixtures::error_of([&] { PartWork(request, key); });
  };
  const PartRequest file{.shard = Shard{0, 2}, .begun = &begun},
      other{.shard = Shard{1, 2}, .begun = &begun};
  EXPECT_THAT(refused(file, key_of("n")), HasSubstr("2 of 5 samples: model m, not n; by: "));
  EXPECT_THAT(refused(other, key_of()), HasSubstr("expected part 1/2, found part 0/2"));
  const PartRequest kept{.shard = Shard{0, 2}, .begun = &begun, .begun_was_kept = true};
  EXPECT_THAT(refused(kept, key_of("n")), HasSubstr("what this command kept (--force drops it)"));
  EXPECT_EQ(PartWork(kept, key_of()).finished(), 2);
  StatisticsSet broken = begun;
  broken.meta["part"]["finished"] = 99;
  EXPECT_THROW(part_of(broken, "f"), Error);
}

TEST_F(Parts, AreKeptWhenDueAndWhatIsKeptGoesOn) {
  const StatisticsSet whole = measured({}, 10);
  std::vector<StatisticsSet> kept;
  PartRequest request;
  request.due = [](int64_t samples) { return samples >= 3; };
  request.keep = [&](const StatisticsSet& set) { kept.push_back(set); };
  EXPECT_EQ(measured(request, 10).sites, whole.sites);
  ASSERT_FALSE(kept.empty());
  for (const StatisticsSet& set : kept) {
    EXPECT_EQ(part_of(set, "")->finished, set.sites.at("s").samples);
    const StatisticsSet rest = measured({.shard = std::nullopt, .begun = &set}, 10);
    EXPECT_EQ(rest.sites, whole.sites);
    EXPECT_EQ(rest.meta, whole.meta);
  }
}

}  // namespace
}  // namespace scute::part_test
