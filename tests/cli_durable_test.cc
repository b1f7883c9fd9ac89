// What is under its name is on disk: every file of an output, its folders, and the folder above.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "tests/program.h"
#include "tests/system_calls.h"

namespace scute::cli_durable_test {
namespace {

namespace fs = std::filesystem;

using Words = std::vector<std::string>;
using Kind = SystemCall::Kind;

const std::string kFirst = "examples/text/calibration.jsonl";

struct DurableCase {
  const char* name;
  Words words;  ///< the output's name follows
  std::string ending;
};

const DurableCase kDurable[] = {
    {"LanguageFolder",
     {"quantize", "examples/tiny-mamba1", "--w-bits", "4", "--a-bits", "16", "--quiet", "--out"},
     ""},
    {"CobraFolder",
     {"quantize", "tests/golden/cobra/model", "--w-bits", "4", "--a-bits", "16", "--quiet",
      "--out"},
     ""},
    {"RegressorCheckpoint",
     {"quantize", "tests/golden/regressor/slim.pt", "--quant-mode", "fixed88", "--out"},
     ".pt"},
    {"File",
     {"collect", "examples/tiny-mamba1", "--data", kFirst, "--samples", "2", "--seqlen", "16",
      "--quiet", "--out"},
     ".safetensors"},
};

class Durable : public ::testing::TestWithParam<DurableCase> {};
INSTANTIATE_TEST_SUITE_P(Outputs, Durable, ::testing::ValuesIn(kDurable),
                         [](const auto& test) { return test.param.name; });

/// Whether the file or folder was synced in calls `from` to `to`.
bool synced(const std::vector<SystemCall>& calls, const std::string& path, ptrdiff_t from,
            ptrdiff_t to) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return std::any_of(calls.begin() + from, calls.begin() + to, [&](const SystemCall& call) {
    return call.kind == Kind::sync && call.inode == status.st_ino;
  });
}

TEST_P(Durable, BeforeAndAfterItIsPutInPlace) {
  const TemporaryFolder folder;
  const std::string out = folder.path("q" + GetParam().ending);
  Words words = GetParam().words;
  words.push_back(out);
  int code = -1;
  const std::vector<SystemCall> calls = calls_of(words, code);
  ASSERT_EQ(code, 0);
  const auto renamed = std::ranges::find(calls, out, &SystemCall::to);
  ASSERT_NE(renamed, calls.end());
  const ptrdiff_t step = renamed - calls.begin();
  EXPECT_TRUE(synced(calls, out, 0, step));
  if (fs::is_directory(out)) {
    int entries = 0;
    for (const auto& entry : fs::recursive_directory_iterator(out)) {
      EXPECT_TRUE(synced(calls, entry.path().string(), 0, step)) << entry.path();
      ++entries;
    }
    EXPECT_GE(entries, 4);
  }
  EXPECT_TRUE(synced(calls, folder.path(), step, std::ssize(calls)));
}

}  // namespace
}  // namespace scute::cli_durable_test
