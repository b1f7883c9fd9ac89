#include "cli/experiments/sweep_work.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>

#include "cli/experiments/ranking_text.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/experiments/fields.h"
#include "scute/experiments/log.h"
#include "scute/experiments/ranking.h"
#include "scute/io/claim.h"
#include "scute/io/file.h"

namespace scute::cli {
namespace {

namespace fs = std::filesystem;

/// Rule and share of one combination.
struct SweepRule {
  std::string policy;
  std::optional<double> alpha;
};

/// Rules that keep a share are combined with every alpha.
std::vector<SweepRule> rules_of(const SweepFlags& flags) {
  std::vector<double> alphas;
  for (const std::string& word : words_of(flags.alphas)) {
    try {
      alphas.push_back(Policy::parse("percentile:" + word).alpha);
    } catch (const Error& error) {
      throw UsageError(fmt::format("--percentile-alphas: {}", error.what()));
    }
  }
  std::vector<std::string> policies = words_of(flags.policies);
  if (policies.empty() && alphas.empty()) return {{flags.otherwise, std::nullopt}};
  if (policies.empty()) policies.emplace_back("percentile");
  std::vector<SweepRule> out;
  bool used = alphas.empty();
  for (const std::string& policy : policies) {
    try {
      if (!PolicyFlags::takes_share(policy) || alphas.empty()) {
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

/// The default has no name that a policy could have where each site has its own.
void use_policy(const SweepFlags& flags, const SweepRule& rule, Setting& setting) {
  setting.policy = rule.policy;
  setting.alpha = rule.alpha;
  if (rule.policy != flags.otherwise) set_rule(setting, rule.policy, rule.alpha);
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
  int64_t run = 0, skipped = 0, passes = 0, not_recorded = 0;
  int64_t elsewhere = 0;              ///< another shard's, or being run by somebody else
  std::set<std::string> folders;      ///< of checkpoints
  std::vector<std::string> failures;  ///< what did not work; the others are run all the same
};

/// Sets the folder of the setting's checkpoint; false when another model's would be there too.
bool claim_folder(const SweepWork& work, const std::string& name, Setting& setting, Tally& tally) {
  if (work.checkpoint) setting.checkpoint = work.checkpoint(name, setting);
  if (setting.checkpoint.empty() || tally.folders.insert(setting.checkpoint).second) return true;
  tally.failures.push_back(
      fmt::format("{}: two models of this sweep would be kept there", setting.checkpoint));
  return false;
}

/// The right to run an experiment of this log; nothing while somebody else has it.
std::optional<Claim> claim_experiment(const std::string& log, const std::string& key) {
  const std::string name = log + ".running-" + key.substr(0, 16);
  try {
    return std::optional<Claim>(std::in_place, name);
  } catch (const Error&) {
    if (!is_being_written(name)) throw;
    return std::nullopt;
  }
}

void run_model(const SweepWork& work, const std::string& model, ExperimentWatch& watch, Output& out,
               Tally& tally) {
  const std::unique_ptr<ExperimentSubject> subject = work.subject(model, watch.how());
  for (Setting setting : work.settings) {
    const std::string key = subject->key(setting);
    if (std::ranges::find(tally.keys, key) != tally.keys.end()) continue;  // asked for twice
    tally.keys.push_back(key);
    if (!claim_folder(work, subject->name(), setting, tally)) continue;
    if (work.launched && !work.launched->shard.takes(std::ssize(tally.keys) - 1)) {
      ++tally.elsewhere;
      continue;
    }
    const std::optional<Claim> claim = claim_experiment(work.log, key);
    // Read again each time, and while nobody else can run it: others may work on the same sweep.
    if (is_finished(work.log, key, setting, work.scored)) {
      ++tally.skipped;
      continue;
    }
    if (!claim) {
      ++tally.elsewhere;
      continue;
    }
    Experiment experiment;
    try {
      experiment = subject->run(setting);
    } catch (const Error& error) {
      if (watch.interrupted() != 0) throw;
      tally.failures.emplace_back(error.what());
      continue;
    }
    watch.finish_bar();
    show_warnings(experiment, work.log, out, work.job.json);
    ++tally.run;
    if (!experiment.recorded) ++tally.not_recorded;
    if (!experiment.not_finite.empty()) {
      tally.failures.push_back(fmt::format("{} {}: scores are not finite: {}", subject->name(),
                                           setting.quantize.format.name(), experiment.not_finite));
    }
    const Json* timing = experiment.record.find("timing");
    const double collect = number_field(*timing, {"collect"}).value_or(0);
    if (collect > 0) ++tally.passes;
    note(work.job.quiet,
         fmt::format(
             "{} {} {}: {}", subject->name(), setting.quantize.format.name(),
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

void show_sweep(const SweepWork& work, const Tally& tally, Output& out) {
  if (!fs::exists(work.log)) return;  // nothing worked
  const ExperimentLog log = read_log(work.log);
  const auto rankings = rank_experiments(entries_of(log, tally.keys), log.folder());
  if (work.job.json) {
    Json answer;
    answer["run"] = tally.run;
    answer["skipped"] = tally.skipped;
    if (tally.elsewhere > 0) answer["elsewhere"] = tally.elsewhere;
    answer["passes"] = tally.passes;
    answer["log"] = log.path;
    answer["rankings"] = Json::array();
    for (const Ranking& ranking : rankings) answer["rankings"].push_back(ranking_json(ranking));
    out.write_json(work.job.with_peak(std::move(answer)));
    return;
  }
  out.write(fmt::format(
      "{}: {} run, {} already in {}{}; {} over the data\n",
      count_of(std::ssize(tally.keys), "experiment"), tally.run, tally.skipped, log.path,
      tally.elsewhere == 0 ? "" : fmt::format(", {} left to others", tally.elsewhere),
      tally.passes == 1 ? "1 pass" : fmt::format("{} passes", tally.passes)));
  for (const Ranking& ranking : rankings) out.write(ranking_text(ranking));
  out.write(
      "\n± is one standard error; differences from the best are paired item by item, p corrected "
      "(Holm).\n" +
      work.job.peak_line());
}

}  // namespace

std::vector<Setting> SweepFlags::settings(const Setting& base,
                                          const std::vector<LayerFormat>& formats) const {
  std::vector<Setting> out;
  for (const LayerFormat& format : formats) {
    const auto rules = format.eight_bit_activations()
                           ? rules_of(*this)
                           : std::vector<SweepRule>{{otherwise, std::nullopt}};
    for (const SweepRule& rule : rules) {
      Setting setting = base;
      setting.quantize.format = format;
      use_policy(*this, rule, setting);
      if (format.is_float()) {
        setting.quantize.gptq = setting.quantize.group_heads = false;
        setting.quantize.group_percentile.reset();
      }
      out.push_back(std::move(setting));
    }
  }
  return out;
}

void SweepFlags::declare(Options& options) {
  options.models(models);
  declare_shard(options, launched,
                "run part I of N of the combinations, from 0; processes on one log never run the "
                "same experiment twice, with or without it");
  options.texts("--percentile-alphas", alphas, "A,...",
                "shares of values to keep; rules that keep a share are tried with each");
  options.texts(
      "--policies", policies, "POLICY,...",
      "rules to try; without it percentile with --percentile-alphas, else the default of run");
}

void SweepFlags::check(const std::vector<LayerFormat>& formats) const {
  if ((!policies.empty() || !alphas.empty()) &&
      std::ranges::none_of(formats, &LayerFormat::eight_bit_activations)) {
    throw UsageError(
        "--policies and --percentile-alphas: expected 8 among --a-bits, found 16: nothing is "
        "clipped");
  }
  rules_of(*this);
  if (words_of(models).empty()) throw UsageError("--models: expected folders, found none");
  if (!alphas.empty() && words_of(alphas).empty()) {
    throw UsageError("--percentile-alphas: expected numbers, found none");
  }
}

int run_sweep(const SweepWork& work, Output& out) {
  if (work.plan && work.job.memory) std::ranges::for_each(work.models, work.plan);
  say_launched(work.launched);
  make_folder(fs::path(work.log).parent_path());
  require_appendable(work.log);  // a sweep without a log is lost work
  ExperimentWatch watch(work.job);
  Tally tally;
  try {
    for (const std::string& model : work.models) {
      run_model(work, model, watch, out, tally);
    }
  } catch (const Error&) {
    if (watch.interrupted() == 0) throw;
    watch.finish_bar();
    note(false, fmt::format("scute: interrupted; {} of this sweep are recorded, the same command "
                            "goes on behind them",
                            count_of(tally.run + tally.skipped, "experiment")));
    return watch.interrupted();
  }
  show_sweep(work, tally, out);
  if (!tally.failures.empty()) {
    fail("sweep", "every experiment to work",
         fmt::format("{}: {}", count_of(std::ssize(tally.failures), "failure"),
                     joined(tally.failures, "; ")));
  }
  return work.log_failure.exit_code(tally.not_recorded == 0);
}

}  // namespace scute::cli
