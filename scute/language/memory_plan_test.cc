#include "scute/language/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/base/error.h"
#include "scute/language/test_hybrid_models.h"
#include "scute/recipe/memory_limit.h"

namespace scute::memory_plan_test {
namespace {

using namespace testing_models;
using testing::HasSubstr;

/// 10 layers of 100 bytes packed and 50 stored, 10 bytes of stream a token.
LanguageSizes ten_layers() {
  LanguageSizes out;
  out.layers.assign(10, {.stored = 50, .packed = 100});
  out.table.stored = 80;
  out.scratch_per_token = 20;
  out.stream_per_token = 10;
  return out;
}

const PassSizes kPass{.samples = 40, .tokens = 2, .threads = 2, .statistics = 7, .base = 30};

TEST(MemoryPlan, AllWeightsWhereTheyFit) {
  // 30 + 1000 packed + 80 table + 2 · 50 being packed + 2 · 2 · 20 scratch + 5 · 7 statistics.
  constexpr int64_t kWhole = 1325;
  EXPECT_EQ(memory_of_whole_pass(ten_layers(), kPass), kWhole);
  EXPECT_FALSE(plan_pass(ten_layers(), kPass, kWhole, "here").by_layers);
  EXPECT_FALSE(plan_pass(ten_layers(), kPass, std::nullopt, "here").by_layers);
  EXPECT_TRUE(plan_pass(ten_layers(), kPass, kWhole - 1, "here").by_layers);
}

TEST(MemoryPlan, StreamsInMemoryThenOnDiskThenFewerThreads) {
  // A layer: 30 + 150 + 2 · 2 · 20 + 3 · 7 = 281, and 20 for each sample.
  const MemoryPlan all = plan_pass(ten_layers(), kPass, 1200, "here");
  EXPECT_EQ(all.by_layers->samples, 40);
  EXPECT_EQ(all.by_layers->folder, "");
  EXPECT_EQ(all.bytes, 281 + 40 * 20);
  const MemoryPlan some = plan_pass(ten_layers(), kPass, 281 + 17 * 20 + 3, "here");
  EXPECT_EQ(some.by_layers->samples, 17);
  const MemoryPlan disk = plan_pass(ten_layers(), kPass, 281 + 15 * 20, "here");
  EXPECT_EQ(disk.by_layers->folder, "here");
  EXPECT_EQ(disk.threads, 2);
  const MemoryPlan one = plan_pass(ten_layers(), kPass, 281, "here");
  EXPECT_EQ(one.threads, 1);
  EXPECT_LE(one.bytes, 281);
  try {
    plan_pass(ten_layers(), kPass, 100, "here");
    ADD_FAILURE() << "100 bytes are enough";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("--memory: expected at least"));
  }
}

/// What is packed is what was expected, and no thread takes more scratch than that.
class MemoryOfHybrids : public testing::TestWithParam<NamedHybrid> {};
INSTANTIATE_TEST_SUITE_P(All, MemoryOfHybrids, testing::ValuesIn(all_hybrids()), hybrid_name);

TEST_P(MemoryOfHybrids, SizesAreThoseOfTheModel) {
  const ModelDescription model = hybrid_model(GetParam().second);
  const LanguageSizes sizes =
      sizes_of(model, read_weights(model), Compute::f32, LanguageModel::Head::packed);
  const LanguageModel built = load_model(model, Compute::f32, LanguageModel::Head::packed);
  const ModelSize size = built.size();
  // Panels of 32 outputs are filled up: of widths as small as these with much that is empty.
  EXPECT_LT(sizes.packed(), size.total() + size.total() / 20);
  EXPECT_GT(4 * sizes.packed(), size.total() - size.embedding);
  constexpr int64_t kTokens = 600;
  scute::Run run;
  forward(built, run, hybrid_ids(model.config, kTokens));
  EXPECT_LT(run.arena().bytes(), kTokens * sizes.scratch_per_token);
  EXPECT_GT(4 * run.arena().bytes(), kTokens * sizes.scratch_per_token);
}

TEST(MemoryLimit, IsASizeWithItsUnit) {
  EXPECT_EQ(parse_memory("6G", "--memory"), 6'000'000'000);
  EXPECT_EQ(parse_memory("1.5GB", "--memory"), 1'500'000'000);
  EXPECT_EQ(parse_memory("800M", "--memory"), 800'000'000);
  EXPECT_EQ(parse_memory("2GiB", "--memory"), int64_t{2} << 30);
  for (const char* wrong : {"6", "", "G", "6g", "-1G", "0G", "6 G", "6GB!", "1e400G", "nanG"}) {
    EXPECT_THROW(parse_memory(wrong, "--memory"), Error) << wrong;
  }
  EXPECT_EQ(memory_text(6'000'000'000), "6 GB");
  EXPECT_EQ(memory_text(1'234'567'890), "1.24 GB");
  EXPECT_EQ(memory_text(412'300'000), "413 MB");
}

}  // namespace
}  // namespace scute::memory_plan_test
