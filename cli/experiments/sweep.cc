// scute sweep: every combination of models, rules and bits, each measured model once; ranked.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "cli/experiments/experiment_flags.h"
#include "cli/experiments/experiment_text.h"
#include "cli/form.h"
#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/experiments/fields.h"
#include "scute/experiments/log.h"
#include "scute/experiments/ranking.h"
#include "scute/experiments/run.h"
#include "scute/io/file.h"

namespace scute::cli {
namespace {

namespace fs = std::filesystem;

struct SweepRequest {
  std::vector<std::string> models, alphas, policies;
  bool with_float = false;
  ExperimentFlags flags;

  void declare(Options& options);
  void check() const;
};

/// Rule and share of one combination.
struct Rule {
  std::string policy;
  std::optional<double> alpha;
};

bool keeps_share(const std::string& policy) {
  const Policy parsed = Policy::parse(policy);
  const bool kind = parsed.kind == PolicyKind::percentile || parsed.kind == PolicyKind::quamba;
  return kind && policy.find(':') == std::string::npos;
}

/// Rules that keep a share are combined with every alpha.
std::vector<Rule> rules_of(const SweepRequest& request) {
  std::vector<double> alphas;
  for (const std::string& word : words_of(request.alphas)) {
    try {
      alphas.push_back(Policy::parse("percentile:" + word).alpha);
    } catch (const Error& error) {
      throw UsageError(fmt::format("--percentile-alphas: {}", error.what()));
    }
  }
  std::vector<std::string> policies = words_of(request.policies);
  if (policies.empty()) policies.emplace_back(alphas.empty() ? "auto" : "quamba");
  std::vector<Rule> out;
  bool used = alphas.empty();
  for (const std::string& policy : policies) {
    try {
      if (!keeps_share(policy) || alphas.empty()) {
        out.push_back({policy, std::nullopt});
        continue;
      }
    } catch (const Error& error) {
      throw UsageError(fmt::format("--policies: {}", error.what()));
    }
    used = true;
    for (const double alpha : alphas) out.push_back({policy, alpha});
  }
  if (!used) {
    throw UsageError(
        "--percentile-alphas: expected percentile or quamba among --policies, found neither");
  }
  return out;
}

/// Every combination for one model; activations of 16 bits are decided by no rule.
std::vector<Setting> settings_of(const SweepRequest& request, const std::string& command) {
  std::vector<Setting> out;
  std::vector<LayerFormat> formats = request.flags.quantize.formats();
  if (request.with_float) formats.insert(formats.begin(), LayerFormat{16, 16});
  for (const LayerFormat& format : formats) {
    const auto rules = format.eight_bit_activations() ? rules_of(request)
                                                      : std::vector<Rule>{{"auto", std::nullopt}};
    for (const Rule& rule : rules) {
      Setting setting = request.flags.setting(command);
      setting.quantize.format = format;
      set_rule(setting, rule.policy, rule.alpha);
      if (format.is_float()) setting.quantize.gptq = setting.quantize.group_heads = false;
      out.push_back(std::move(setting));
    }
  }
  return out;
}

void SweepRequest::declare(Options& options) {
  options.models(models);
  options.texts("--percentile-alphas", alphas, "A,...",
                "shares of values to keep; rules that keep a share are tried with each");
  options.texts("--policies", policies, "POLICY,...",
                "rules to try; without it quamba with --percentile-alphas, else auto");
  options.flag("--with-float", with_float, "score the float model too");
  flags.declare(options, QuantizeFlags::Bits::lists);
}

void SweepRequest::check() const {
  flags.check();
  rules_of(*this);
  if (words_of(models).empty()) throw UsageError("--models: expected folders, found none");
  if (!alphas.empty() && words_of(alphas).empty()) {
    throw UsageError("--percentile-alphas: expected numbers, found none");
  }
}

/// Whether the log holds the experiment with everything that is asked for now.
bool is_finished(const std::string& log_path, const std::string& key, const Setting& setting,
                 bool scored) {
  std::error_code unreadable;
  if (!fs::exists(log_path, unreadable)) return false;
  const ExperimentLog log = read_log(log_path);
  return std::ranges::any_of(log.entries, [&](const LogEntry& entry) {
    if (text_field(entry.hashes, {"experiment"}) != key) return false;
    const std::string items = path_beside(log.folder(), text_field(entry.files, {"items"}));
    if (scored && (field(entry.results, {"tasks"}) == nullptr || !fs::exists(items, unreadable))) {
      return false;
    }
    if (!setting.checkpoint.empty() && !fs::exists(setting.checkpoint, unreadable)) return false;
    return !setting.save_activations ||
           !text_field(entry.record(log_path), {"activation_data_file"}).empty();
  });
}

struct Tally {
  std::vector<std::string> keys;  ///< of all combinations, in order
  int64_t run = 0, skipped = 0, passes = 0;
  std::set<std::string> folders;      ///< of checkpoints
  std::vector<std::string> failures;  ///< what did not work; the others are run all the same
};

void run_model(const SweepRequest& request, const std::string& model, const std::string& command,
               ExperimentWatch& watch, Output& out, Tally& tally) {
  const std::string& log = request.flags.shared.log;
  Subject subject(request.flags.subject(model), watch.how());
  for (Setting& setting : settings_of(request, command)) {
    const std::string key = subject.key(setting);
    if (std::ranges::find(tally.keys, key) != tally.keys.end()) continue;  // asked for twice
    tally.keys.push_back(key);
    setting.checkpoint = checkpoint_folder(request.flags, subject.model().name, setting);
    if (!setting.checkpoint.empty() && !tally.folders.insert(setting.checkpoint).second) {
      tally.failures.push_back(
          fmt::format("{}: two models of this sweep would be kept there", setting.checkpoint));
      continue;
    }
    // Read again each time: others may work on the same sweep.
    if (is_finished(log, key, setting, !request.flags.subject(model).score.empty())) {
      ++tally.skipped;
      continue;
    }
    Experiment experiment;
    try {
      experiment = subject.run(setting);
    } catch (const Error& error) {
      if (watch.interrupted() != 0) throw;
      tally.failures.emplace_back(error.what());
      continue;
    }
    watch.finish_bar();
    show_warnings(experiment, log, out, request.flags.job.json);
    ++tally.run;
    const Json* timing = experiment.record.find("timing");
    const double collect = number_field(*timing, {"collect"}).value_or(0);
    if (collect > 0) ++tally.passes;
    note(request.flags.job.quiet,
         fmt::format(
             "{} {} {}: {}", subject.model().name, setting.quantize.format.name(),
             setting.alpha ? fmt::format("{} {}", setting.policy, *setting.alpha) : setting.policy,
             duration_text(number_field(*timing, {"total"}).value_or(0))));
  }
}

/// The last entry of each key, in the order of the keys.
std::vector<const LogEntry*> entries_of(const ExperimentLog& log,
                                        const std::vector<std::string>& keys) {
  std::vector<const LogEntry*> out;
  for (const std::string& key : keys) {
    const auto found = std::find_if(log.entries.rbegin(), log.entries.rend(), [&](const auto& e) {
      return text_field(e.hashes, {"experiment"}) == key;
    });
    if (found == log.entries.rend()) continue;  // could not be recorded: a warning said so
    if (std::ranges::find(out, &*found) == out.end()) out.push_back(&*found);
  }
  return out;
}

/// Of a ratio in percent, else as the metric's unit is shown.
std::string difference_text(const Difference& d) {
  if (d.verdict == Difference::Verdict::not_comparable) return "-";
  if (d.ratio) return fmt::format("{:+.3f} ± {:.3f}", 100 * d.difference, 100 * d.standard_error);
  const ShownUnit unit = shown_unit(d.metric.unit);
  const double change = unit.factor * d.difference, error = unit.factor * d.standard_error;
  return unit.digits ? fmt::format("{:+.{}f} ± {:.{}f}", change, *unit.digits, error, *unit.digits)
                     : fmt::format("{:+.3g} ± {:.2g}", change, error);
}

/// The metrics of a ranking's table: of those that share a heading the first that there is.
std::vector<Metric> metrics_of(const Ranking& ranking) {
  std::vector<Metric> out;
  for (const RankedExperiment& ranked : ranking.experiments) {
    for (const MetricScore& one : ranked.score) {
      const std::string& heading = one.metric.words.heading;
      const bool shown = std::ranges::any_of(
          out, [&](const Metric& metric) { return metric.words.heading == heading; });
      if (!heading.empty() && !shown) out.push_back(one.metric);
    }
  }
  return out;
}

/// What the differences from the best mean, a line an experiment.
std::string verdicts_of(const Ranking& ranking, const std::vector<Metric>& metrics) {
  std::string out;
  for (const RankedExperiment& ranked : ranking.experiments) {
    std::vector<std::string> verdicts;
    for (const Difference& d : ranked.against_best) {
      if (std::ranges::find(metrics, d.metric.name, &Metric::name) == metrics.end()) continue;
      verdicts.push_back(d.metric.words.brief + " " + verdict_text(d));
    }
    if (verdicts.empty()) continue;
    out += fmt::format("  {}: {}\n", setting_text(*ranked.entry), joined(verdicts, "; "));
  }
  return out;
}

/// "perplexity", "last word %"; and of the differences from the best "to best %", "…, points".
std::vector<Table::Column> columns_of(const std::vector<Metric>& metrics) {
  std::vector<Table::Column> out{{"no."}, {"setting", Table::Align::left}};
  for (const Metric& metric : metrics) {
    const std::string unit = shown_unit(metric.unit).unit;
    out.push_back({metric.words.brief + (unit.empty() ? "" : " " + unit)});
    const bool ratio = metric.form == MetricForm::perplexity || metric.form == MetricForm::ratio;
    out.push_back({ratio ? "to best %" : unit == "%" ? "to best, points" : "to best"});
  }
  return out;
}

void add_cells(const RankedExperiment& ranked, const Metric& metric, bool best,
               std::vector<std::string>& row) {
  std::string value = "-", difference = best ? "best" : "";
  for (const MetricScore& one : ranked.score) {
    if (one.metric.name != metric.name) continue;
    const ShownUnit unit = shown_unit(metric.unit);
    value = score_text(one);
    if (!unit.unit.empty()) value.resize(value.size() - unit.unit.size() - 1);  // in the title
  }
  for (const Difference& d : ranked.against_best) {
    if (d.metric.name == metric.name) difference = difference_text(d);
  }
  row.push_back(value);
  row.push_back(difference);
}

std::string table_of(const Ranking& ranking) {
  const std::vector<Metric> metrics = metrics_of(ranking);
  Table table(columns_of(metrics));
  for (const RankedExperiment& ranked : ranking.experiments) {
    const bool first = &ranked == &ranking.experiments.front();
    std::vector<std::string> row{fmt::format("{}", ranked.entry->number),
                                 setting_text(*ranked.entry)};
    for (const Metric& metric : metrics) {
      add_cells(ranked, metric, first && metric.name == ranking.metric, row);
    }
    table.add(std::move(row));
  }
  return fmt::format("\n{}\n{}{}", ranking.model, table.text(), verdicts_of(ranking, metrics));
}

Json ranking_json(const Ranking& ranking) {
  Json out;
  out["model"] = ranking.model;
  out["experiments"] = Json::array();
  for (const RankedExperiment& ranked : ranking.experiments) {
    Json row;
    row["number"] = ranked.entry->number;
    row["id"] = ranked.entry->id;
    row["setting"] = setting_text(*ranked.entry);
    row["results"] = ranked.entry->results;
    row["against_best"] = Json::array();
    for (const Difference& d : ranked.against_best) {
      Json item;
      item["metric"] = d.metric.name;
      item["difference"] = d.difference;
      item["standard_error"] = d.standard_error;
      item["p"] = d.p;
      item["paired"] = d.paired;
      item["verdict"] = verdict_text(d);
      item["items_needed"] = d.items_needed ? Json(*d.items_needed) : Json();
      row["against_best"].push_back(std::move(item));
    }
    out["experiments"].push_back(std::move(row));
  }
  return out;
}

void show(const SweepRequest& request, const Tally& tally, Output& out) {
  if (!fs::exists(request.flags.shared.log)) return;  // nothing worked
  const ExperimentLog log = read_log(request.flags.shared.log);
  const auto rankings = rank_experiments(entries_of(log, tally.keys), log.folder());
  if (request.flags.job.json) {
    Json answer;
    answer["run"] = tally.run;
    answer["skipped"] = tally.skipped;
    answer["passes"] = tally.passes;
    answer["log"] = log.path;
    answer["rankings"] = Json::array();
    for (const Ranking& ranking : rankings) answer["rankings"].push_back(ranking_json(ranking));
    out.write_json(answer);
    return;
  }
  out.write(fmt::format("{}: {} run, {} already in {}; {} over the data\n",
                        count_of(std::ssize(tally.keys), "experiment"), tally.run, tally.skipped,
                        log.path,
                        tally.passes == 1 ? "1 pass" : fmt::format("{} passes", tally.passes)));
  for (const Ranking& ranking : rankings) out.write(table_of(ranking));
  out.write(
      "\n± is one standard error; differences from the best are paired item by item, p corrected "
      "(Holm).\n");
}

int run(SweepRequest& request, const Call& call, Output& out) {
  const std::string command = call.command();
  make_folder(fs::path(request.flags.shared.log).parent_path());
  { const AtomicFile probe(request.flags.shared.log); }  // a sweep without a log is lost work
  ExperimentWatch watch(request.flags.job);
  Tally tally;
  try {
    for (const std::string& model : words_of(request.models)) {
      run_model(request, model, command, watch, out, tally);
    }
  } catch (const Error&) {
    if (watch.interrupted() == 0) throw;
    watch.finish_bar();
    note(false, fmt::format("scute: interrupted; {} of this sweep are recorded, the same command "
                            "goes on behind them",
                            count_of(tally.run + tally.skipped, "experiment")));
    return watch.interrupted();
  }
  show(request, tally, out);
  if (!tally.failures.empty()) {
    fail("sweep", "every experiment to work",
         fmt::format("{}: {}", count_of(std::ssize(tally.failures), "failure"),
                     joined(tally.failures, "; ")));
  }
  return kDone;
}

}  // namespace

Form language_sweep_form() {
  return form<SweepRequest>(
      {.kind = ModelKind::language,
       .example =
           "scute sweep --models examples/tiny-mamba1,examples/tiny-mamba2 --percentile-alphas "
           "0.9995,1.0 --data examples/text/calibration.jsonl --tasks last-word,perplexity "
           "--eval-data examples/text/last_word.jsonl examples/text/heldout.txt --window 512"});
}

}  // namespace scute::cli
