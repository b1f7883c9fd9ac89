// --portable: the same bytes with the kernels of every machine, from every form that has the flag.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "cli/terminal/output.h"
#include "cli/verbs.h"
#include "scute/base/hash.h"
#include "scute/base/random.h"
#include "scute/io/file.h"
#include "scute/kernels/gemm.h"
#include "tests/flag_rows.h"
#include "tests/flag_runner.h"
#include "tests/program.h"
#include "tests/test_machines.h"

namespace scute::cli_portable_test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

bool has_flag(const cli::Form& form, std::string_view name) {
  return std::ranges::any_of(form.flags(),
                             [&](const cli::FlagInfo& flag) { return flag.names.front() == name; });
}

/// Those whose answers are times, or tell of this machine.
bool measures_time(std::string_view verb) {
  return verb == "bench" || verb == "doctor" || verb == "demo";
}

TEST(Portable, EveryFormAnswersTheSameOnEveryMachine) {
  int forms = 0, different = 0;
  for (const FormRows& rows : flag_rows()) {
    const FlagBase& base = rows.base;
    const cli::Verb& verb = cli::find_verb(base.verb);
    const auto form = std::ranges::find(verb.forms, base.kind, &cli::Form::kind);
    ASSERT_NE(form, verb.forms.end()) << base.verb;
    if (!has_flag(*form, "--portable") || measures_time(base.verb)) continue;
    ++forms;
    // In words there are times, which JSON has under names of their own.
    const std::string words =
        std::string(base.words) + (has_flag(*form, "--json") ? " --json" : "");
    std::vector<Effect> portable, usual;
    for (const int64_t best : machines()) {
      const Machine machine(best);
      portable.push_back(run_line(base.verb, words + " --portable"));
      if (best == HWY_SSE4 || best == machines().front()) {
        usual.push_back(run_line(base.verb, words));
      }
      EXPECT_EQ(portable.back().code, 0) << base.verb << ": " << portable.back().error;
      EXPECT_EQ(portable.back().files, portable.front().files)
          << "scute " << base.verb << " " << words << ": other bytes on " << hwy::TargetName(best);
    }
    different += usual.front() == usual.back() ? 0 : 1;
  }
  EXPECT_GE(forms, 18);
  // So that this test can see a difference at all.
  if (machines().front() != HWY_SSE4) {
    EXPECT_GE(different, 5);
  }
}

/// What a command line makes in `folder`: names and whole files.
std::map<std::string, std::string> made_by(const std::vector<std::vector<std::string>>& lines,
                                           const std::string& folder) {
  for (const std::vector<std::string>& words : lines) {
    cli::Output said(cli::Output::To::text);
    EXPECT_EQ(cli::run_command(words, said), cli::kDone) << words.front();
  }
  std::map<std::string, std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    out[fs::relative(entry.path(), folder).string()] = hash_file(entry.path().string());
  }
  return out;
}

/// Four documents of 96 ids.
void write_ids(const std::string& path) {
  Random random(7);
  std::string text;
  for (int document = 0; document < 4; ++document) {
    text += "{\"ids\": [1";
    for (int i = 1; i < 96; ++i) text += "," + std::to_string(random.below(40));
    text += "]}\n";
  }
  write_file(path, text);
}

/// Statistics, a plan, GPTQ's checkpoint: to the last byte, what they record included.
std::map<std::string, std::string> pipeline(const std::string& model, const std::string& folder) {
  const std::string statistics = folder + "/s.safetensors", plan = folder + "/p.json";
  const std::string ids = folder + "/ids.jsonl";
  write_ids(ids);
  return made_by({{"collect", model, "--data", ids, "--samples", "2", "--seqlen", "32",
                   "--state-every", "8", "--out", statistics, "--portable", "--quiet"},
                  {"decide", statistics, "--out", plan},
                  {"quantize", model, "--plan", plan, "--stats", statistics, "--w-bits", "4",
                   "--gptq", "--data", ids, "--samples", "2", "--seqlen", "32", "--out",
                   folder + "/low", "--portable", "--quiet"},
                  // In integers: how 8-bit products are formed is chosen beside Highway's choice.
                  {"eval", folder + "/low", "--perplexity", ids, "--window", "32", "--items-out",
                   folder + "/items.jsonl", "--portable", "--quiet"}},
                 folder);
}

class PortableFiles : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Models, PortableFiles,
                         testing::Values("mamba1-f32", "mamba2-bf16-sharded"));

TEST_P(PortableFiles, AreTheSameBytesOnEveryMachine) {
  const std::string model = std::string("tests/golden/") + GetParam();
  const TemporaryFolder here;
  const auto expected = pipeline(model, here.path());
  EXPECT_GE(expected.size(), 7u);
  for (const int64_t best : machines()) {
    const Machine machine(best);
    const TemporaryFolder folder;
    EXPECT_EQ(pipeline(model, folder.path()), expected) << hwy::TargetName(best);
  }
}

TEST(Portable, IsRecordedAndHoldsForOneCommand) {
  const Machine machine(machines().front());
  if (portable_kernels()) GTEST_SKIP() << "SKIPPED: no instruction set that --portable leaves out";
  const std::string usual = instruction_set(Compute::f32);
  const TemporaryFolder folder;
  const std::string file = folder.path() + "/s.safetensors", ids = folder.path() + "/ids.jsonl";
  write_ids(ids);
  made_by({{"collect", "tests/golden/mamba1-f32", "--data", ids, "--samples", "1", "--seqlen", "16",
            "--out", file, "--portable", "--quiet"}},
          folder.path());
  EXPECT_EQ(instruction_set(Compute::f32), usual);
  const std::string bytes = read_text(file, int64_t{1} << 30);
  EXPECT_THAT(bytes, HasSubstr(R"(\"instruction_set\":\"portable\")"));
  EXPECT_THAT(bytes, HasSubstr(" --portable"));
}

TEST(Portable, PartsAreNotMergedWithThoseOfAnotherArithmetic) {
  const Machine machine(machines().front());
  if (portable_kernels()) GTEST_SKIP() << "SKIPPED: no instruction set that --portable leaves out";
  const TemporaryFolder folder;
  const std::string ids = folder.path() + "/ids.jsonl";
  write_ids(ids);
  const auto part = [&](const char* shard, bool portable) {
    std::vector<std::string> words{"collect",   "tests/golden/mamba1-f32",
                                   "--data",    ids,
                                   "--samples", "4",
                                   "--seqlen",  "16",
                                   "--shard",   shard,
                                   "--out",     folder.path() + "/parts/",
                                   "--quiet"};
    if (portable) words.push_back("--portable");
    cli::Output said(cli::Output::To::text);
    return cli::run_command(words, said);
  };
  fs::create_directories(folder.path() + "/parts");
  EXPECT_EQ(part("0/2", true), 0);
  EXPECT_EQ(part("1/2", false), 0);
  cli::Output said(cli::Output::To::text);
  std::string refusal;
  try {
    cli::run_command(
        {"merge", folder.path() + "/parts/", "--out", folder.path() + "/all.safetensors"}, said);
  } catch (const std::exception& error) {
    refusal = error.what();
  }
  EXPECT_THAT(refusal, HasSubstr("instruction_set"));
}

}  // namespace
}  // namespace scute::cli_portable_test
