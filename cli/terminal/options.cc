#include "cli/terminal/options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "cli/choose.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/io/input.h"

namespace scute::cli {
namespace {

constexpr size_t kColumn = 28;  // where texts begin

/// "--calib_data_num=4" to "--calib-data-num=4"; values stay as they are.
std::string with_hyphens(const std::string& argument) {
  if (!argument.starts_with("--")) return argument;
  const size_t end = std::min(argument.find('='), argument.size());
  return flag_name(argument) + argument.substr(end);
}

/// The first long flag, or else the first short one, or the position.
std::string first_flag(const std::string& names) {
  const std::vector<std::string> all = CLI::detail::split(names, ',');
  for (const std::string_view begin : {"--", "-"}) {
    const auto found =
        std::ranges::find_if(all, [&](const std::string& name) { return name.starts_with(begin); });
    if (found != all.end()) return *found;
  }
  return names;
}

/// An error's words without its subject, where that is a word and no path: what is said of a flag
/// names the flag.
std::string_view without_subject(std::string_view what) {
  const size_t end = what.find(": expected ");
  const auto plain = [](char c) {
    return std::islower(static_cast<unsigned char>(c)) != 0 || c == ' ';
  };
  const bool subject = end != what.npos && std::ranges::all_of(what.substr(0, end), plain);
  return subject ? what.substr(end + 2) : what;
}

}  // namespace

bool names_path(const FlagInfo& flag) {
  constexpr std::array<std::string_view, 8> kLabels{
      "FILE", "FILE...", "[TASK=]FILE...", "DIR", "FOLDER", "PATH", "MODEL", "MODEL,..."};
  return std::ranges::find(kLabels, flag.label) != kLabels.end();
}

struct Options::Parser {
  CLI::App app;

  /// As given on the command line.
  std::vector<std::string> values(const std::string& name) const {
    const CLI::Option* option = app.get_option_no_throw(name);
    return option == nullptr ? std::vector<std::string>() : option->results();
  }

  CLI::Option* add(const std::string& names, std::function<void(const std::string&)> read,
                   Need need) {
    CLI::Option* option = app.add_option_function<std::string>(names, std::move(read));
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    return option->required(need == Need::required);
  }
};

int64_t parse_integer(const std::string& flag, const std::string& text, Options::Limits limits) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < limits.least ||
      value > limits.most) {
    const bool open = limits.most == std::numeric_limits<int64_t>::max();
    throw UsageError(fmt::format("{}: expected a whole number {}, found \"{}\"", flag,
                                 open ? fmt::format("of at least {}", limits.least)
                                      : fmt::format("from {} to {}", limits.least, limits.most),
                                 text));
  }
  return value;
}

double parse_number(const std::string& flag, const std::string& text, double least, double most) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value >= least) ||
      !(value <= most)) {
    throw UsageError(
        fmt::format("{}: expected a number from {} to {}, found \"{}\"", flag, least, most, text));
  }
  return value;
}

std::string flag_name(const std::string& argument) {
  std::string out = argument.substr(0, argument.find('='));
  if (out.starts_with("--")) std::ranges::replace(out, '_', '-');
  return out;
}

Options::Options(const Call& call) : call_(call), parser_(new Parser) {
  parser_->app.set_help_flag("-h,--help");
}

Options::~Options() = default;

void Options::add(const std::string& names, const std::string& label, const std::string& help,
                  const std::string& otherwise, Need need, FlagInfo::Takes takes) {
  flags_.push_back({.names = CLI::detail::split(names, ','),
                    .label = label,
                    .help = help,
                    .otherwise = otherwise,
                    .takes = takes,
                    .required = need == Need::required});
}

void Options::text(const std::string& names, std::string& value, const std::string& label,
                   const std::string& help, Need need) {
  add(names, label, help, value, need, FlagInfo::Takes::one);
  parser_->add(
      names, [&value](const std::string& given) { value = given; }, need);
}

void Options::texts(const std::string& names, std::vector<std::string>& values,
                    const std::string& label, const std::string& help, Need need) {
  add(names, label, help, "", need, FlagInfo::Takes::several);
  parser_->app.add_option(names, values)->required(need == Need::required);
}

void Options::integer(const std::string& names, int64_t& value, Limits limits,
                      const std::string& help) {
  custom(names, "N", fmt::format("{}", value), help,
         [&value, limits, flag = first_flag(names)](const std::string& given) {
           value = parse_integer(flag, given, limits);
         });
}

void Options::integer(const std::string& names, int& value, Limits limits,
                      const std::string& help) {
  limits.most = std::min<int64_t>(limits.most, std::numeric_limits<int>::max());
  custom(names, "N", fmt::format("{}", value), help,
         [&value, limits, flag = first_flag(names)](const std::string& given) {
           value = static_cast<int>(parse_integer(flag, given, limits));
         });
}

