#include "cli/help.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "cli/choose.h"
#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/names.h"
#include "scute/kernels/gemm.h"

namespace scute::cli {
namespace {

constexpr std::array kKinds{ModelKind::language, ModelKind::cobra, ModelKind::regressor};

const Form* form_for(const Verb& verb, ModelKind kind) {
  const auto found = std::ranges::find(verb.forms, kind, &Form::kind);
  return found == verb.forms.end() ? nullptr : &*found;
}

/// "L C ." of a verb that regressors lack; empty when it works on no model.
std::string letters(const Verb& verb) {
  std::string out;
  bool any = false;
  for (const ModelKind kind : kKinds) {
    const bool there = form_for(verb, kind) != nullptr;
    any = any || there;
    const char letter = static_cast<char>(plural_of(kind)[0] & ~0x20);
    out += fmt::format("{}{}", out.empty() ? "" : " ", there ? letter : '.');
  }
  return any ? out : "";
}

std::string_view summary_of(const Verb& verb, const Form& form) {
  return form.summary.empty() ? verb.summary : form.summary;
}

}  // namespace

std::string overview() {
  Table table({{"verb", Table::Align::left}, {"", Table::Align::left}, {"", Table::Align::left}});
  for (const Verb& verb : verbs()) {
    table.add({"  " + std::string(verb.name), letters(verb), std::string(verb.summary)});
  }
  return "scute measures the activations of Mamba models and decides quantization ranges.\n\n"
         "usage: scute VERB [options]\n\n" +
         table.list() +
         "\nL C R: for language models, Cobra, regressors; scute MODEL says what there is\n"
         "for a model.\n"
         "scute VERB --help shows the forms of a verb, scute VERB MODEL --help every flag\n"
         "and an example; scute --version the version; scute --completion bash|zsh|fish\n"
         "what a shell needs to complete command lines.\n\n"
         "For every verb:\n"
         "  --color auto|always|never  auto: on a terminal, unless NO_COLOR is set\n"
         "  --wide                     tables and lines as wide as they are; without it they fit "
         "80 "
         "columns, in a pipe too, and a table says what it leaves out (--csv and --json, where "
         "there are, leave nothing out)\n\n"
         "Exit code 0: success, 1: the work failed, 2: wrong usage, 3: done, but not\n"
         "recorded (--log-failure ignore: 0), 130: interrupted.\n";
}

std::string forms_text(const Verb& verb) {
  std::string out = fmt::format("scute {}: {}\n\n", verb.name, verb.summary);
  std::string examples;
  Table table({{"", Table::Align::left}, {"", Table::Align::left}});
  for (const Form& form : verb.forms) {
    const std::string_view kind = form.kind ? plural_of(*form.kind) : "other files";
    table.add({fmt::format("  {}", kind), std::string(summary_of(verb, form))});
    std::string line = "  ";
    for (const char c : form.example) line += c == '\n' ? "\n  " : std::string(1, c);
    examples += line + "\n";
  }
  return out + table.list() +
         fmt::format("\nscute {} MODEL --help shows the flags for that model.\n\nexample:\n{}",
                     verb.name, examples);
}

std::string model_text(const std::string& path) {
  const ModelKind kind = kind_of(path);
  Table table({{"", Table::Align::left}, {"", Table::Align::left}});
  std::vector<std::string> others;
  for (const Verb& verb : verbs()) {
    if (const Form* form = form_for(verb, kind)) {
      table.add({"  " + std::string(verb.name), std::string(summary_of(verb, *form))});
    } else if (letters(verb).empty() && verb.name != "demo") {
      others.emplace_back(verb.name);
    }
  }
  return fmt::format(
      "{} is a {}\n\n{}\nscute VERB {} --help shows every flag and an example. On what they write: "
      "{}.\n",
      path, name_of(kind), table.list(), shell_word(path), joined(others, ", "));
}

std::string version_text() {
#ifdef __clang__
  constexpr const char* kCompiler = "Clang " __clang_version__;
#else
  constexpr const char* kCompiler = "GCC " __VERSION__;
#endif
  const std::string built = commit().empty() ? "" : fmt::format(" (commit {})", commit());
  return fmt::format("scute {}{}\ncompiler         {}\ninstruction sets {}\n", SCUTE_VERSION, built,
                     kCompiler, instruction_sets());
}

}  // namespace scute::cli
