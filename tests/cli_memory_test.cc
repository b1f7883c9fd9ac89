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

struct Tight {
  std::string name;
  MemoryWords words;  ///< without --out
  std::string made;   ///< what --out is compared with that of a run without a limit; "": nothing
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
  }
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
  write_ids(folder.path("ids.jsonl"));
  const auto run = [&](const std::string& name, const MemoryWords& more) {
    const std::string out = folder.path(name) + (GetParam().made[0] == '.' ? GetParam().made : "");
    return scute_program(and_more(words, and_more({"--out", out, "--quiet", "--json"}, more)));
  };
  const Ended refused = run("a", {"--memory", "1M"});
  ASSERT_EQ(refused.code, 1) << refused.err;
  EXPECT_EQ(run("a", {"--memory", "1M"}).err, refused.err);
  const std::string limit = least_memory(refused.err);
  ASSERT_NE(limit, "") << refused.err;
  const Ended kept = run("b", {"--memory", limit});
  ASSERT_EQ(kept.code, 0) << limit << ": " << kept.err;
  const double peak = Json::parse(kept.out, "answer").at("peak_memory_bytes", "").as_double("");
  EXPECT_LE(peak, 1.05 * bytes_of_size(limit)) << limit;
  const Ended free = run("c", {});
  ASSERT_EQ(free.code, 0) << free.err;
  EXPECT_EQ(bytes_at(folder.path("b" + GetParam().made)),
            bytes_at(folder.path("c" + GetParam().made)));
}

}  // namespace
}  // namespace scute
