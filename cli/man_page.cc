#include "cli/man_page.h"

#include <fmt/format.h>

#include "cli/choose.h"
#include "cli/terminal/options.h"
#include "cli/verbs.h"

namespace scute::cli {
namespace {

/// Text as roff takes it: no line of it is a request, hyphens can be copied.
std::string roff(std::string_view text) {
  std::string out;
  bool first = true;
  for (const char c : text) {
    if (first && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
    first = c == '\n';
  }
  return out;
}

std::string heading(std::string_view name) {
  return fmt::format(".TH {} 1 \"\" \"scute {}\" \"User Commands\"\n", name, SCUTE_VERSION);
}

constexpr std::string_view kExitStatus = R"(.SH EXIT STATUS
0 success; 1 the work failed; 2 wrong usage; 3 done, but not recorded; 130 interrupted.
)";

std::string example_text(std::string_view example) {
  return fmt::format(".PP\n.nf\n.RS\n{}\n.RE\n.fi\n", roff(example));
}

/// One form's flags: a paragraph each.
std::string flags_text(const Form& form) {
  std::string out;
  for (const FlagInfo& flag : form.flags()) {
    const std::string& name = flag.names.front();
    const bool position = !name.starts_with("-");
    out += fmt::format(".TP\n\\fB{}\\fR", roff(name));
    if (!position && !flag.label.empty()) out += fmt::format(" \\fI{}\\fR", roff(flag.label));
    out += fmt::format("\n{}\n", roff(text_of(flag)));
  }
  return out;
}

std::string verb_page(const Verb& verb) {
  std::string out = heading(fmt::format("scute\\-{}", verb.name));
  out += fmt::format(".SH NAME\nscute\\-{} \\- {}\n.SH SYNOPSIS\n\\fBscute {}\\fR [options]\n",
                     verb.name, roff(verb.summary), verb.name);
  for (const Form& form : verb.forms) {
    const std::string kind = form.kind ? std::string(plural_of(*form.kind)) : "";
    out += fmt::format(".SH OPTIONS{}\n{}\n", kind.empty() ? "" : " FOR " + kind,
                       roff(form.summary.empty() ? verb.summary : form.summary));
    out += flags_text(form) + ".PP\nExample:\n" + example_text(form.example);
  }
  return out + std::string(kExitStatus) + ".SH SEE ALSO\n\\fBscute\\fR(1)\n";
}

std::string program_page() {
  std::string out = heading("scute");
  out +=
      ".SH NAME\nscute \\- measures the activations of Mamba models and decides quantization "
      "ranges\n.SH SYNOPSIS\n\\fBscute\\fR \\fIVERB\\fR [options]\n.SH VERBS\n";
  for (const Verb& verb : verbs()) {
    out += fmt::format(".TP\n\\fB{}\\fR\n{}; see \\fBscute\\-{}\\fR(1)\n", verb.name,
                       roff(verb.summary), verb.name);
  }
  out +=
      ".SH OPTIONS\n.TP\n\\fB\\-\\-color\\fR \\fIauto|always|never\\fR\nauto: on a terminal, "
      "unless "
      "NO_COLOR is set\n.TP\n\\fB\\-\\-wide\\fR\ntables and lines as wide as they are\n.TP\n"
      "\\fB\\-\\-completion\\fR \\fIbash|zsh|fish\\fR\nwhat that shell needs to complete command "
      "lines\n.TP\n\\fB\\-\\-man\\fR [\\fIVERB\\fR]\nthis page, or that of a verb, for man\n.TP\n"
      "\\fB\\-\\-version\\fR\nversion, compiler and instruction sets\n";
  return out + std::string(kExitStatus);
}

}  // namespace

std::string man_page(std::string_view verb) {
  return verb.empty() ? program_page() : verb_page(find_verb(verb));
}

}  // namespace scute::cli
