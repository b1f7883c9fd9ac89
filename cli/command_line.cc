#include "cli/command_line.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <new>

#include "cli/help.h"
#include "cli/man_page.h"
#include "cli/shell_completion.h"
#include "cli/terminal/color.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/lost_input.h"
#include "cli/terminal/options.h"
#include "cli/terminal/width.h"
#include "cli/terminal/words.h"
#include "cli/verbs.h"
#include "scute/base/error.h"
#include "scute/base/json.h"

namespace scute::cli {
namespace {

bool is_help(const std::string& word) { return word == "--help" || word == "-h" || word == "help"; }

/// Whether a first word that is no verb is meant as a model.
bool is_path(const std::string& word) {
  std::error_code unreadable;
  const bool verb = std::ranges::count(verbs(), word, &Verb::name) > 0;
  return !verb && !word.starts_with("-") &&
         (word.find('/') != std::string::npos || std::filesystem::exists(word, unreadable));
}

int run(const Arguments& arguments, Output& out) {
  if (arguments.empty() || (is_help(arguments[0]) && arguments.size() == 1)) {
    out.write(overview());
    return kDone;
  }
  if (arguments[0] == "--version") {
    if (arguments.size() > 1) {
      throw UsageError(fmt::format("--version: expected no value, found \"{}\"", arguments[1]));
    }
    out.write(version_text());
    return kDone;
  }
  if (arguments[0] == "--completion" || arguments[0] == "--man") {
    if (arguments.size() > 2) {
      throw UsageError(fmt::format("{}: expected one word behind it, found \"{}\" too",
                                   arguments[0], arguments[2]));
    }
    const std::string_view what = arguments.size() > 1 ? std::string_view(arguments[1]) : "";
    out.write_lines(arguments[0] == "--man" ? man_page(what) : shell_completion(what));
    return kDone;
  }
  const bool help = is_help(arguments[0]);
  if (is_path(arguments[help ? 1 : 0])) {
    const std::string& model = arguments[help ? 1 : 0];
    const auto next =
        std::ranges::find_if_not(arguments.begin() + (help ? 2 : 1), arguments.end(), is_help);
    if (next != arguments.end()) {
      throw UsageError(
          fmt::format("expected a verb before {}, found \"{}\" behind it; scute VERB {}", model,
                      *next, shell_word(model)));
    }
    out.write(model_text(model));
    return kDone;
  }
  if (!help) return run_command(arguments, out);
  Arguments words{arguments.begin() + 1, arguments.end()};
  words.emplace_back("--help");
  return run_command(words, out);
}

/// On standard error: a line, or with --json an object.
int report(int code, std::string text, bool json) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  text = printable_line(text);
  std::string line = tinted("scute: error:", Tint::bad, stderr) + " " + text;
  if (json) {
    Json error;
    error["error"] = text;
    error["exit_code"] = code;
    line = error.dump();
  }
  std::fputs((line + "\n").c_str(), stderr);
  return code;
}

/// Takes --color WHEN and --wide, which every verb has, out of the words.
void take_general_flags(Arguments& words) {
  for (size_t i = 0; i < words.size() && words[i] != "--"; ++i) {
    constexpr std::string_view kFlag = "--color";
    if (words[i].starts_with("--wide=")) {
      throw UsageError("--wide: expected no value, found \"" + words[i].substr(7) + "\"");
    }
    if (words[i] == "--wide") {
      choose_width(true);
    } else if (words[i] == kFlag) {
      choose_colors(i + 1 < words.size() ? words[i + 1] : "");
      words.erase(words.begin() + static_cast<std::ptrdiff_t>(i + 1));
    } else if (words[i].starts_with("--color=")) {
      choose_colors(std::string_view(words[i]).substr(kFlag.size() + 1));
    } else {
      continue;
    }
    words.erase(words.begin() + static_cast<std::ptrdiff_t>(i--));
  }
}

/// A closed one would be the next file that is opened: read as standard input, or written into. So
/// each is a device that can neither.
void fill_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) < 0) {
      [[maybe_unused]] const int filled =
          ::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
  }
}

int run_reporting(Arguments arguments) {
  Output out(Output::To::standard_output);
  const bool json = std::ranges::count(arguments, "--json") > 0;
  try {
    int code = kDone;
    try {
      take_general_flags(arguments);
      code = run(arguments, out);
    } catch (...) {
      out.finish();  // what was found before the error is still shown
      throw;
    }
    out.finish();
    return code;
  } catch (const UsageError& error) {
    return report(kWrongUsage, error.what(), json);
  } catch (const std::bad_alloc&) {
    return report(kFailed, "memory: expected enough, found none left; fewer --threads need less",
                  json);
  } catch (const std::exception& error) {
    return report(kFailed, error.what(), json);
  }
}

}  // namespace

int command_line(const Arguments& words) {
  // A closed pipe is then an error of write(), which Output understands, instead of death.
  ::signal(SIGPIPE, SIG_IGN);
  // So does a file that would grow beyond what the shell allows: a full disk then.
  ::signal(SIGXFSZ, SIG_IGN);
  choose_colors("auto");
  choose_width(false);
  fill_standard_streams();
  end_on_signals();
  name_lost_inputs();
  return run_reporting(words);
}

}  // namespace scute::cli
