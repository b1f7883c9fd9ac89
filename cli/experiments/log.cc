// scute log: the experiments so far, one of them, two against each other, and as other files.
#include "cli/experiments/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <optional>

#include "cli/experiments/experiment_text.h"
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
};

void note(const std::string& text) { std::fputs((printable(text) + "\n").c_str(), stderr); }

/// Of a local time as records have it; 0 for anything else.
int64_t milliseconds(const std::string& time) {
  std::tm parts{};
  const char* end = ::strptime(time.c_str(), "%Y-%m-%d %H:%M:%S", &parts);
  if (end == nullptr || *end != '\0') return 0;
  parts.tm_isdst = -1;
  return std::max<int64_t>(0, 1000 * int64_t{std::mktime(&parts)});
}

bool parse(const Arguments& arguments, Output& out, LogRequest& request) {
  Options options("log");
  options.texts("WHAT", request.what, "WHAT...",
                "show N: one experiment; activations FILE: what any percentile would clip of saved "
                "activations (.npz); nothing: the list");
  options.text("--log,--log-file", request.log, "FILE", "the experiment log");
  options.integer("--last", request.last, {1}, "all", "the newest ones, after filtering");
  options.texts("--filter", request.filters, "TERM...",
                "only those with this in model or command, or with this \"KEY: VALUE\" in the "
                "configuration, e.g. 'percentile_alpha: 1.0'; of several, all must match");
  options.custom("--compare", "I,J", "",
                 "two experiments, by number (-1: the last) or the first digits of an id: what "
                 "differs, and whether it is more than noise",
                 [&](const std::string& given) {
                   request.compare = words_of({given});
                   if (request.compare.size() != 2) {
                     fail("--compare", "two experiments, I,J", fmt::format("\"{}\"", given));
                   }
                 });
  options.custom(
      "--percentile-alpha", "A,B...", "that of the file's name, or 0.9995,0.99999,1",
      "with activations: shares of values kept; 50 to 100: in percent",
      [&](const std::string& given) {
        for (const std::string& one : words_of({given})) {
          request.alphas.push_back(share_of(parse_number("--percentile-alpha", one, 0, 100)));
        }
      });
  options.flag("--csv", request.csv, "a line an experiment, comma-separated, a title line first");
  options.flag("--markdown", request.markdown, "the list as a table for GitHub");
  options.text("--mlflow", request.mlflow, "DIR",
               "write the list as runs of an MLflow file store; an experiment folder there that "
               "lacks scute's tag scute.log is never touched");
  options.json(request.json);
  return options.parse(arguments, out);
}

void check(const LogRequest& r) {
  const bool list = r.what.empty() && r.compare.empty();
  if (!list && !(r.is("show") && r.what.size() == 2) &&
      !(r.is("activations") && r.what.size() == 2) && !(r.what.empty() && !r.compare.empty())) {
    throw UsageError(
        "expected scute log, scute log show N, scute log --compare I,J or scute log activations "
        "FILE (see scute log --help)");
  }
  if (!r.what.empty() && !r.compare.empty()) {
    throw UsageError(fmt::format("expected {} or --compare, found both", r.what[0]));
  }
  if (!list && (r.csv || r.markdown || !r.mlflow.empty() || !r.filters.empty() || r.last)) {
    throw UsageError(
        "--csv, --markdown, --mlflow, --filter and --last go with the list; numbers of experiments "
        "are those of the whole log");
  }
  if (!r.alphas.empty() && !r.is("activations")) {
    throw UsageError("--percentile-alpha goes with activations FILE");
  }
  const int forms = int{r.csv} + int{r.json} + int{r.markdown};
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
    note(log.entries.empty()
             ? fmt::format("{}: no experiment yet; scute run adds one", log.path)
             : fmt::format("{}: {}", log.path, no_match_text(log, request.filters)));
  }
  if (!request.mlflow.empty()) {
    const MlflowExport done = write_mlflow(request.mlflow, log, entries, milliseconds);
    note(fmt::format("{}: {} written, {} there already, as experiment \"{}\" ({})", request.mlflow,
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

}  // namespace

int run_log(const Arguments& arguments, Output& out) {
  LogRequest request;
  if (!parse(arguments, out, request)) return kDone;
  check(request);
  if (request.is("activations")) {
    show_activations(request.what[1], request.alphas, request.json, out);
    return kDone;
  }
  const ExperimentLog log = open_log(request.log);
  for (const std::string& remark : log.remarks) note(log.path + ", " + remark);
  if (!request.compare.empty()) {
    compare_two(log, request, out);
  } else if (request.is("show")) {
    show(log, request, out);
  } else {
    list(log, request, out);
  }
  return kDone;
}

}  // namespace scute::cli
