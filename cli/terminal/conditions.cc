// Flags that are read only beside others: declared once, so that help and refusal agree.
#include <fmt/format.h>

#include <algorithm>

#include "cli/terminal/options.h"
#include "cli/terminal/words.h"
#include "scute/base/names.h"

namespace scute::cli {
namespace {

/// "--stride, --window: expected --perplexity FILE beside them, found none; …".
std::string unread_text(const std::vector<std::string>& flags, const std::string& what,
                        bool wanted) {
  const std::string names = joined(flags, ", ");
  const char* them = flags.size() == 1 ? "it" : "them";
  if (wanted) {
    return fmt::format("{}: expected {} beside {}, found none; add that, or leave {} out", names,
                       what, them, them);
  }
  return fmt::format("{}: expected no {} beside {}, found both; leave one or the other out", names,
                     what, them);
}

}  // namespace

void Options::add_condition(Condition condition) {
  for (const std::string& name : condition.flags) {
    const auto flag = std::ranges::find_if(flags_, [&](const FlagInfo& one) {
      return std::ranges::find(one.names, name) != one.names.end();
    });
    if (flag == flags_.end()) throw std::logic_error("a condition of an undeclared flag: " + name);
    flag->conditions.push_back(
        fmt::format("{} {}", condition.wanted ? "only with" : "not with", condition.what));
  }
  conditions_.push_back(std::move(condition));
}

void Options::only_with(const std::vector<std::string>& flags, const std::string& what,
                        std::function<bool()> holds) {
  add_condition({flags, what, true, std::move(holds)});
}

void Options::not_with(const std::vector<std::string>& flags, const std::string& what,
                       std::function<bool()> there) {
  add_condition({flags, what, false, std::move(there)});
}

void Options::check_conditions() const {
  std::vector<std::string> problems;
  for (const Condition& condition : conditions_) {
    std::vector<std::string> unread;
    for (const std::string& name : condition.flags) {
      if (given(name)) unread.push_back(name);
    }
    if (unread.empty()) continue;
    const bool there = condition.holds ? condition.holds()
                                       : given(condition.what.substr(0, condition.what.find(' ')));
    if (there != condition.wanted) {
      problems.push_back(unread_text(unread, condition.what, condition.wanted));
    }
  }
  if (problems.empty()) return;
  throw UsageError(fmt::format("{} (see {})", joined(problems, ". "), where_help()));
}

namespace {

void refuse_given(const Call& call, const std::vector<std::string>& flags, const std::string& what,
                  bool wanted) {
  std::vector<std::string> unread;
  for (const std::string& name : flags) {
    if (call.gives(name)) unread.push_back(name);
  }
  if (!unread.empty()) throw UsageError(unread_text(unread, what, wanted));
}

}  // namespace

void only_with(const Call& call, const std::vector<std::string>& flags, const std::string& what,
               bool holds) {
  if (!holds) refuse_given(call, flags, what, true);
}

void not_with(const Call& call, const std::vector<std::string>& flags, const std::string& what) {
  refuse_given(call, flags, what, false);
}

void backend_only_with(const Call& call, bool low_bit) {
  only_with(call, {"--backend"}, "a low-bit model", low_bit);
}

}  // namespace scute::cli
