// Every flag of every form is obeyed or refused: giving it changes what is written or said, or is
// wrong usage that names it. A flag that is added without a row fails here.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>

#include "cli/terminal/options.h"
#include "cli/verbs.h"
#include "tests/flag_rows.h"
#include "tests/flag_runner.h"

namespace scute::cli_flags_test {
namespace {

using cli::FlagInfo;
using cli::Form;
using cli::Verb;
using Does = FlagRow::Does;

const FormRows* rows_of(std::string_view verb, std::optional<ModelKind> kind) {
  const auto& all = flag_rows();
  const auto found = std::ranges::find_if(
      all, [&](const FormRows& one) { return one.base.verb == verb && one.base.kind == kind; });
  return found == all.end() ? nullptr : &*found;
}

/// The flag that a row is about, as typed.
std::string flag_of(const FlagRow& row) {
  const cli::Arguments words = words_in(row.given);
  return words.empty() ? "" : cli::flag_name(words.front());
}

const FlagInfo* info_of(const std::vector<FlagInfo>& flags, const std::string& name) {
  const auto found = std::ranges::find_if(flags, [&](const FlagInfo& flag) {
    return std::ranges::find(flag.names, name) != flag.names.end();
  });
  return found == flags.end() ? nullptr : &*found;
}

/// Positions and required flags are in every base: without them nothing works.
bool needs_row(const FlagInfo& flag) {
  const bool position = std::ranges::none_of(
      flag.names, [](const std::string& name) { return name.starts_with("-"); });
  return !position && !flag.required && flag.means != FlagInfo::Means::model;
}

/// What says how and where to, never what.
bool hides_by_nature(const FlagInfo& flag) {
  constexpr std::string_view kAlways[] = {"--threads", "--device", "--quiet"};
  return std::ranges::find(kAlways, flag.names.front()) != std::end(kAlways);
}

/// What is the same code in every form, and is shown where it lies.
bool shown_elsewhere(const FlagInfo& flag) {
  constexpr std::pair<std::string_view, std::string_view> kTests[] = {
      {"--force", "CliOutputFile.*, on every output"},
      {"--portable", "Portable.EveryFormAnswersTheSameOnEveryMachine"},
      {"--special-tokens", "BadInput.SpecialTokensAreAddedAndRecordedWhenAskedFor"},
      {"--bad-lines", "BadInput.LinesThatCannotBeReadAreNamedOrSkipped"},
      {"--raw-ids", "Documents.IdsWithoutAHeaderNeedTheirType"}};
  return std::ranges::any_of(kTests,
                             [&](const auto& one) { return one.first == flag.names.front(); });
}

/// A line for every form: `each` gets its verb, its form and its rows.
void for_each_form(const std::function<void(const Verb&, const Form&, const FormRows&)>& each) {
  for (const Verb& verb : cli::verbs()) {
    for (const Form& form : verb.forms) {
      const FormRows* rows = rows_of(verb.name, form.kind);
      ASSERT_NE(rows, nullptr) << verb.name << ": a form without rows in flag_rows.cc";
      each(verb, form, *rows);
    }
  }
}

TEST(Flags, EachHasOneRow) {
  for_each_form([](const Verb& verb, const Form& form, const FormRows& rows) {
    const std::vector<FlagInfo> flags = form.flags();
    for (const FlagInfo& flag : flags) {
      if (!needs_row(flag) || hides_by_nature(flag) || shown_elsewhere(flag)) continue;
      const auto of_flag = [&](const FlagRow& row) {
        return info_of(flags, flag_of(row)) != nullptr &&
               info_of(flags, flag_of(row))->names == flag.names;
      };
      EXPECT_GE(std::ranges::count_if(rows.rows, of_flag), 1)
          << "scute " << verb.name << " (" << rows.base.words << "): " << flag.names.front()
          << " has no row in flag_rows.cc that shows what it does";
    }
    for (const FlagRow& row : rows.rows) {
      EXPECT_NE(info_of(flags, flag_of(row)), nullptr) << verb.name << " " << row.given;
      EXPECT_EQ(row.does == Does::hide || row.does == Does::defer, !row.why.empty())
          << verb.name << " " << row.given;
    }
  });
}

/// The flags that some row shows refused, with what the help says of their needs.
std::vector<std::string> refused_conditions() {
  std::vector<std::string> out;
  for_each_form([&](const Verb&, const Form& form, const FormRows& rows) {
    const std::vector<FlagInfo> flags = form.flags();
    for (const FlagRow& row : rows.rows) {
      if (row.does != Does::refuse) continue;
      const std::vector<std::string>& needs = info_of(flags, flag_of(row))->conditions;
      out.insert(out.end(), needs.begin(), needs.end());
    }
  });
  return out;
}

/// What is said of a flag's needs is made in one place: one flag of each such sentence is shown.
TEST(Flags, WhatTheyNeedIsShownByARefusal) {
  const std::vector<std::string> shown = refused_conditions();
  for_each_form([&](const Verb& verb, const Form& form, const FormRows&) {
    for (const FlagInfo& flag : form.flags()) {
      for (const std::string& condition : flag.conditions) {
        EXPECT_THAT(shown, testing::Contains(condition))
            << verb.name << " " << flag.names.front() << ": no row shows it refused";
      }
    }
  });
}

/// The command line without the row's flag.
std::string line_of(const FormRows& rows, const FlagRow& row) {
  if (row.beside.starts_with("=")) return std::string(row.beside.substr(1));
  return std::string(rows.base.words) + " " + std::string(row.beside);
}

/// As JSON, because words tell how long it took, where nothing else is asked for.
Effect answer_of(const std::string_view verb, const std::string& line) {
  const bool other =
      line.find("--csv") != std::string::npos || line.find("--markdown") != std::string::npos;
  return run_line(verb, other ? line : line + " --json");
}

bool names(const Effect& refused, const FlagRow& row) {
  return refused.code == cli::kWrongUsage && refused.error.find(flag_of(row)) != std::string::npos;
}

void expect_row(const FormRows& rows, const FlagRow& row,
                std::map<std::string, Effect>& without_it) {
  if (row.does == Does::defer) return;
  const std::string_view verb = rows.base.verb;
  const std::string base(rows.base.words), line = line_of(rows, row), given(row.given);
  SCOPED_TRACE("scute " + std::string(verb) + " " + line + "  [" + given + "]");
  const auto without = [&](const std::string& words) -> const Effect& {
    if (!without_it.contains(words)) without_it[words] = answer_of(verb, words);
    return without_it[words];
  };
  const Effect with = answer_of(verb, line + " " + given);
  if (row.does == Does::refuse) {
    EXPECT_TRUE(names(with, row)) << with.code << " " << with.error;
    return;
  }
  EXPECT_EQ(with.code, 0) << with.error;
  if (row.does == Does::hide) return;
  if (row.does == Does::repair) {
    EXPECT_NE(without(line).code, 0);
    return;
  }
  if (given == "--json") {
    EXPECT_FALSE(with == run_line(verb, line));
    return;
  }
  EXPECT_EQ(without(line).code, 0) << without(line).error;
  EXPECT_FALSE(with == without(line)) << "the flag was taken and changed nothing";
}

class FlagsOf : public testing::TestWithParam<size_t> {};

TEST_P(FlagsOf, AreObeyedOrRefused) {
  const FormRows& rows = flag_rows()[GetParam()];
  std::map<std::string, Effect> without_it;
  for (const FlagRow& row : rows.rows) expect_row(rows, row, without_it);
  // Nothing but the flags makes a difference.
  for (const auto& [line, effect] : without_it) {
    if (line != rows.base.words) continue;
    const Effect again = answer_of(rows.base.verb, line);
    EXPECT_TRUE(again == effect) << "scute " << rows.base.verb << " " << line;
  }
}

std::string test_name(const testing::TestParamInfo<size_t>& info) {
  const FlagBase& base = flag_rows()[info.param].base;
  std::string out = fmt::format("{} {}", base.verb, base.kind ? name_of(*base.kind) : "");
  std::erase(out, ' ');
  return out;
}

INSTANTIATE_TEST_SUITE_P(Flags, FlagsOf, testing::Range(size_t{0}, flag_rows().size()), test_name);

}  // namespace
}  // namespace scute::cli_flags_test