void Options::integer(const std::string& names, std::optional<int64_t>& value, Limits limits,
                      const std::string& otherwise, const std::string& help) {
  custom(names, "N", otherwise, help,
         [&value, limits, otherwise, flag = first_flag(names)](const std::string& given) {
           // A word such as "all" or "window" is the default; a number is one, also when it is the
           // default.
           const bool number = !given.empty() && given[0] >= '0' && given[0] <= '9';
           value = std::nullopt;
           if (given != otherwise || number) value = parse_integer(flag, given, limits);
         });
}

void Options::optional_integer(const std::string& names, std::optional<int64_t>& value,
                               Limits limits, int64_t alone, const std::string& help) {
  optional_integer(names, value, limits, alone, "", help);
}

void Options::optional_integer(const std::string& names, std::optional<int64_t>& value,
                               Limits limits, int64_t alone, const std::string& every,
                               const std::string& help) {
  add(names, every.empty() ? "[N]" : fmt::format("[N|{}]", every),
      fmt::format("{}; {} when N is left out", help, alone), "", Need::optional,
      FlagInfo::Takes::one_or_nothing);
  CLI::Option* option = parser_->add(
      names,
      [&value, limits, alone, every, flag = first_flag(names)](const std::string& given) {
        value = given.empty()                      ? alone
                : !every.empty() && given == every ? limits.most
                                                   : parse_integer(flag, given, limits);
      },
      Need::optional);
  option->expected(0, 1);
}

void Options::number(const std::string& names, double& value, double least, double most,
                     const std::string& help) {
  custom(names, "X", fmt::format("{}", value), help,
         [&value, least, most, flag = first_flag(names)](const std::string& given) {
           value = parse_number(flag, given, least, most);
         });
}

void Options::number(const std::string& names, std::optional<double>& value, double least,
                     double most, const std::string& help) {
  custom(names, "X", "", help,
         [&value, least, most, flag = first_flag(names)](const std::string& given) {
           value = parse_number(flag, given, least, most);
         });
}

void Options::flag(const std::string& names, bool& value, const std::string& help) {
  add(names, "", help, value ? "on" : "off", Need::optional, FlagInfo::Takes::nothing);
  parser_->app.add_flag(names, value);
}

void Options::choice(const std::string& names, std::string& value,
                     const std::vector<std::string>& known, const std::string& help) {
  custom(names, joined(known, "|"), value, help,
         [&value, known, flag = first_flag(names)](const std::string& given) {
           if (std::find(known.begin(), known.end(), given) == known.end()) {
             throw UsageError(
                 fmt::format("{}: expected {}, found \"{}\"", flag, joined(known, " or "), given));
           }
           value = given;
         });
}

void Options::custom(const std::string& names, const std::string& label,
                     const std::string& otherwise, const std::string& help,
                     std::function<void(const std::string&)> read) {
  add(names, label, help, otherwise, Need::optional, FlagInfo::Takes::one);
  parser_->add(
      names,
      [flag = first_flag(names), read = std::move(read)](const std::string& given) {
        try {
          read(given);
        } catch (const Error& error) {
          const std::string_view what = error.what();
          throw UsageError(what.starts_with(flag)
                               ? std::string(what)
                               : fmt::format("{}: {}", flag, without_subject(what)));
        }
      },
      Need::optional);
}

std::string Options::usage() const {
  std::string out = fmt::format("usage: scute {}", call_.verb);
  for (const FlagInfo& flag : flags_) {
    const std::string& name = flag.names.front();
    const bool position = !name.starts_with("-"), list = flag.label.ends_with("...");
    if (position) {
      const std::string shown = name + (list ? "..." : "");
      out += flag.required ? " " + shown : fmt::format(" [{}]", shown);
    } else if (flag.required) {
      out += fmt::format(" {} {}", name, flag.label);
    }
  }
  return out + " [options]\n";
}

std::string text_of(const FlagInfo& flag) {
  std::string text = flag.help;
  if (flag.names.size() > 1) {
    const std::vector<std::string> aliases(flag.names.begin() + 1, flag.names.end());
    text += fmt::format(" (also {})", joined(aliases, ", "));
  }
  for (const std::string& condition : flag.conditions) text += "; " + condition;
  if (flag.required) text += " (required)";
  if (!flag.otherwise.empty()) text += fmt::format(" [{}]", flag.otherwise);
  return text;
}

