#include "cli/regressor/eval.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "cli/terminal/interrupt.h"
#include "cli/terminal/machine.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/experiments/log.h"
#include "scute/experiments/positions/record.h"
#include "scute/io/file.h"
#include "scute/kernels/gemm.h"
#include "scute/regressor/position_files.h"

namespace scute::cli {
namespace {

using Mode = RegressorQuantization::Mode;

RegressorBackend parse_backend(const std::string& text) {
  if (text == "lsq" || text == "python") return RegressorBackend::lsq;
  if (text == "extension" || text == "cpp") return RegressorBackend::extension;
  if (text == "integer") return RegressorBackend::integer;
  fail("--quant-backend", "lsq, extension or integer", fmt::format("\"{}\"", text));
}

Mode parse_mode(const std::string& text) {
  if (text == "dynamic") return Mode::dynamic;
  if (text == "fixed88" || text == "fixed") return Mode::fixed;
  if (text == "per-layer") return Mode::per_layer;
  fail("--quant-mode", "dynamic, fixed88 or per-layer", fmt::format("\"{}\"", text));
}

std::string millimetres(double metres) { return fmt::format("{:.2f} mm", metres * 1e3); }

std::string stages_text(const RegressorEvaluation& evaluation) {
  Table table({{"stage", Table::Align::left},
               {"mean m"},
               {"SE"},
               {"median"},
               {"P80"},
               {"P90"},
               {"ratio to float"},
               {"paired SE"},
               {"RMS deviation"}});
  for (const RegressorStage& stage : evaluation.stages) {
    const PositionErrors& e = stage.errors;
    const auto& c = stage.against_baseline;
    table.add({stage.name, fixed(e.mean, 5), fixed(e.standard_error, 5), fixed(e.linear.median, 5),
               fixed(e.linear.p80, 5), fixed(e.linear.p90, 5), c ? fixed(c->ratio, 4) : "-",
               c ? fixed(c->ratio_standard_error, 4) : "-",
               c ? millimetres(c->rms_deviation) : "-"});
  }
  std::string out = table.text();
  out += "median, P80, P90: linear between ranks, as NumPy; by rank, as the training loop:";
  for (const RegressorStage& stage : evaluation.stages) {
    const auto& rank = stage.errors.rank;
    out += fmt::format(" {} {} {} {}{}", stage.name, fixed(rank.median, 5), fixed(rank.p80, 5),
                       fixed(rank.p90, 5), &stage == &evaluation.stages.back() ? "\n" : ";");
  }
  for (const RegressorStage& stage : evaluation.stages) {
    out += fmt::format("{:<12}{}\n", stage.name, stage.description);
  }
  return out;
}

std::string page_table_text(const PageTable& page) {
  std::vector<Table::Column> columns;
  for (const std::string& title : page.header) {
    columns.push_back({title, columns.empty() ? Table::Align::left : Table::Align::right});
  }
  Table table(std::move(columns));
  for (const auto& row : page.rows) table.add(row);
  return page.caption + "\n" + table.text();
}

/// Where the networks part, and where the distance grows most from one site to the next.
std::string divergence_text(const RegressorDiagnosis& diagnosis) {
  const auto& sites = diagnosis.divergence;
  const auto percent = [](double relative) { return fmt::format("{:.3g} %", relative * 100); };
  if (!diagnosis.first_divergent) {
    return fmt::format("no site is more than {} off\n", percent(diagnosis.tolerance));
  }
  const auto first = std::ranges::find(sites, *diagnosis.first_divergent, &SiteDivergence::site);
  size_t steepest = 0;
  const auto growth = [&](size_t i) {
    return sites[i].relative - (i == 0 ? 0 : sites[i - 1].relative);
  };
  for (size_t i = 1; i < sites.size(); ++i) {
    if (growth(i) > growth(steepest)) steepest = i;
  }
  return fmt::format("first more than {} off: {}, by {}; largest step: {}, to {}\n",
                     percent(diagnosis.tolerance), first->site, percent(first->relative),
                     sites[steepest].site, percent(sites[steepest].relative));
}

std::string answer_text(const RegressorCheckpoint& checkpoint,
                        const RegressorEvaluation& evaluation) {
  const RegressorConfig& config = checkpoint.config;
  const bool slim = config.variant == RegressorConfig::Variant::slim;
  std::string out = fmt::format(
      "{}: {} variant, Din {}, K {}, {} blocks of width {}, {}\n{} of {}\n\n", checkpoint.path,
      slim ? "slim" : "origin", config.features, config.window, config.layers, config.width,
      checkpoint.scales.empty() && !checkpoint.formats ? "no scales" : "calibrated",
      count_of(evaluation.set.actual.dim(0), "window"),
      count_of(std::ssize(evaluation.set.parts), "sequence"));
  out += stages_text(evaluation);
  for (const PageTable& table : diagnosis_tables(evaluation)) out += "\n" + page_table_text(table);
  if (evaluation.diagnosis) out += divergence_text(*evaluation.diagnosis);
  if (evaluation.found.nans + evaluation.found.infinities > 0) {
    out += fmt::format("features that are no numbers: {} NaN (taken as 0), {} infinite (as 1e6)\n",
                       grouped(evaluation.found.nans), grouped(evaluation.found.infinities));
  }
  return out;
}

/// The folder --out-dir: a folder a stage, figures, tables, the page.
void write_folder(const std::string& dir, const RegressorCheckpoint& checkpoint,
                  const RegressorEvalOptions& options, const RegressorEvaluation& evaluation,
                  std::optional<double> break_jump) {
  namespace fs = std::filesystem;
  std::vector<PositionStage> stages;
  for (const RegressorStage& stage : evaluation.stages) {
    stages.push_back({stage.name, stage.predicted});
    write_position_files((fs::path(dir) / stage.name).string(), evaluation.set,
                         stage.predicted.matrix<float>());
  }
  const PositionPlotOptions plots{.break_jump = break_jump.value_or(0)};
  write_position_plots(dir, evaluation.set, stages, plots);
  PositionReport report;
  report.title = fs::path(checkpoint.path).filename().string();
  for (const RegressorStage& stage : evaluation.stages) {
    report.subtitle.push_back(stage.name + ": " + stage.description);
  }
  for (const std::string& remark : evaluation.remarks) report.subtitle.push_back(remark);
  report.set = evaluation.set;
  report.stages = std::move(stages);
  report.plots = plots;
  report.tables = diagnosis_tables(evaluation);
  write_file((fs::path(dir) / "report.html").string(), make_position_report(report));
  write_file((fs::path(dir) / "evaluation.json").string(),
             evaluation_json(checkpoint, options, evaluation).dump(2) + "\n");
}

Json machine_json(int threads) {
  Json out;
  out["processor"] = processor_name();
  out["threads"] = Threads(threads).count();
  out["instruction_set"] = highway_target();
  return out;
}

/// A failure to write the log warns; the results are not lost for it.
void record(const PositionRequest& request, const PositionFlags& flags,
            const RegressorCheckpoint& checkpoint, const RegressorEvalOptions& options,
            const RegressorEvaluation& evaluation, double seconds) {
  try {
    namespace fs = std::filesystem;
    const fs::path folder = fs::path(flags.log).parent_path();
    const std::string beside =
        flags.out_dir.empty()
            ? ""
            : fs::proximate(flags.out_dir, folder.empty() ? "." : folder).string();
    append_record(flags.log, position_record(checkpoint, options, evaluation,
                                             {request.command, local_time("%Y-%m-%d %H:%M:%S"),
                                              machine_json(request.threads),
                                              hash_file(checkpoint.path), seconds, beside}));
    note(request.quiet, fmt::format("recorded in {}", flags.log));
  } catch (const Error& error) {
    note(false, fmt::format("scute: warning: not recorded: {}", error.what()));
  }
}

}  // namespace

void PositionFlags::declare(Options& options) {
  RegressorFlags& f = options_.flags;
  options.text("--feat-root", options_.features, "DIR",
               "regressor: folder of features, json/*.json and npy/*.npy");
  options.custom("--target", "ROLE", "eval",
                 "regressor: windows that are scored: train, eval, test or auto",
                 [this](const std::string& text) { target_ = parse_feature_role(text); });
  options.flag("--no-normalize", no_normalize_, "regressor: features are normalized already");
  options.flag("--quantize-all", f.all, "regressor: round every layer that the backend rounds");
  options.flag("--q-proj", f.proj, "regressor: round proj");
  options.flag("--q-head", f.head, "regressor: round head");
  options.flag("--q-block-linear", f.block_linear, "regressor: round in_proj and out_proj");
  options.flag("--q-backbone-linear", f.backbone_linear,
               "regressor: round patch_embedding and the pooled output layer");
  options.custom("--quant-backend", "NAME", "the checkpoint's, or integer",
                 "regressor: lsq or extension (fake quantization of the originals), or integer",
                 [&f](const std::string& text) { f.backend = parse_backend(text); });
  options.integer("--quant-bits", bits_, {.least = 1}, "the checkpoint's", "regressor: 8 or 16");
  options.custom("--quant-mode", "MODE", "dynamic",
                 "regressor: dynamic (measured), fixed88 (Q8.8) or per-layer (measured Qm.n)",
                 [&f](const std::string& text) { f.mode = parse_mode(text); });
  options.custom("--calib-method", "METHOD", "maxabs", "regressor: maxabs, p99 or mse",
                 [&f](const std::string& text) { f.method = parse_regressor_method(text); });
  options.number("--calib-headroom", f.headroom, 1, 16,
                 "regressor: factor on measured ranges (1.25); at 16 bits its margin is fourfold");
  options.integer("--quant-calib-batches", batches_, {.least = 0}, "50",
                  "regressor: batches that are measured; 0: all");
  options.integer("--batch-size", batch_, {.least = 1}, "64",
                  "regressor: windows of a batch; results do not depend on it");
  options.custom("--calib-target", "ROLE", "train", "regressor: windows that are measured",
                 [&f](const std::string& text) { f.role = parse_feature_role(text); });
  options.text("--save-calib-ckpt", save_calibrated, "FILE",
               "regressor: write the quantized stage as a checkpoint");
  options.flag("--sensitivity", sensitivity_,
               "regressor: also each layer alone at 8 and at 16 bits");
  options.text("--out-dir", out_dir, "DIR", "regressor: predictions, figures, tables and a page");
  options.number("--break-thresh", break_jump, 0, 1e6,
                 "regressor: paths are broken at jumps beyond this, metres; by the data without");
  options.text("--log", log, "FILE", "regressor: add a record to this experiment log");
}

bool PositionFlags::any() const {
  return !options_.features.empty() || options_.flags.any() || target_ || break_jump || bits_ ||
         batches_ || batch_ || no_normalize_ || sensitivity_ || !save_calibrated.empty() ||
         !out_dir.empty() || !log.empty();
}

RegressorEvalOptions PositionFlags::request(int threads) const {
  RegressorEvalOptions out = options_;
  if (out.features.empty()) {
    throw UsageError("expected --feat-root DIR, the features of a regressor's windows");
  }
  if (bits_ && *bits_ != 8 && *bits_ != 16) {
    throw UsageError(fmt::format("--quant-bits: expected 8 or 16, found \"{}\"", *bits_));
  }
  if (bits_) out.flags.bits = static_cast<int>(*bits_);
  out.flags.batches = batches_;
  out.target = target_.value_or(out.target);
  out.batch = batch_.value_or(out.batch);
  out.normalize = !no_normalize_;
  out.sensitivity = sensitivity_;
  out.threads = threads;
  return out;
}

bool is_regressor(const std::string& model) {
  std::error_code unreadable;
  return model.ends_with(".pt") && !std::filesystem::is_directory(model, unreadable);
}

int run_eval_positions(const PositionRequest& request, const PositionFlags& flags, Output& out) {
  const RegressorEvalOptions options = flags.request(request.threads);
  const RegressorCheckpoint checkpoint = read_regressor_checkpoint(request.model);
  const bool quantizes = options.flags.any() || !checkpoint.scales.empty() || checkpoint.formats;
  if (!flags.save_calibrated.empty() && !quantizes) {
    throw UsageError(
        "--save-calib-ckpt: expected a quantization flag, e.g. --quant-bits 8: "
        "nothing is quantized");
  }
  // What cannot be written is found out before the work, not after it.
  if (!flags.save_calibrated.empty()) const AtomicFile probe(flags.save_calibrated);
  if (!flags.out_dir.empty()) {
    make_folder(flags.out_dir);
    const AtomicFile probe((std::filesystem::path(flags.out_dir) / "report.html").string());
  }
  const auto start = std::chrono::steady_clock::now();
  StepProgress bars(request.quiet);
  const RegressorEvaluation evaluation = evaluate_regressor(
      checkpoint, options, [&](const std::string& what, int64_t done, int64_t total) {
        bars.update(what, what == "sensitivity" ? "layers" : "windows", done, total);
      });
  bars.finish();
  for (const std::string& remark : evaluation.remarks) {
    note(false, "scute: warning: " + remark);
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  std::string text = answer_text(checkpoint, evaluation);
  const HoldInterrupts hold;
  if (!flags.save_calibrated.empty()) {
    write_calibrated_regressor(flags.save_calibrated, checkpoint, *evaluation.calibrated);
    text += fmt::format("wrote {}\n", flags.save_calibrated);
  }
  if (!flags.out_dir.empty()) {
    write_folder(flags.out_dir, checkpoint, options, evaluation, flags.break_jump);
    text +=
        fmt::format("wrote {}/report.html and, in a folder a stage, predictions\n", flags.out_dir);
  }
  if (!flags.log.empty()) record(request, flags, checkpoint, options, evaluation, time.count());
  if (request.json) {
    out.write_json(evaluation_json(checkpoint, options, evaluation));
  } else {
    out.write(text);
  }
  return kDone;
}

}  // namespace scute::cli
