#include "cli/terminal/options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>

#include "scute/base/error.h"
#include "scute/base/names.h"

namespace scute::cli {
namespace {

constexpr size_t kColumn = 36, kWidth = 100;

/// "--calib_data_num=4" to "--calib-data-num=4"; values stay as they are.
std::string with_hyphens(const std::string& argument) {
  if (!argument.starts_with("--")) return argument;
  std::string out = argument;
  const size_t end = std::min(out.find('='), out.size());
  std::replace(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(end), '_', '-');
  return out;
}

std::string first_flag(const std::string& names) {
  for (const std::string& name : CLI::detail::split(names, ',')) {
    if (name.starts_with("-")) return name;
  }
  return names;
}

/// `help` in lines of at most kWidth − kColumn characters, all but the first indented.
std::string wrapped(const std::string& help) {
  std::string out;
  size_t column = 0;
  for (const std::string& word : CLI::detail::split(help, ' ')) {
    if (column > 0 && column + 1 + word.size() > kWidth - kColumn) {
      out += "\n" + std::string(kColumn, ' ');
      column = 0;
    }
    if (column > 0) out += ' ';
    out += word;
    column += word.size() + (column > 0 ? 1 : 0);
  }
  return out;
}

}  // namespace

struct Options::Parser {
  CLI::App app;

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

Options::Options(std::string_view verb) : Options(find_verb(verb)) {}

Options::Options(const Verb& form) : verb_(form), parser_(new Parser) {
  parser_->app.set_help_flag("-h,--help");
  flags_ = {"--help"};
}

Options::~Options() = default;

void Options::add_line(const std::string& names, const std::string& label, const std::string& help,
                       const std::string& otherwise, Need need) {
  std::string shown, aliases;
  for (const std::string& name : CLI::detail::split(names, ',')) {
    if (name.starts_with("-")) flags_.push_back(name);
    if (!name.starts_with("-")) {
      const bool list = label.ends_with("...");
      const std::string position = name + (list ? "..." : "");
      positions_.push_back(need == Need::required ? position : "[" + position + "]");
    }
    (shown.empty() ? shown : aliases) += (aliases.empty() ? "" : ", ") + name;
  }
  if (shown.starts_with("-") && !label.empty()) shown += " " + label;
  if (shown.starts_with("-") && need == Need::required) positions_.push_back(shown);
  std::string text = help;
  if (!aliases.empty()) text += fmt::format(" (also {})", aliases);
  if (need == Need::required) text += " (required)";
  if (!otherwise.empty()) text += fmt::format(" [{}]", otherwise);
  lines_.push_back({shown, text});
}

void Options::text(const std::string& names, std::string& value, const std::string& label,
                   const std::string& help, Need need) {
  add_line(names, label, help, value, need);
  parser_->add(
      names, [&value](const std::string& given) { value = given; }, need);
}

void Options::texts(const std::string& names, std::vector<std::string>& values,
                    const std::string& label, const std::string& help, Need need) {
  add_line(names, label, help, "", need);
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
  add_line(names, "[N]", fmt::format("{}; {} when N is left out", help, alone), "", Need::optional);
  CLI::Option* option = parser_->add(
      names,
      [&value, limits, alone, flag = first_flag(names)](const std::string& given) {
        value = given.empty() ? alone : parse_integer(flag, given, limits);
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
  add_line(names, "", help, value ? "on" : "off", Need::optional);
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
  add_line(names, label, help, otherwise, Need::optional);
  parser_->add(
      names,
      [flag = first_flag(names), read = std::move(read)](const std::string& given) {
        try {
          read(given);
        } catch (const Error& error) {
          const std::string_view what = error.what();
          throw UsageError(what.starts_with(flag) ? std::string(what)
                                                  : fmt::format("{}: {}", flag, what));
        }
      },
      Need::optional);
}

void Options::model(std::string& value, Need need) {
  text("MODEL,--model,--ckpt", value, "FOLDER", "model folder: config.json and weights", need);
}

void Options::backend(Backend& value) {
  custom("--backend", "integer|simulate", "integer",
         "of low-bit models: 8-bit products in integers, or float arithmetic on rounded values",
         [&value](const std::string& given) {
           if (given != "integer" && given != "simulate") {
             throw UsageError(
                 fmt::format("--backend: expected integer or simulate, found \"{}\"", given));
           }
           value = given == "integer" ? Backend::integer : Backend::simulate;
         });
}

void Options::compute(Compute& value) {
  custom("--compute", "f32|bf16", value == Compute::f32 ? "f32" : "bf16",
         "precision of matrix products", [&value](const std::string& given) {
           if (given != "f32" && given != "bf16") {
             throw UsageError(fmt::format("--compute: expected f32 or bf16, found \"{}\"", given));
           }
           value = given == "f32" ? Compute::f32 : Compute::bf16;
         });
}

void Options::tokenizer(std::string& value) {
  text("--tokenizer", value, "FILE", "tokenizer.json to use instead of the model's own");
}

void Options::machine(int& threads) {
  integer("--threads", threads, {0, 4096}, "threads; 0: all processors");
  custom("--device", "cpu", "cpu", "scute computes on the processor", [](const std::string& given) {
    if (given == "cpu") return;
    throw UsageError(fmt::format(
        "--device: expected cpu, found \"{}\"; scute runs on the processor and needs no GPU",
        given));
  });
}

void Options::quiet(bool& value) { flag("--quiet,-q", value, "no progress on standard error"); }

void Options::json(bool& value) { flag("--json", value, "one JSON object instead of words"); }

std::string Options::help() const {
  std::string out =
      fmt::format("scute {}: {}\n\nusage: scute {}{}{} [options]\n\n", verb_.name, verb_.summary,
                  verb_.name, positions_.empty() ? "" : " ", joined(positions_, " "));
  auto lines = lines_;
  lines.push_back({"-h, --help", "this text"});
  for (const Line& line : lines) {
    const std::string left = "  " + line.left;
    const bool beside = left.size() + 2 <= kColumn;
    out += beside ? fmt::format("{:<{}}", left, kColumn) : left + "\n" + std::string(kColumn, ' ');
    out += wrapped(line.help) + "\n";
  }
  for (const std::string& sentence : notes_) out += "\n" + sentence + "\n";
  out += "\nexample:\n";
  for (const std::string& line : CLI::detail::split(std::string(verb_.example), '\n')) {
    out += "  " + line + "\n";
  }
  return out;
}

void Options::refuse_extra(const std::string& argument) const {
  if (!argument.starts_with("-")) {
    throw UsageError(
        fmt::format("unexpected argument \"{}\" (see scute {} --help)", argument, verb_.name));
  }
  const std::string name = argument.substr(0, argument.find('='));
  throw UsageError(fmt::format("unknown flag {}{} (see scute {} --help)", name,
                               did_you_mean(name, flags_), verb_.name));
}

bool Options::parse(const Arguments& arguments, Output& out) {
  std::vector<std::string> reversed;  // CLI11 takes its arguments from the back
  for (const std::string& argument : arguments) reversed.push_back(with_hyphens(argument));
  std::reverse(reversed.begin(), reversed.end());
  CLI::App& app = parser_->app;
  const auto refuse_unknown_flags = [&] {
    for (const std::string& extra : app.remaining()) {
      if (extra.starts_with("-")) refuse_extra(extra);
    }
  };
  try {
    app.allow_extras();
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    out.write(help());
    return false;
  } catch (const CLI::ParseError& error) {
    refuse_unknown_flags();  // a mistyped flag explains more than the required one it was to be
    std::string what = error.what();
    std::replace(what.begin(), what.end(), '\n', ' ');
    throw UsageError(fmt::format("{} (see scute {} --help)", what, verb_.name));
  }
  refuse_unknown_flags();
  if (!app.remaining().empty()) refuse_extra(app.remaining().front());
  return true;
}

}  // namespace scute::cli
