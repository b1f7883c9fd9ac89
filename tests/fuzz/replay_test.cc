// Every fuzz target on its seeds and on what once broke it, without a fuzzer: in every build, by
// every compiler.
#include "tests/fuzz/replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace scute::replay_test {
namespace {

namespace fs = std::filesystem;

std::string bytes_of(const fs::path& path) {
  std::ostringstream out;
  out << std::ifstream(path, std::ios::binary).rdbuf();
  return out.str();
}

/// How many files of a folder the target was given; a target that finds something wrong ends the
/// program.
int replay(const fuzz::Target& target, const fs::path& folder) {
  int files = 0;
  if (!fs::is_directory(folder)) return files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    SCOPED_TRACE(entry.path().string());
    const std::string bytes = bytes_of(entry.path());
    EXPECT_EQ(target.run(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()), 0);
    ++files;
  }
  return files;
}

struct Replay : testing::TestWithParam<fuzz::Target> {};

TEST_P(Replay, SeedsAndRegressions) {
  const fuzz::Target& target = GetParam();
  EXPECT_GT(replay(target, fs::path(SCUTE_FUZZ_SEEDS) / target.name), 0);
  replay(target, fs::path("tests/fuzz/regressions") / target.name);
  EXPECT_EQ(target.run(nullptr, 0), 0);
}

INSTANTIATE_TEST_SUITE_P(Readers, Replay, testing::ValuesIn(fuzz::targets()),
                         [](const auto& one) { return std::string(one.param.name); });

TEST(Regressions, AreOfTargetsThatThereAre) {
  for (const auto& entry : fs::directory_iterator("tests/fuzz/regressions")) {
    const std::string name = entry.path().filename().string();
    EXPECT_THAT(fuzz::targets(),
                testing::Contains(testing::Field(&fuzz::Target::name, testing::StrEq(name))));
  }
}

}  // namespace
}  // namespace scute::replay_test
