// Wrong command lines as newcomers type them: what each must say is in wrong_use.txt, so that words
// can change where what matters stays.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/program.h"

namespace scute::cli_wrong_use_test {
namespace {

using ::testing::HasSubstr;

/// A line of the table: "2 | --bits ; eight | scute decide …".
struct WrongUse {
  int code = 0;
  std::vector<std::string> names = {};    ///< what the message must name
  std::vector<std::string> command = {};  ///< without "scute"
  std::string line = {};
};

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), {}};
}

std::vector<WrongUse> wrong_uses() {
  std::vector<WrongUse> out;
  std::ifstream file("tests/wrong_use.txt");
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line.starts_with("#")) continue;
    const size_t first = line.find(" | "), second = line.find(" | ", first + 3);
    WrongUse use;
    use.code = std::stoi(line);
    use.line = line.substr(second + 3);
    std::string name;
    for (const std::string& word : words_of(line.substr(first + 3, second - first - 3))) {
      if (word != ";") {
        name += (name.empty() ? "" : " ") + word;
        continue;
      }
      use.names.push_back(name);
      name.clear();
    }
    if (!name.empty()) use.names.push_back(name);
    use.command = words_of(use.line);
    use.command.erase(use.command.begin());
    out.push_back(std::move(use));
  }
  return out;
}

/// Models and texts, statistics, a low-bit model and a log without experiments.
class WrongUseFolder {
 public:
  WrongUseFolder() {
    const auto here = std::filesystem::current_path();
    std::filesystem::create_directory_symlink(here / "examples", folder_.path("examples"));
    std::filesystem::create_directory_symlink(here / "tests", folder_.path("tests"));
    std::ofstream(folder_.path("log.jsonl")).flush();
    run({"collect", "examples/tiny-mamba1", "--data", "examples/text/calibration.jsonl",
         "--samples", "4", "--out", "stats.safetensors"});
    run({"quantize", "examples/tiny-mamba1", "--stats", "stats.safetensors", "--out", "lowbit"});
  }
  Ended run(const std::vector<std::string>& words) const {
    Surroundings here;
    here.folder = folder_.path();
    return scute_program(words, here);
  }
  std::vector<std::string> names() const { return folder_.names(); }

 private:
  TemporaryFolder folder_;
};

TEST(WrongUse, IsAnsweredInOneLineThatNamesWhatIsWrongAndLeavesNothing) {
  const WrongUseFolder folder;
  const std::vector<std::string> before = folder.names();
  ASSERT_THAT(before, ::testing::Contains("lowbit"));
  const auto uses = wrong_uses();
  ASSERT_GE(uses.size(), 150u);
  for (const WrongUse& use : uses) {
    SCOPED_TRACE(use.line);
    const Ended ended = folder.run(use.command);
    EXPECT_EQ(ended.code, use.code);
    const size_t begin = ended.err.rfind("scute: error: ");
    ASSERT_NE(begin, std::string::npos) << ended.err;
    const std::string message = ended.err.substr(begin);
    EXPECT_EQ(std::ranges::count(message, '\n'), 1);
    EXPECT_LE(message.size(), 700u);
    for (const std::string& name : use.names) EXPECT_THAT(message, HasSubstr(name));
    EXPECT_EQ(folder.names(), before);
  }
}

}  // namespace
}  // namespace scute::cli_wrong_use_test