std::string Options::help() const {
  const std::string_view summary =
      call_.form->summary.empty() ? find_verb(call_.verb).summary : call_.form->summary;
  std::string out = fmt::format("scute {}: {}\n\n{}\n", call_.verb, summary, usage());
  const auto add_line = [&out](const std::string& left, const std::string& text) {
    const bool beside = left.size() + 2 <= kColumn;
    out += beside ? fmt::format("{:<{}}", left, kColumn) : left + "\n" + std::string(kColumn, ' ');
    out += text + "\n";
  };
  for (const FlagInfo& flag : flags_) {
    const std::string& name = flag.names.front();
    const bool labelled = name.starts_with("-") && !flag.label.empty();
    add_line("  " + name + (labelled ? " " + flag.label : ""), text_of(flag));
  }
  add_line("  -h, --help", "this text");
  for (const std::string& sentence : notes_) out += "\n" + sentence + "\n";
  out += "\nexample:\n";
  for (const std::string& line : CLI::detail::split(std::string(call_.form->example), '\n')) {
    out += "  " + line + "\n";
  }
  return out;
}

std::string Options::where_help() const {
  const std::string model = call_.model.empty() ? "" : " " + shell_word(call_.model);
  return fmt::format("scute {}{} --help", call_.verb, model);
}

bool Options::given(const std::string& flag) const {
  const CLI::Option* option = parser_->app.get_option_no_throw(flag);
  return option != nullptr && option->count() > 0;
}

std::vector<std::string> Options::paths(bool read) const {
  std::vector<std::string> out;
  for (const FlagInfo& flag : flags_) {
    if (!names_path(flag) || flag.reads != read) continue;
    const std::vector<std::string> values = parser_->values(flag.names.back());
    out.insert(out.end(), values.begin(), values.end());
    if (flag.takes != FlagInfo::Takes::several) continue;
    for (const std::string& word : words_of(values)) {  // of a list with commas
      out.push_back(word);
      out.push_back(word.substr(word.find('=') + 1));  // of TASK=FILE; all of it without one
    }
  }
  return out;
}

void Options::check_standard_input() const {
  std::vector<std::string> found;
  for (const FlagInfo& flag : flags_) {
    for (const std::string& value : parser_->values(flag.names.back())) {
      if (is_standard_input(value)) found.push_back(flag.names.front());
    }
  }
  if (found.size() > 1) {
    throw UsageError(fmt::format("standard input: expected to be read once, found it for {}",
                                 joined(found, " and ")));
  }
}

std::string Options::what_is_missing(std::string words) const {
  std::replace(words.begin(), words.end(), '\n', ' ');
  // "--out is required", "--data: 1 required TEXT missing".
  const std::string name = words.substr(0, words.find_first_of(": "));
  const auto flag = std::ranges::find_if(
      flags_, [&](const FlagInfo& info) { return std::ranges::count(info.names, name) > 0; });
  if (flag == flags_.end()) return words;
  const std::string& first = flag->names.front();
  if (!first.starts_with("-")) return fmt::format("expected {}, found none", first);
  return fmt::format("{}: expected {}, found none", name, flag->label.empty() ? "it" : flag->label);
}

/// "--force=abc": CLI11 says of it that it cannot be converted, and of "-q=1" that "-" is unknown.
void Options::refuse_values() const {
  for (const std::string& argument : call_.arguments) {
    const size_t equals = argument.find('=');
    if (!argument.starts_with("-") || equals == std::string::npos) continue;
    const std::string name = flag_name(argument), value = argument.substr(equals + 1);
    const bool switched = name.starts_with("--") && (value == "true" || value == "false");
    const auto flag = std::ranges::find_if(
        flags_, [&](const FlagInfo& info) { return std::ranges::count(info.names, name) > 0; });
    if (flag == flags_.end() || flag->takes != FlagInfo::Takes::nothing || switched) continue;
    throw UsageError(
        fmt::format("{}: expected no value, found \"{}\" (see {})", name, value, where_help()));
  }
}

bool Options::parse(Output& out) {
  refuse_values();
  std::vector<std::string> reversed;  // CLI11 takes its arguments from the back
  for (const std::string& argument : call_.arguments) reversed.push_back(with_hyphens(argument));
  std::reverse(reversed.begin(), reversed.end());
  CLI::App& app = parser_->app;
  try {
    app.allow_extras();
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    out.write(help());
    return false;
  } catch (const CLI::ParseError& error) {
    refuse_flags(app.remaining());  // mistyped flags explain more than the required one of them
    throw UsageError(fmt::format("{} (see {})", what_is_missing(error.what()), where_help()));
  }
  refuse_flags(app.remaining());
  if (!app.remaining().empty()) {
    throw UsageError(
        fmt::format("unexpected argument \"{}\" (see {})", app.remaining().front(), where_help()));
  }
  check_conditions();
  check_standard_input();
  kernels_.emplace(portable_);
  return true;
}

}  // namespace scute::cli
