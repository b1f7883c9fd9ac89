#include "cli/shell_completion.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/terminal/options.h"
#include "cli/terminal/words.h"
#include "cli/verbs.h"
#include "scute/base/names.h"

namespace scute::cli {
namespace {

/// A flag of any form of a verb.
struct VerbFlag {
  std::string name;
  std::string help = {};
  std::vector<std::string> values = {};  ///< of a choice
  bool takes_value = false;
  bool takes_path = false;
};

/// The words of "a|b|c"; none where a label is a description.
std::vector<std::string> choices_of(const std::string& label) {
  if (label.find('|') == label.npos || label.find_first_of("[ .,") != label.npos) return {};
  std::vector<std::string> out(1);
  for (const char c : label) {
    if (c == '|') {
      out.emplace_back();
    } else {
      out.back() += c;
    }
  }
  // Of "MODEL|a", say, what is typed as it stands.
  std::erase_if(out, [](const std::string& word) {
    return std::ranges::any_of(word, [](unsigned char c) { return std::isupper(c) != 0; }) &&
           std::ranges::none_of(word, [](unsigned char c) { return std::islower(c) != 0; }) &&
           std::ranges::none_of(word, [](unsigned char c) { return std::isdigit(c) != 0; });
  });
  return out;
}

/// Each flag once, under every name, with what the first form that has it says.
std::vector<VerbFlag> flags_of(const Verb& verb) {
  std::vector<VerbFlag> out;
  const auto add = [&](const VerbFlag& flag) {
    if (std::ranges::count(out, flag.name, &VerbFlag::name) == 0) out.push_back(flag);
  };
  for (const Form& form : verb.forms) {
    for (const FlagInfo& info : form.flags()) {
      for (const std::string& name : info.names) {
        if (!name.starts_with("-")) continue;
        add({name, info.help, choices_of(info.label), info.takes != FlagInfo::Takes::nothing,
             names_path(info)});
      }
    }
  }
  add({.name = "--color",
       .help = "colours",
       .values = {"auto", "always", "never"},
       .takes_value = true});
  add({.name = "--wide", .help = "tables and lines as wide as they are"});
  add({.name = "--help", .help = "every flag and an example"});
  return out;
}

std::string names_of(const std::vector<VerbFlag>& flags) {
  std::vector<std::string> names;
  for (const VerbFlag& flag : flags) names.push_back(flag.name);
  return joined(names, " ");
}

std::string verb_names() {
  std::vector<std::string> names;
  for (const Verb& verb : verbs()) names.emplace_back(verb.name);
  return joined(names, " ");
}

std::string bash_completion() {
  std::string flags, values;
  for (const Verb& verb : verbs()) {
    const auto all = flags_of(verb);
    flags += fmt::format("    {}) flags='{}' ;;\n", verb.name, names_of(all));
    for (const VerbFlag& flag : all) {
      const std::string place = fmt::format("    \"{} {}\")", verb.name, flag.name);
      if (!flag.values.empty()) {
        values += fmt::format("{} values='{}' ;;\n", place, joined(flag.values, " "));
      } else if (flag.takes_value && !flag.takes_path) {
        values += fmt::format("{} return ;;\n", place);
      }
    }
  }
  return fmt::format(
      R"(# Completes scute in bash: scute --completion bash made it from the table of its verbs.
_scute() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} verb=${{COMP_WORDS[1]}}
  local flags='' values=''
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '{} --help --version' -- "$word"))
    return
  fi
  case "$verb $before" in
{}  esac
  if [ -n "$values" ]; then
    COMPREPLY=($(compgen -W "$values" -- "$word"))
    return
  fi
  case "$verb" in
{}  esac
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$word")) ;;
    *)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      ;;
  esac
}}
complete -F _scute scute
)",
      verb_names(), values, flags);
}

/// In single quotes; zsh's and fish's rules for what is inside differ from the shell's.
std::string quoted(std::string_view text, std::string_view escaped) {
  std::string out;
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
      continue;
    }
    if (escaped.find(c) != escaped.npos) out += '\\';
    out += c;
  }
  return out;
}

std::string zsh_completion() {
  std::string described, cases;
  for (const Verb& verb : verbs()) {
    described += fmt::format("    '{}:{}'\n", verb.name, quoted(verb.summary, ":\\"));
    cases += fmt::format("    {})\n      _arguments \\\n", verb.name);
    for (const VerbFlag& flag : flags_of(verb)) {
      std::string value;
      if (!flag.values.empty()) {
        value = fmt::format(":value:({})", joined(flag.values, " "));
      } else if (flag.takes_value) {
        value = flag.takes_path ? ":file:_files" : ":value: ";
      }
      cases +=
          fmt::format("        '*{}[{}]{}' \\\n", flag.name, quoted(flag.help, "[]:\\"), value);
    }
    cases += "        '*:file:_files'\n      ;;\n";
  }
  return fmt::format(R"(#compdef scute
# Completes scute in zsh: scute --completion zsh made it from the table of its verbs.
_scute() {{
  local -a verbs
  verbs=(
{}  )
  if (( CURRENT == 2 )); then
    _describe verb verbs
    return
  fi
  local verb=$words[2]
  shift words
  (( CURRENT-- ))
  case $verb in
{}  esac
}}
if [ "$funcstack[1]" = _scute ]; then
  _scute "$@"
else
  compdef _scute scute
fi
)",
                     described, cases);
}

std::string fish_completion() {
  std::string out =
      "# Completes scute in fish: scute --completion fish made it from the table of its verbs.\n";
  for (const Verb& verb : verbs()) {
    out += fmt::format("complete -c scute -n __fish_use_subcommand -f -a {} -d '{}'\n", verb.name,
                       quoted(verb.summary, "\\"));
  }
  for (const Verb& verb : verbs()) {
    for (const VerbFlag& flag : flags_of(verb)) {
      const bool is_long = flag.name.starts_with("--");
      std::string value;
      if (!flag.values.empty()) {
        value = fmt::format(" -x -a '{}'", joined(flag.values, " "));
      } else if (flag.takes_value) {
        value = flag.takes_path ? " -r" : " -x";
      }
      out += fmt::format("complete -c scute -n '__fish_seen_subcommand_from {}' -{} {}{} -d '{}'\n",
                         verb.name, is_long ? "l" : "s", flag.name.substr(is_long ? 2 : 1), value,
                         quoted(flag.help, "\\"));
    }
  }
  return out;
}

}  // namespace

std::string shell_completion(std::string_view shell) {
  if (shell == "bash") return bash_completion();
  if (shell == "zsh") return zsh_completion();
  if (shell == "fish") return fish_completion();
  throw UsageError(fmt::format("--completion: expected bash, zsh or fish, found \"{}\"", shell));
}

}  // namespace scute::cli
