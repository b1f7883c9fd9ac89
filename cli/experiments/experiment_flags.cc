#include "cli/experiments/experiment_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "cli/decide_text.h"
#include "cli/terminal/machine.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"

namespace scute::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLastWord = "last-word";
constexpr const char* kPerplexity = "perplexity";

/// The file of one task: named by TASK=FILE; else the only file; else by its ending.
std::string file_of(const std::string& task, const std::vector<std::string>& given) {
  std::vector<std::string> plain;
  for (const std::string& text : given) {
    if (text.starts_with(task + "=")) return text.substr(task.size() + 1);
    if (!text.starts_with(std::string(kLastWord) + "=") &&
        !text.starts_with(std::string(kPerplexity) + "=")) {
      plain.push_back(text);
    }
  }
  if (plain.size() == 1) return plain.front();
  std::string found;
  for (const std::string& file : plain) {
    if (file.ends_with(".jsonl") != (task == kLastWord)) continue;
    if (!found.empty()) {
      throw UsageError(
          fmt::format("--eval-data: expected one file for {}, found {} and {}; "
                      "{}=FILE says which",
                      task, found, file, task));
    }
    found = file;
  }
  if (found.empty()) {
    throw UsageError(
        fmt::format("--eval-data: expected a file for the task {} ({}, or {}=FILE), "
                    "found none",
                    task, task == kLastWord ? ".jsonl" : ".txt or .npy", task));
  }
  return found;
}

}  // namespace

void ExperimentFlags::declare_tasks(Options& options) {
  options.texts("--tasks", tasks_, "TASK,...",
                "last-word, perplexity or both; without it statistics alone are recorded");
  options.texts("--eval-data", eval_data_, "[TASK=]FILE...",
                "texts to score on: .jsonl of passages for last-word, .txt, .jsonl or .npy for "
                "perplexity");
  options.last_reads();
  options.integer("--window", window_, {.least = 2}, "perplexity: tokens the model sees at a time");
  options.integer("--stride", stride_, {.least = 1}, "window",
                  "perplexity: tokens from one window to the next");
  options.integer("--max-windows", max_windows_, {.least = 1}, "all", "perplexity: windows scored");
  options.integer("--max-items", max_items_, {.least = 1}, "all", "last-word: passages scored");
  options.integer("--context", context_, {.least = 1},
                  "perplexity: tokens at a window's start that are read but not scored");
  options.flag("--stepwise", stepwise_,
               "perplexity: feed tokens one by one from a state, as in generation");
}

void ExperimentFlags::declare(Options& options, QuantizeFlags::Bits bits) {
  CollectOptions& collect = shared.collect;
  options.texts("--data", collect.data, "FILE...",
                "texts to measure on: .jsonl, .txt or .npy, as collect reads them");
  options.last_reads();
  declare_windows(options, collect.windows);
  options.integer("--gptq-samples", shared.gptq_samples, {.least = 1},
                  "of these windows, the first that GPTQ's Hessians are measured on");
  options.fine(collect.fine);
  options.state_every(collect.state_every);
  options.compute(collect.compute);
  quantize.declare(options, bits);
  declare_tasks(options);
  declare_log(options, shared.log, logged_);
  log_failure.declare(options);
  options.optional_integer("--save-activations", save_activations_, {.least = 1}, 10000,
                           "keep the first N values of the first sample per logged site, as .npz");
  options.text(
      "--output-subdir", output_subdir, "NAME",
      "keep the low-bit model in PRETRAINED_DIR/NAME/RULE-ALPHA/MODEL-w8a8; RULE of quamba is pa");
  options.text("--pretrained-dir", pretrained_dir, "DIR", "the folder above --output-subdir");
  options.flag("--force", force, "replace such a folder of scute's");
  options.backend(backend_);
  options.text_input(collect.input);
  job.declare_memory(options);
  job.declare(options);
  declare_conditions(options);
}

bool ExperimentFlags::has_task(const std::string& task) const {
  const std::vector<std::string> tasks = words_of(tasks_);
  return std::ranges::find(tasks, task) != tasks.end();
}

bool ExperimentFlags::measures() const {
  return quantize.rounds_activations() || quantize.uses_gptq() || save_activations_.has_value();
}

void ExperimentFlags::declare_conditions(Options& options) const {
  options.only_with({"--window", "--stride", "--max-windows", "--context", "--stepwise"},
                    "--tasks perplexity", [this] { return has_task(kPerplexity); });
  options.only_with({"--max-items"}, "--tasks last-word", [this] { return has_task(kLastWord); });
  options.only_with({"--eval-data"}, "--tasks last-word,perplexity",
                    [this] { return !tasks_.empty(); });
  options.only_with(
      {"--data", "--samples", "--seqlen", "--shuffle", "--skip", "--take",
       "--windows-per-document"},
      "--a-bits 8, --gptq or --save-activations (else nothing is clipped or measured)",
      [this] { return measures(); });
  quantize.only_with_8_bit_activations(options, {"--fine", "--state-every"});
  options.only_with({"--log-sites", "--log-layers"}, "--a-bits 8 or --save-activations", [this] {
    return quantize.rounds_activations() || save_activations_.has_value();
  });
  options.only_with({"--gptq-samples"}, "--gptq");
  options.only_with({"--pretrained-dir", "--force"}, "--output-subdir NAME");
  options.only_with({"--seed"}, "8-bit states that are rounded stochastically",
                    [this] { return quantize.rounds_stochastically(); });
  options.only_with({"--backend"}, "--w-bits 8 or 4", [this] { return quantize.rounds_weights(); });
}

