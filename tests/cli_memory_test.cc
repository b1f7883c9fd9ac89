// --memory of the whole program: at the lowest limit that a verb accepts it keeps within that.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "scute/base/json.h"
#include "tests/program.h"

namespace scute {
namespace {

using testing::HasSubstr;
using MemoryWords = std::vector<std::string>;

constexpr const char* kCalibrationTexts = "examples/text/calibration.jsonl";

MemoryWords and_more(MemoryWords words, const MemoryWords& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// What "expected at least 74.2 MB, for …" asks for, as --memory takes it: "74.2MB".
std::string least_memory(const std::string& error) {
  constexpr std::string_view kBefore = "at least ";
  const size_t at = error.find(kBefore);
  if (at == std::string::npos) return "";
  std::istringstream words(error.substr(at + kBefore.size()));
  std::string number, unit;
  words >> number >> unit;
  return number + unit.substr(0, 2);
}

/// In bytes.
double bytes_of_size(const std::string& size) {
  double number = 0;
  const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), number);
  return error == std::errc() ? number * (*end == 'G' ? 1e9 : 1e6) : 0;
}

std::string bytes_at(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

/// Documents of ids that every tiny model knows.
void write_ids(const std::string& path) {
  std::ofstream file(path);
  for (int document = 0; document < 6; ++document) {
    file << "{\"ids\": [";
    for (int i = 0; i < 48; ++i) file << (i == 0 ? "" : ", ") << (7 * document + 11 * i + 3) % 60;
    file << "]}\n";
  }
}

/// Zeroes, F4, that take no room on disk.
void write_zeroes(const std::string& path, int64_t rows, int64_t columns) {
  constexpr size_t kHeader = 128;
  std::string head = "\x93NUMPY";
  head += {1, 0, static_cast<char>(kHeader - 10), 0};
  head += "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " +
          std::to_string(columns) + "), }";
  head.resize(kHeader - 1, ' ');
  std::ofstream(path, std::ios::binary) << head << '\n';
  std::filesystem::resize_file(path, kHeader + static_cast<uint64_t>(4 * rows * columns));
}

/// Three recordings for the golden regressor of 69 MB each, so large that they are mapped: one at a
/// time is to be in memory.
void write_recordings(const std::string& root) {
  constexpr int64_t kFrames = 2'450'000, kFeatures = 7;
  std::filesystem::create_directories(root + "/npy");
  std::filesystem::create_directories(root + "/json");
  std::filesystem::copy_file("tests/golden/regressor_features/npy/stats_train.npz",
                             root + "/npy/stats_train.npz");
  for (const std::string name : {"a", "b", "c"}) {
    std::ofstream(root + "/json/" + name + ".json")
        << R"({"role": "train", "indices_train": [10, 50, 90]})";
    write_zeroes(root + "/npy/" + name + ".feats.npy", kFrames, kFeatures);
    write_zeroes(root + "/npy/" + name + ".xy.npy", kFrames, 2);
  }
}

struct Tight {
  std::string name;
  MemoryWords words;  ///< without --out
  std::string made;   ///< what --out is compared with that of a run without a limit
  std::string out = "--out";
  double at_most = 1e9;  ///< that the least may be
};

std::vector<Tight> tight_work() {
  std::vector<Tight> out;
  const std::vector<std::pair<std::string, std::string>> models{
      {"mamba1", "examples/tiny-mamba1"},
      {"mamba2", "examples/tiny-mamba2"},
      {"hybrid", SCUTE_FAMILIES "/nemotron-h"}};
  for (const auto& [name, path] : models) {
    const bool hybrid = name == "hybrid";
    const MemoryWords data{
        "--data", hybrid ? "IDS" : kCalibrationTexts, "--samples", "6", "--seqlen", "48"};
    const MemoryWords rounded{"quantize", path, "--w-bits", "4", "--a-bits", "16"};
    out.push_back({name + "_quantize", rounded, "/model.safetensors"});
    out.push_back(
        {name + "_gptq", and_more(rounded, and_more({"--gptq"}, data)), "/model.safetensors"});
    out.push_back({name + "_collect", and_more({"collect", path}, data), ".safetensors"});
    out.push_back({name + "_kept", and_more({"collect", path, "--checkpoint-every", "1"}, data),
                   ".safetensors"});
    out.push_back({name + "_eval",
                   {"eval", path, "--perplexity", hybrid ? "IDS" : "examples/text/heldout.txt",
                    "--window", "48", "--max-windows", "6"},
                   ".jsonl",
                   "--items-out"});
  }
  out.push_back({"cobra_quantize",
                 {"quantize", "tests/golden/cobra/model", "--w-bits", "4", "--a-bits", "16"},
                 "/llm/model.safetensors",
                 "--out",
                 60e6});
  out.push_back({"cobra_eval",
                 {"eval", "tests/golden/cobra/model", "--images", "tests/golden/cobra/pictures",
                  "--against", "tests/golden/cobra/model"},
                 ".jsonl",
                 "--items-out"});
  out.push_back({"regressor_collect",
                 {"collect", "tests/golden/regressor/slim.pt", "--feat-root", "FEATURES"},
                 ".safetensors"});
  return out;
}

class LowestLimit : public testing::TestWithParam<Tight> {};
INSTANTIATE_TEST_SUITE_P(Work, LowestLimit, testing::ValuesIn(tight_work()),
                         [](const auto& tight) { return tight.param.name; });

/// Twice asked, the same answer; and what it asks for is enough, to 1.05 of it.
TEST_P(LowestLimit, IsSaidAlikeAndKept) {
  const TemporaryFolder folder;
  MemoryWords words = GetParam().words;
  std::ranges::replace(words, std::string("IDS"), folder.path("ids.jsonl"));
  std::ranges::replace(words, std::string("FEATURES"), folder.path("features"));
  write_ids(folder.path("ids.jsonl"));
  if (GetParam().name.starts_with("regressor")) write_recordings(folder.path("features"));
  const auto run = [&](const std::string& name, const MemoryWords& more) {
    const std::string out = folder.path(name) + (GetParam().made[0] == '.' ? GetParam().made : "");
    return scute_program(
        and_more(words, and_more({GetParam().out, out, "--quiet", "--json"}, more)));
  };
  const Ended refused = run("a", {"--memory", "1M"});
  ASSERT_EQ(refused.code, 1) << refused.err;
  EXPECT_EQ(run("a", {"--memory", "1M"}).err, refused.err);
  const std::string limit = least_memory(refused.err);
  ASSERT_NE(limit, "") << refused.err;
  EXPECT_LE(bytes_of_size(limit), GetParam().at_most);
  const Ended kept = run("b", {"--memory", limit});
  ASSERT_EQ(kept.code, 0) << limit << ": " << kept.err;
  const double peak = Json::parse(kept.out, "answer").at("peak_memory_bytes", "").as_double("");
  EXPECT_LE(peak, 1.05 * bytes_of_size(limit)) << limit;
  const Ended free = run("c", {});
  ASSERT_EQ(free.code, 0) << free.err;
  EXPECT_EQ(bytes_at(folder.path("b" + GetParam().made)),
            bytes_at(folder.path("c" + GetParam().made)));
}

struct Experiments {
  const char* name;
  MemoryWords words;
  int parts;  ///< that may say what they need, one after the other
};
void PrintTo(const Experiments& experiments, std::ostream* out) { *out << experiments.name; }

std::vector<Experiments> experiments() {
  const MemoryWords text{"--data",        kCalibrationTexts,
                         "--samples",     "4",
                         "--seqlen",      "64",
                         "--tasks",       "perplexity",
                         "--window",      "64",
                         "--eval-data",   "examples/text/heldout.txt",
                         "--max-windows", "4"};
  const MemoryWords pictures{"--images", "tests/golden/cobra/pictures", "--no-random-text"};
  const std::string cobra = "tests/golden/cobra/";
  // In a sweep the model that needs least comes first: that the other one fits is asked before it.
  return {{"run", and_more({"run", "examples/tiny-mamba1"}, text), 3},
          {"sweep",
           and_more({"sweep", "--models", "examples/tiny-mamba1,examples/tiny-mamba2",
                     "--percentile-alphas", "0.999,1.0"},
                    text),
           6},
          {"cobra_run", and_more({"run", cobra + "model"}, pictures), 3},
          {"cobra_sweep",
           and_more({"sweep", "--models", cobra + "variants/meta_linear," + cobra + "model",
                     "--policies", "tail,minmax"},
                    pictures),
           6}};
}

class LowestLimitOfAnExperiment : public testing::TestWithParam<Experiments> {};
INSTANTIATE_TEST_SUITE_P(Verbs, LowestLimitOfAnExperiment, testing::ValuesIn(experiments()),
                         [](const auto& test) { return std::string(test.param.name); });

/// Collecting, quantizing and scoring each say what they need, before any work; the last answer is
/// enough for all of them.
TEST_P(LowestLimitOfAnExperiment, IsSaidPartByPartAndKept) {
  const TemporaryFolder folder;
  const auto run = [&](const std::string& limit) {
    return scute_program(
        and_more(GetParam().words, {"--memory", limit, "--log", folder.path("log.jsonl"), "--quiet",
                                    "--json", "--threads", "1"}));
  };
  std::string limit = "1MB";
  Ended ended = run(limit);
  ASSERT_EQ(ended.code, 1) << ended.err;
  for (int part = 0; part < GetParam().parts && ended.code == 1; ++part) {
    EXPECT_EQ(bytes_at(folder.path("log.jsonl")), "");
    limit = least_memory(ended.err);
    ASSERT_NE(limit, "") << ended.err;
    ended = run(limit);
  }
  ASSERT_EQ(ended.code, 0) << limit << ": " << ended.err;
  const double peak = Json::parse(ended.out, "answer").at("peak_memory_bytes", "").as_double("");
  EXPECT_LE(peak, 1.05 * bytes_of_size(limit)) << limit;
}

/// A prompt goes through the model some tokens at a time, and of Mamba nothing is remembered.
TEST(LowestLimitOfGenerating, IsThatOfAPieceOfThePrompt) {
  const TemporaryFolder folder;
  const auto words = [&](int sentences, const char* limit) {
    const std::string path = folder.path("prompt.txt");
    std::ofstream file(path);
    for (int i = 0; i < sentences; ++i) file << "The sea was calm, and it was night again. ";
    file.close();
    return MemoryWords{
        "generate", "examples/tiny-mamba1", "--prompt-file", path, "--max-tokens", "2", "--memory",
        limit};
  };
  const std::string least = least_memory(scute_program(words(400, "1M")).err);
  ASSERT_NE(least, "");
  EXPECT_EQ(least_memory(scute_program(words(4'000, "1M")).err), least);
  const Ended ended = scute_program(and_more(words(4'000, least.c_str()), {"--json"}));
  ASSERT_EQ(ended.code, 0) << ended.err;
  const double peak = Json::parse(ended.out, "answer").at("peak_memory_bytes", "").as_double("");
  EXPECT_LE(peak, 1.05 * bytes_of_size(least));
}

}  // namespace
}  // namespace scute
