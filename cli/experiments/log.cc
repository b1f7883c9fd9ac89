// scute log: the experiments so far, one of them, two against each other, and as other files.
#include "cli/experiments/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <optional>

#include "cli/experiments/experiment_text.h"
#include "cli/form.h"
#include "cli/terminal/options.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/decide/policy.h"
#include "scute/experiments/log_text.h"
#include "scute/experiments/mlflow.h"

namespace scute::cli {
namespace {

struct LogRequest {
  std::string log = "logs/percentile_experiments.jsonl", mlflow;
  std::vector<std::string> what, filters, compare;
  std::vector<double> alphas;
  std::optional<int64_t> last;
  bool csv = false, json = false, markdown = false;

  bool is(std::string_view word) const { return !what.empty() && what[0] == word; }

  void declare(Options& options);
  void check() const;
};

void say(const std::string& text) { std::fputs((printable(text) + "\n").c_str(), stderr); }

/// Of a local time as records have it; 0 for anything else.
int64_t milliseconds(const std::string& time) {
  std::tm parts{};
  const char* end = ::strptime(time.c_str(), "%Y-%m-%d %H:%M:%S", &parts);
  if (end == nullptr || *end != '\0') return 0;
  parts.tm_isdst = -1;
  return std::max<int64_t>(0, 1000 * int64_t{std::mktime(&parts)});
}

void LogRequest::declare(Options& options) {
  options.texts("WHAT", what, "WHAT...",
                "show N: one experiment; activations FILE: what any percentile would clip of saved "
                "activations (.npz); nothing: the list");
  options.text("--log,--log-file", log, "FILE", "the experiment log");
  options.integer("--last", last, {1}, "all", "the newest ones, after filtering");
  options.texts("--filter", filters, "TERM...",
                "only those with this in model or command, or with this \"KEY: VALUE\" in the "
                "configuration, e.g. 'percentile_alpha: 1.0'; of several, all must match");
  options.custom("--compare", "I,J", "",
                 "two experiments, by number (-1: the last) or the first digits of an id: what "
                 "differs, and whether it is more than noise",
                 [this](const std::string& given) {
                   compare = words_of({given});
                   if (compare.size() != 2) {
                     fail("--compare", "two experiments, I,J", fmt::format("\"{}\"", given));
                   }
                 });
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

void LogRequest::check() const {
  const bool list = what.empty() && compare.empty();
  if (!list && !(is("show") && what.size() == 2) && !(is("activations") && what.size() == 2) &&
      !(what.empty() && !compare.empty())) {
    throw UsageError(
        "expected scute log, scute log show N, scute log --compare I,J or scute log activations "
        "FILE (see scute log --help)");
  }
  if (!what.empty() && !compare.empty()) {
    throw UsageError(fmt::format("expected {} or --compare, found both", what[0]));
  }
  if (!list && (csv || markdown || !mlflow.empty() || !filters.empty() || last)) {
    throw UsageError(
        "--csv, --markdown, --mlflow, --filter and --last go with the list; numbers of experiments "
        "are those of the whole log");
  }
  if (!alphas.empty() && !is("activations")) {
    throw UsageError("--percentile-alpha goes with activations FILE");
  }
  const int forms = int{csv} + int{json} + int{markdown};
  if (forms > 1) throw UsageError("expected one of --csv, --json and --markdown, found several");
}

ExperimentLog open_log(const std::string& path) {
  try {
    return read_log(path);
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

void list(const ExperimentLog& log, const LogRequest& request, Output& out) {
  const Entries entries = selected(log, request);
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
    out.write(log_csv(entries));
  } else if (request.json) {
    out.write_json(list_json(log, entries));
  } else if (request.markdown) {
    out.write(list_markdown(entries));
  } else if (!entries.empty() && request.mlflow.empty()) {
    out.write(list_text(entries));
  }
}

void compare_two(const ExperimentLog& log, const LogRequest& request, Output& out) {
  const LogEntry &a = log.find(request.compare[0]), &b = log.find(request.compare[1]);
  if (request.json) {
    out.write_json(compare_json(log, a, b));
  } else {
    out.write(compare_text(log, a, b));
  }
}

void show(const ExperimentLog& log, const LogRequest& request, Output& out) {
  const Json record = log.find(request.what[1]).record(log.path);
  if (request.json) {
    out.write_json(record);
  } else {
    out.write(summary_text(record));
  }
}

int run(LogRequest& request, const Call&, Output& out) {
  if (request.is("activations")) {
    show_activations(request.what[1], request.alphas, request.json, out);
    return kDone;
  }
  const ExperimentLog log = open_log(request.log);
  for (const std::string& remark : log.remarks) say(log.path + ", " + remark);
  if (!request.compare.empty()) {
    compare_two(log, request, out);
  } else if (request.is("show")) {
    show(log, request, out);
  } else {
    list(log, request, out);
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
