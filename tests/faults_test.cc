// Whatever the system does while an output is written, afterwards the old one is there or the new
// one, whole; and the next run ends with the new one alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "scute/io/file.h"
#include "scute/io/output.h"
#include "tests/faulty_run.h"
#include "tests/program.h"

namespace scute {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;
using Kind = Fault::Kind;

/// Names, in the commands below, of what a test makes: a model and texts as small as can be, since
/// every fault is two runs of the program.
const std::string kModel = "MODEL", kTexts = "TEXTS.jsonl";

/// A command and what makes its output another one than that of before.
struct Written {
  const char* name;
  Words words;
  Words before, after;
  std::string ending;

  Words command(const Words& options, const std::string& out, const TemporaryFolder& made) const {
    Words all = words;
    for (std::string& word : all) {
      if (word == kModel || word == kTexts) word = made.path(word);
    }
    all.insert(all.end(), options.begin(), options.end());
    all.insert(all.end(), {"--out", out});
    return all;
  }
};

/// The one that takes longest first.
const Written kOutputs[] = {
    {"CobraFolder",
     {"quantize", "tests/golden/cobra/model", "--w-bits", "4", "--a-bits", "16", "--quiet"},
     {"--group-size", "32"},
     {"--group-size", "16"},
     ""},
    {"Statistics",
     {"collect", kModel, "--data", kTexts, "--seqlen", "16", "--quiet"},
     {"--samples", "2"},
     {"--samples", "3"},
     ".safetensors"},
    {"Checkpoint",
     {"collect", kModel, "--data", kTexts, "--seqlen", "16", "--quiet", "--checkpoint-every", "1"},
     {"--samples", "2"},
     {"--samples", "3"},
     ".safetensors"},
    {"LanguageFolder",
     {"quantize", kModel, "--w-bits", "4", "--a-bits", "16", "--quiet"},
     {"--group-size", "8"},
     {"--group-size", "12"},
     ""},
    {"RegressorCheckpoint",
     {"quantize", "tests/golden/regressor/slim.pt"},
     {"--quant-mode", "fixed88", "--q-proj"},
     {"--quant-mode", "fixed88", "--q-head"},
     ".pt"},
};

/// Every file of an output, by its path below it.
using Bytes = std::map<std::string, std::string>;

Bytes bytes_of(const std::string& path) {
  Bytes out;
  const auto add = [&](const fs::path& file) {
    out[fs::relative(file, path).string()] = read_text(file.string());
  };
  if (fs::is_regular_file(path)) add(path);
  if (!fs::is_directory(path)) return out;
  for (const auto& entry : fs::recursive_directory_iterator(path)) {
    if (entry.is_regular_file()) add(entry.path());
  }
  return out;
}

/// To be read where they are not as expected: bytes are not.
std::string sizes_of(const Bytes& files) {
  std::string out;
  for (const auto& [name, bytes] : files) {
    out += name + ": " + std::to_string(bytes.size()) + " bytes\n";
  }
  return out;
}

void PrintTo(const Written& written, std::ostream* out) { *out << written.name; }

class Faults : public ::testing::TestWithParam<Written> {
 protected:
  Faults() : out_(folder_.path("output" + GetParam().ending)) {
    fs::copy("tests/golden/mamba1-f32", kept_.path(kModel));
    write_file(kept_.path(kModel) + "/tokenizer.json",
               R"({"added_tokens": [],
                   "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
                   "decoder": {"type": "ByteLevel"},
                   "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}})");
    std::string texts;
    for (const char* ids : {"1, 2, 3, 4, 5, 6", "7, 11, 13, 17, 19", "23, 29, 31, 36, 0, 12"}) {
      texts += "{\"ids\": [" + std::string(ids) + "]}\n";
    }
    write_file(kept_.path(kTexts), texts);
  }

  /// Without a fault.
  void write(const Words& options) const {
    const Words command = GetParam().command(options, out_, kept_);
    ASSERT_EQ(faulty_run(command, folder_.path(), {}).code, 0);
  }
  /// With the output of before there, `fault` while that of after is written.
  FaultyRun strike(const Fault& fault) {
    for (const std::string& name : folder_.names()) fs::remove_all(folder_.path(name));
    // With attributes, which say that scute wrote it.
    EXPECT_EQ(shell("cp -a " + kept_.path("before") + " " + out_).code, 0);
    return faulty_run(GetParam().command(GetParam().after, out_, kept_), folder_.path(), fault);
  }
  void keep(const std::string& name) {
    fs::remove_all(kept_.path(name));
    fs::rename(out_, kept_.path(name));
  }

  TemporaryFolder folder_, kept_;
  std::string out_;
};
INSTANTIATE_TEST_SUITE_P(Outputs, Faults, ::testing::ValuesIn(kOutputs),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_P(Faults, LeaveTheOldOutputOrTheNewOne) {
  write(GetParam().before);
  const auto before = bytes_of(out_);
  keep("before");
  write(GetParam().after);
  const auto after = bytes_of(out_);
  keep("after");
  ASSERT_NE(before, after);
  const FaultyRun whole = strike({});
  ASSERT_EQ(whole.code, 0);
  ASSERT_EQ(bytes_of(out_), after);
  ASSERT_GE(whole.calls, 5);

  const int64_t wanted = std::getenv("SCUTE_MANY_FAULTS") == nullptr ? 2 : 40;
  const int64_t each = std::min(wanted, whole.calls);
  int64_t struck = 0, number = 0;
  for (const Fault& kind :
       {Fault{Kind::error, ENOSPC}, Fault{Kind::error, EIO}, Fault{Kind::error, EROFS},
        Fault{Kind::error, EINTR}, Fault{Kind::shortened}, Fault{Kind::killed}}) {
    // So many over all calls, where there are more at others than those of the kind before.
    const int64_t shift = number++;
    for (int64_t i = 0; i < each; ++i) {
      const int64_t at = (i * 6 + shift) * whole.calls / (6 * each);
      Fault fault = kind;
      fault.at = at;
      const FaultyRun run = strike(fault);
      SCOPED_TRACE(::testing::Message()
                   << run.what << ", call " << at << " of " << whole.calls << ", kind "
                   << static_cast<int>(fault.kind) << ", errno " << fault.code);
      const auto left = bytes_of(out_);
      EXPECT_TRUE(left == before || left == after) << sizes_of(left);
      if (run.code == 0) {
        EXPECT_TRUE(left == after) << sizes_of(left);
      }
      if (!run.applied) continue;
      ++struck;
      const bool writes = run.what == "write" || run.what == "pwrite";
      if (writes && (fault.kind == Kind::shortened || fault.code == EINTR)) {
        EXPECT_EQ(run.code, 0);
      }
      if (fault.kind == Kind::killed) {
        EXPECT_EQ(run.code, 128 + SIGKILL);
      }
      // What a killed run left is found and used or swept by the same command.
      write(GetParam().after);
      const auto mended = bytes_of(out_);
      EXPECT_TRUE(mended == after) << sizes_of(mended);
      EXPECT_EQ(folder_.names(), std::vector<std::string>{fs::path(out_).filename().string()});
    }
  }
  EXPECT_GE(struck, 8);
}

}  // namespace
}  // namespace scute