void ExperimentFlags::check() const {
  for (const std::string& task : words_of(tasks_)) {
    if (task != kLastWord && task != kPerplexity) {
      throw UsageError(
          fmt::format("--tasks: expected last-word or perplexity, found \"{}\"", task));
    }
  }
  if (context_ >= window_ || stride_.value_or(window_) > window_) {
    throw UsageError(
        fmt::format("--context and --stride: expected less than, and at most, the "
                    "window, {}, found more",
                    window_));
  }
  score();
  quantize.read();
  if (shared.collect.data.empty() && measures()) {
    throw UsageError("--data: expected texts to measure 8-bit activations or GPTQ on, found none");
  }
}

ScoreOptions ExperimentFlags::score() const {
  ScoreOptions out;
  for (const std::string& task : words_of(tasks_)) {
    (task == kPerplexity ? out.perplexity : out.last_word) = file_of(task, eval_data_);
  }
  out.windows = {.window = window_,
                 .stride = stride_.value_or(window_),
                 .max_windows = max_windows_,
                 .context = context_,
                 .feed = stepwise_ ? Feed::one_by_one : Feed::whole};
  out.max_items = max_items_;
  out.input = shared.collect.input;
  return out;
}

SubjectOptions ExperimentFlags::subject(const std::string& model) const {
  SubjectOptions out = shared;
  out.model = model;
  out.score = score();
  return out;
}

Setting ExperimentFlags::setting(const std::string& command) const {
  Setting out;
  out.quantize = quantize.read();
  out.execution = Execution(shared.collect.compute, backend_);
  out.logged = logged_;
  out.save_activations = save_activations_;
  out.replace = force;
  out.command = command;
  return out;
}

void set_rule(Setting& setting, const std::string& policy, std::optional<double> alpha) {
  setting.policy = policy;
  setting.alpha = alpha;
  const size_t colon = policy.find(':');
  if (colon == std::string::npos || !PolicyFlags::takes_share(policy.substr(0, colon))) return;
  setting.policy = policy.substr(0, colon);
  setting.alpha = Policy::parse(policy).alpha;
}

std::string checkpoint_folder(const ExperimentFlags& flags, const std::string& model_name,
                              const Setting& setting) {
  const LayerFormat& format = setting.quantize.format;
  if (flags.output_subdir.empty() || format.is_float()) return "";
  std::string rule = setting.policy;
  if (setting.alpha) {
    rule = fmt::format("{}-{}", setting.policy == "quamba" ? "pa" : setting.policy, *setting.alpha);
  }
  std::ranges::replace(rule, ':', '-');
  std::string bits = format.name();
  std::ranges::transform(bits, bits.begin(), [](char c) {
    return c == 'W' ? 'w' : c == 'A' ? 'a' : c;
  });
  if (setting.quantize.gptq) bits += "-gptq";
  if (setting.quantize.group_heads) bits += "-grouped";
  if (setting.quantize.group_percentile) {
    bits += fmt::format("-gp{}", *setting.quantize.group_percentile);
  }
  return (fs::path(flags.pretrained_dir) / flags.output_subdir / rule / (model_name + "-" + bits))
      .string();
}

void declare_log(Options& options, std::string& log, LoggedSites& logged) {
  options.text("--log", log, "FILE", "the log to add to; statistics/ and items/ lie beside it");
  options.text("--log-sites", logged.sites, "GLOB", "sites whose ranges the record holds");
  options.custom("--log-layers", "all|N", "all", "layers whose sites the record holds",
                 [&logged](const std::string& given) {
                   logged.layers = std::nullopt;
                   if (given == "all") return;
                   logged.layers = parse_integer("--log-layers", given, {.least = 0});
                 });
}

RunHow ExperimentWatch::how() {
  RunHow out;
  out.threads = job_.threads;
  out.progress = [this](Step step, int64_t done, int64_t total) {
    if (interrupt_.flag().load()) throw Error("interrupted");
    switch (step) {
      case Step::collect:
        return bars_.update("collect", "samples", done, total);
      case Step::hessians:
        return bars_.update("hessians", "windows", done, total);
      case Step::perplexity:
        return bars_.update("perplexity", "windows", done, total);
      case Step::last_word:
        return bars_.update("last word", "passages", done, total);
      case Step::pictures:
        return bars_.update("eval", "pictures", done, total);
    }
  };
  out.local_time = local_time;
  out.machine = machine_json(job_.threads);
  return out;
}

void warn_of_overlap(const Subject& subject) {
  const Overlap found = subject.overlap();
  if (found.shared == 0) return;
  warn(
      fmt::format("{}: {} of {} that are scored ({} %) stand in a row of {} that is in the "
                  "calibration windows too: the scores flatter it",
                  subject.name(), grouped(found.shared), count_of(found.units, "token"),
                  fixed(100 * found.share(), 1), found.length));
}

void show_warnings(const Experiment& experiment, const std::string& log, Output& out, bool json) {
  if (experiment.thin.sites > 0) warn(thin_text(experiment.thin));
  for (const std::string& warning : experiment.warnings) {
    warn(warning);
  }
  if (experiment.recorded || json) return;
  out.write(fmt::format("the record, which {} does not hold:\n", log));
  out.write_lines(experiment.record.dump() + "\n");
}

}  // namespace scute::cli
