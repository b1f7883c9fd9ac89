// scute log: the experiments so far, one of them, two against each other, and as other files.
#include "cli/experiments/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <ctime>
#include <optional>

#include "cli/experiments/experiment_text.h"
#include "cli/form.h"
#include "cli/terminal/launcher.h"
#include "cli/terminal/options.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/decide/policy.h"
#include "scute/experiments/home_folder.h"
#include "scute/experiments/log_text.h"
#include "scute/experiments/mlflow.h"

namespace scute::cli {
namespace {

enum class Asks { list, show, compare, activations };

struct LogRequest {
  std::string log = "logs/percentile_experiments.jsonl", mlflow;
  std::vector<std::string> words, filters, compared;
  std::vector<double> alphas;
  std::optional<int64_t> last;
  bool csv = false, json = false, markdown = false, zero_based = false;

  Asks asks = Asks::list;          ///< what `words` and --compare ask for
  std::vector<std::string> which;  ///< experiments, or the file

  void declare(Options& options);
  void check();

 private:
  void understand();
};

void say(const std::string& text) { std::fputs((printable_line(text) + "\n").c_str(), stderr); }

/// Of a local time as records have it; 0 for anything else.
int64_t milliseconds(const std::string& time) {
  std::tm parts{};
  const char* end = ::strptime(time.c_str(), "%Y-%m-%d %H:%M:%S", &parts);
  if (end == nullptr || *end != '\0') return 0;
  parts.tm_isdst = -1;
  return std::max<int64_t>(0, 1000 * int64_t{std::mktime(&parts)});
}

void LogRequest::declare(Options& options) {
  options.texts("WHAT", words, "WHAT...",
                "show N, or N alone: one experiment; compare I J, or I J alone: what differs, and "
                "whether it is more than noise; activations FILE: what any percentile would clip "
                "of saved activations (.npz); nothing: the list. Experiments go by number (the "
                "first is 1, the last also -1) or the first digits of an id");
  options.text("--log,--log-file", log, "FILE", "the experiment log");
  options.integer("--last", last, {1}, "all",
                  "the newest ones, after filtering; of 1 all that show tells");
  options.texts("--filter", filters, "TERM...",
                "only those with this in model or command, or with this \"KEY: VALUE\" in the "
                "configuration, e.g. 'percentile_alpha: 1.0'; of several, all must match");
  options.custom("--compare", "I,J", "", "as compare I J",
                 [this](const std::string& given) { compared = words_of({given}); });
  options.flag("--zero-based", zero_based,
               "numbers count from 0, as view_percentile_logs.py counts them");
  options.custom("--percentile-alpha", "A,B...", "that of the file's name, or 0.9995,0.99999,1",
                 "with activations: shares of values kept; 50 to 100: in percent",
                 [this](const std::string& given) {
                   for (const std::string& one : words_of({given})) {
                     alphas.push_back(share_of(parse_number("--percentile-alpha", one, 0, 100)));
                   }
                 });
  options.flag("--csv", csv, "a line an experiment, comma-separated, a title line first");
  options.flag("--markdown", markdown, "the list as a table for GitHub");
  options.text("--mlflow", mlflow, "DIR",
               "write the list as runs of an MLflow file store; an experiment folder there that "
               "lacks scute's tag scute.log is never touched");
  options.json(json);
}

/// What is asked for. "--compare 1 2" leaves the second number to `words`.
void LogRequest::understand() {
  which = words;
  if (!compared.empty()) {
    asks = Asks::compare;
    which.insert(which.begin(), compared.begin(), compared.end());
    return;
  }
  if (words.empty()) return;
  constexpr std::array kVerbs{std::pair{"list", Asks::list}, std::pair{"show", Asks::show},
                              std::pair{"compare", Asks::compare},
                              std::pair{"activations", Asks::activations}};
  for (const auto& [verb, meaning] : kVerbs) {
    if (words[0] != verb) continue;
    asks = meaning;
    which.erase(which.begin());
    if (meaning == Asks::compare) which = words_of(which);
    return;
  }
  which = words_of(words);
  asks = which.size() == 1 ? Asks::show : Asks::compare;
}

void LogRequest::check() {
  understand();
  const size_t needed = asks == Asks::list ? 0 : asks == Asks::compare ? 2 : 1;
  if (which.size() != needed) {
    throw UsageError(
        "expected scute log, scute log show N, scute log compare I J or scute log activations "
        "FILE (see scute log --help)");
  }
  if (asks != Asks::list && (csv || markdown || !mlflow.empty() || !filters.empty() || last)) {
    throw UsageError(
        "--csv, --markdown, --mlflow, --filter and --last go with the list; numbers of experiments "
        "are those of the whole log");
  }
  if (zero_based && asks != Asks::show && asks != Asks::compare) {
    throw UsageError("--zero-based goes with show and compare");
  }
  if (!alphas.empty() && asks != Asks::activations) {
    throw UsageError("--percentile-alpha goes with activations FILE");
  }
  const int forms = int{csv} + int{json} + int{markdown};
  if (forms > 1) throw UsageError("expected one of --csv, --json and --markdown, found several");
}

ExperimentLog open_log(const std::string& path) {
  try {
    ExperimentLog log = read_log(path);
    if (log.entries.empty() && !log.remarks.empty() && !log.cut_short) {
      fail(path, "a log: an experiment a line, as scute run adds them",
           fmt::format("none; {}", log.remarks.front()));
    }
    return log;
  } catch (const Error& error) {
    throw Error(fmt::format("{}; scute run writes this log, --log names another", error.what()));
  }
}

Entries selected(const ExperimentLog& log, const LogRequest& request) {
  Entries out;
  for (const LogEntry& entry : log.entries) {
    const bool all = std::ranges::all_of(
        request.filters, [&](const std::string& term) { return matches(entry, term); });
    if (all) out.push_back(&entry);
  }
  if (request.last && std::cmp_greater(out.size(), *request.last)) {
    out.erase(out.begin(), out.end() - *request.last);
  }
  return out;
}

void show(const ExperimentLog& log, const LogEntry& entry, bool json, Output& out) {
  const Json record = entry.record(log.path);
  if (json) {
    out.write_json(record);
  } else {
    out.write(summary_text(record));
  }
}

void list(ExperimentLog& log, const LogRequest& request, Output& out) {
  const Entries entries = selected(log, request);
  const bool handed_on = request.csv || request.markdown || !request.mlflow.empty();
  if (handed_on) home_as_tilde(log, environment("HOME").value_or(""));
  if (entries.empty()) {
    say(log.entries.empty() ? fmt::format("{}: no experiment yet; scute run adds one", log.path)
                            : fmt::format("{}: {}", log.path, no_match_text(log, request.filters)));
  }
  if (!request.mlflow.empty()) {
    const MlflowExport done = write_mlflow(request.mlflow, log, entries, milliseconds);
    say(fmt::format("{}: {} written, {} there already, as experiment \"{}\" ({})", request.mlflow,
                    count_of(done.runs, "run"), done.kept, done.experiment_name,
                    done.experiment_id));
  }
  if (request.csv) {
    out.write_lines(log_csv(entries));
  } else if (request.json) {
    out.write_json(list_json(log, entries));
  } else if (request.markdown) {
    out.write_lines(list_markdown(entries));
  } else if (request.last == 1 && !entries.empty()) {
    show(log, *entries.front(), false, out);
  } else if (!entries.empty() && request.mlflow.empty()) {
    out.write(list_text(entries));
  }
}

/// By the number that is meant, or by id.
const LogEntry& find(const ExperimentLog& log, const std::string& which, bool zero_based) {
  const bool number =
      !which.empty() && which.size() < 10 &&
      std::ranges::all_of(which, [](unsigned char c) { return std::isdigit(c) != 0; });
  if (number && zero_based) return log.find(std::to_string(std::stoll(which) + 1));
  if (number && std::stoll(which) == 0) {
    throw UsageError(
        "expected numbers as scute log lists them, from 1, found 0; --zero-based counts from 0");
  }
  return log.find(which);
}

void compare_two(const ExperimentLog& log, const LogEntry& a, const LogEntry& b, bool json,
                 Output& out) {
  if (json) {
    out.write_json(compare_json(log, a, b));
  } else {
    out.write(compare_text(log, a, b));
  }
}

int run(LogRequest& request, const Call&, Output& out) {
  if (request.asks == Asks::activations) {
    show_activations(request.which[0], request.alphas, request.json, out);
    return kDone;
  }
  ExperimentLog log = open_log(request.log);
  for (const std::string& remark : log.remarks) say(log.path + ", " + remark);
  if (request.asks == Asks::list) {
    list(log, request, out);
    return kDone;
  }
  const LogEntry& first = find(log, request.which[0], request.zero_based);
  if (request.asks == Asks::show) {
    show(log, first, request.json, out);
  } else {
    compare_two(log, first, find(log, request.which[1], request.zero_based), request.json, out);
  }
  return kDone;
}

}  // namespace

Form log_form() {
  return form<LogRequest>(
      {.example = "scute run examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples "
                  "32 --percentile-alpha 0.9995 --log logs/percentile_experiments.jsonl\n"
                  "scute log --last 5"});
}

}  // namespace scute::cli
