#include "scute/recipe/statistics_io.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/base/error.h"
#include "scute/io/testing.h"
#include "scute/io/torch_zip.h"

namespace scute::statistics_io_test {
namespace {

using fixtures::Folder;
using ::testing::HasSubstr;
using Dict = TorchValue::Dict;

std::string message_of(auto&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(StatisticsPt, BucketsAloneAreTopLevelAndNothingIsLost) {
  const Folder folder;
  const std::string path = (folder / "s.pt");
  StatisticsSet set;
  for (const char* name :
       {"vision.dino", "llm", "vision.dino.blocks.0.attn.qkv:input", "layer_0.in_proj:input"}) {
    std::vector<float> values{1, -2, static_cast<float>(set.sites.size())};
    set.sites.emplace(name, statistic_of(values));
  }
  set.meta["model"] = "tiny";
  write_statistics(path, set);
  const TorchValue root = read_torch(path);
  std::vector<std::string> keys;
  for (const auto& [key, value] : std::get<Dict>(root.value)) keys.push_back(key);
  EXPECT_THAT(keys, ::testing::ElementsAre("llm", "vision.dino", "meta"));
  const TorchValue* inner = root.find("meta")->find("inner_sites");
  ASSERT_NE(inner, nullptr);
  ASSERT_NE(inner->find("layer_0.in_proj:input"), nullptr);
  EXPECT_NE(inner->find("layer_0.in_proj:input")->find("percentiles"), nullptr);
  EXPECT_NE(inner->find("vision.dino.blocks.0.attn.qkv:input")->find("counts"), nullptr);
  const StatisticsSet back = read_statistics(path);
  EXPECT_TRUE(back.sites == set.sites);
  EXPECT_EQ(back.meta, set.meta);
}

TEST(StatisticsPt, WithoutBucketsEverySiteIsTopLevel) {
  const Folder folder;
  const std::string path = (folder / "s.pt");
  StatisticsSet set;
  set.sites.emplace("layer_0.in_proj:input", statistic_of(std::vector<float>{1, 2}));
  set.sites.emplace("embedding:output", statistic_of(std::vector<float>{1, 2}));
  write_statistics(path, set);
  const TorchValue root = read_torch(path);
  EXPECT_NE(root.find("layer_0.in_proj:input"), nullptr);
  EXPECT_EQ(root.find("meta")->find("inner_sites"), nullptr);
  EXPECT_TRUE(read_statistics(path).sites == set.sites);
}

TEST(StatisticsPt, ASiteInBothPlacesIsRefused) {
  const Folder folder;
  const std::string path = (folder / "s.pt");
  StatisticsSet set;
  set.sites.emplace("llm", statistic_of(std::vector<float>{1, 2}));
  set.sites.emplace("layer_0.in_proj:input", statistic_of(std::vector<float>{1, 2}));
  write_statistics(path, set);
  TorchValue root = read_torch(path);
  auto& entries = std::get<Dict>(root.value);
  entries.emplace_back("layer_0.in_proj:input",
                       *root.find("meta")->find("inner_sites")->find("layer_0.in_proj:input"));
  write_torch((folder / "twice.pt"), root);
  EXPECT_THAT(message_of([&] { read_statistics((folder / "twice.pt")); }), HasSubstr("twice"));
}

}  // namespace
}  // namespace scute::statistics_io_test
