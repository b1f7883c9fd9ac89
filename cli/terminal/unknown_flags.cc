#include "cli/terminal/unknown_flags.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/choose.h"
#include "cli/terminal/coming_from.h"
#include "cli/terminal/options.h"
#include "scute/base/names.h"

namespace scute::cli {
namespace {

std::string unknown_flag_text(const Call& call, const std::string& name,
                              const std::vector<std::string>& known) {
  const FlagElsewhere* row = flag_elsewhere(call, name);
  const auto hint = [&] {
    return fmt::format("({} of {}): {}", row->flag, row->program, row->instead);
  };
  if (std::string text = foreign_flag(call, name); !text.empty()) {
    const bool meant = row != nullptr && does_the_work(*row, call);
    return meant ? fmt::format("{}; {}", text, hint()) : text;
  }
  if (row != nullptr) return fmt::format("unknown flag {} {}", name, hint());
  return fmt::format("unknown flag {}{}", name, did_you_mean(name, known));
}

}  // namespace

std::string unknown_flags_text(const Call& call, const std::vector<std::string>& names,
                               const std::vector<std::string>& known) {
  std::vector<std::string> texts;
  for (const std::string& name : names) texts.push_back(unknown_flag_text(call, name, known));
  return joined(texts, ". ");
}

void Options::refuse_flags(const std::vector<std::string>& extras) const {
  std::vector<std::string> names, known{"--help"};
  for (const std::string& word : extras) {
    if (!word.starts_with("-") || word.size() == 1) continue;
    const std::string name = flag_name(word);
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  if (names.empty()) return;
  for (const FlagInfo& flag : flags_) {
    for (const std::string& one : flag.names) {
      if (one.starts_with("-")) known.push_back(one);
    }
  }
  const std::string text = unknown_flags_text(call_, names, known);
  throw UsageError(text.ends_with("--help)") ? text
                                             : fmt::format("{} (see {})", text, where_help()));
}

}  // namespace scute::cli
