// docs/coming-from.md, the table in the program that it shows, and what is said of such flags.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "cli/terminal/coming_from.h"
#include "cli/terminal/options.h"
#include "scute/io/file.h"
#include "tests/program.h"

namespace scute::cli_coming_from_test {
namespace {

namespace fs = std::filesystem;
using cli::FlagElsewhere;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string line_of(const FlagElsewhere& row) {
  return fmt::format("| `{}` | {} | `{}` |", row.flag, row.instead, row.command);
}

TEST(ComingFrom, TheDocumentShowsTheTableOfTheProgram) {
  std::vector<std::string> documented, known;
  std::istringstream text(read_text("docs/coming-from.md"));
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("| `")) documented.push_back(line);
  }
  for (const FlagElsewhere& row : cli::flags_elsewhere()) known.push_back(line_of(row));
  EXPECT_EQ(documented, known);
}

TEST(ComingFrom, EachProgramHasAFlagOnce) {
  std::set<std::pair<std::string_view, std::string_view>> seen;
  for (const FlagElsewhere& row : cli::flags_elsewhere()) {
    EXPECT_TRUE(seen.emplace(row.program, row.flag).second) << row.program << " " << row.flag;
  }
}

/// "the same" is said of flags that the row's command line gives, under that very name.
TEST(ComingFrom, WhatIsTheSameIsInTheCommand) {
  for (const FlagElsewhere& row : cli::flags_elsewhere()) {
    if (!row.instead.starts_with("the same")) continue;
    EXPECT_THAT(std::string(row.command) + " ", HasSubstr(std::string(row.flag) + " "))
        << row.program;
  }
}

TEST(ComingFrom, EveryCommandWorksInThisOrder) {
  const TemporaryFolder folder;
  const fs::path top = fs::current_path();
  fs::create_directory(folder.path("tests"));
  fs::create_symlink(top / "examples", folder.path("examples"));
  fs::create_symlink(top / "tests/golden", folder.path("tests/golden"));
  std::ofstream(folder.path("hybrid.json"))
      << R"(["W4A16", "W8A8", "W8A8", "W8A8", "W8A8", "W4A16"])";
  std::set<std::string_view> done;
  for (const FlagElsewhere& row : cli::flags_elsewhere()) {
    if (!done.insert(row.command).second) continue;
    const Ended ended = shell(std::string(row.command), folder.path());
    EXPECT_EQ(ended.code, 0) << row.command << "\n" << ended.err;
  }
}

/// Flags of other programs, all of them in one line, whatever their values may look like.
TEST(ComingFrom, UnknownFlagsAreReportedAtOnceWithWhatToTypeHere) {
  const std::vector<std::string> flags{
      "--batch_size", "16",      "--eval_zero_shot", "--task_list", "lambada_openai", "--log_dir",
      "logs",         "--dtype", "float16",          "--quantize",  "--nonsense"};
  for (const std::string model : {"examples/tiny-mamba1", "nowhere/mamba-130m"}) {
    for (const bool first : {true, false}) {
      std::vector<std::string> words{"eval"};
      if (first) words.push_back(model);
      words.insert(words.end(), flags.begin(), flags.end());
      if (!first) words.push_back(model);
      const Ended ended = scute_program(words);
      EXPECT_EQ(ended.code, 2) << ended.err;
      EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
      for (const char* part :
           {"--batch_size of main.py", "--threads N", "--eval_zero_shot of main.py",
            "scute eval MODEL --last-word FILE", "--task_list of main.py", "--log FILE, one log",
            "--compute f32 or bf16", "scute quantize MODEL --stats FILE",
            "unknown flag --nonsense"}) {
        EXPECT_THAT(ended.err, HasSubstr(part));
      }
    }
  }
}

/// The row is that of the program which does this work.
TEST(ComingFrom, TheHintFollowsVerbAndModel) {
  const Ended cobra = scute_program({"collect", "tests/golden/cobra/model", "--data", "x"});
  EXPECT_THAT(cobra.err, AllOf(HasSubstr("--data: a flag of language models"),
                               HasSubstr("(--data of pct_collect): --images DIR")));
  const Ended export_ = scute_program({"collect", "tests/golden/cobra/model", "--export", "s.pt"});
  EXPECT_THAT(export_.err, HasSubstr("--export of pct_collect): --out FILE"));
  const Ended summary = scute_program({"decide", "--summary", "s.pt"});
  EXPECT_EQ(summary.code, 2);
  EXPECT_THAT(summary.err, HasSubstr("--summary of pct_apply): STATS, the first word"));
  const Ended csv = scute_program({"eval", "tests/golden/regressor/slim.pt", "--save_csv"});
  EXPECT_THAT(csv.err, HasSubstr("--save_csv of eval.py): --out-dir DIR"));
  EXPECT_THAT(csv.err, Not(HasSubstr("did you mean")));
}

}  // namespace
}  // namespace scute::cli_coming_from_test
