// scute eval on a regressor: errors in metres, float and quantized.
#include "scute/regressor/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "cli/experiments/eval_log.h"
#include "cli/form.h"
#include "cli/regressor/calibration_flags.h"
#include "cli/regressor/memory.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/job.h"
#include "cli/terminal/outputs.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/experiments/fields.h"
#include "scute/experiments/log.h"
#include "scute/experiments/positions/record.h"
#include "scute/io/file.h"
#include "scute/regressor/position_files.h"

namespace scute::cli {
namespace {

struct RegressorEvalRequest {
  std::string model, target = "eval", save_calibrated, out_dir;
  EvalLog log;
  std::optional<double> break_jump;
  bool force = false;
  FeatureFlags features;
  CalibrationFlags calibration;
  RegressorEvalOptions how;  ///< complete after check()
  Job job;

  void declare(Options& options);
  void check();
};

void RegressorEvalRequest::declare(Options& options) {
  options.model(model);
  features.declare(options);
  declare_target(options, target);
  declare_formats(options, how.flags);
  calibration.declare(options, "the checkpoint's");
  options.text("--save-calib-ckpt", save_calibrated, "FILE",
               "write the quantized stage as a checkpoint (.pt)");
  options.force(force);
  options.flag("--sensitivity", how.sensitivity, "also each layer alone at 8 and at 16 bits");
  options.text("--out-dir", out_dir, "DIR", "predictions, figures, tables and a page");
  options.number("--break-thresh", break_jump, 0, 1e6,
                 "paths are broken at jumps beyond this, metres; by the data without");
  log.declare(options);
  job.declare_memory(options);
  job.declare(options);
  options.only_with({"--break-thresh"}, "--out-dir DIR");
  const auto q88 = [this] { return how.flags.mode == RegressorQuantization::Mode::fixed; };
  options.not_with(calibration_flags(), "--quant-mode fixed88, which measures nothing,",
                   [this, q88] { return q88() && !how.sensitivity; });
  options.not_with({"--quant-bits"}, "--quant-mode fixed88 (Q8.8: 16 bits are used)",
                   [this, q88] { return q88() && calibration.bits == 8; });
  options.only_with({"--batch-size"}, "a quantization flag that measures, or --sensitivity,",
                    [this, q88] {
                      const bool measures = how.flags.calibrates() || calibration.any();
                      return (measures && !q88()) || how.sensitivity;
                    });
}

void RegressorEvalRequest::check() {
  check_ending("--save-calib-ckpt", save_calibrated, {".pt"});
  check_force(force, {save_calibrated, out_dir});
  if (features.root.empty()) {
    throw UsageError("expected --feat-root DIR, the features of a regressor's windows");
  }
  how.features = features.root;
  how.normalize = !features.no_normalize;
  how.target = parse_feature_role(target);
  how.threads = job.threads;
  RegressorFlags& f = how.flags;
  if (calibration.bits) f.bits = static_cast<int>(*calibration.bits);
  if (calibration.method) f.method = parse_regressor_method(*calibration.method);
  if (calibration.role) f.role = parse_feature_role(*calibration.role);
  f.headroom = calibration.headroom;
  f.batches = calibration.batches;
  how.batch = calibration.batch_size.value_or(CalibrationFlags::kBatchSize);
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

constexpr const char *kPage = "report.html", *kFigures = "evaluation.json";

/// What write_folder() writes beside the page; without `quantizes` there is one stage.
std::vector<std::string> files_of_folder(const std::filesystem::path& dir, bool quantizes) {
  std::vector<std::string> out{(dir / kFigures).string()};
  for (const std::string& name : position_plot_names()) out.push_back((dir / name).string());
  for (const char* stage : kRegressorStages) {
    if (stage != kRegressorStages.front() && !quantizes) continue;
    for (const std::string& name : position_file_names()) {
      out.push_back((dir / stage / name).string());
    }
  }
  return out;
}

/// The folder --out-dir: a folder a stage, figures, tables, the page.
void write_folder(const RegressorEvalRequest& request, const RegressorCheckpoint& checkpoint,
                  const RegressorEvaluation& evaluation, ClaimedFile& page) {
  namespace fs = std::filesystem;
  const std::string& dir = request.out_dir;
  const Replace replace = request.force ? Replace::anything : Replace::unchanged;
  std::vector<PositionStage> stages;
  for (const RegressorStage& stage : evaluation.stages) {
    stages.push_back({stage.name, stage.predicted});
    write_position_files((fs::path(dir) / stage.name).string(), evaluation.set,
                         stage.predicted.matrix<float>(), replace);
  }
  const PositionPlotOptions plots{.break_jump = request.break_jump.value_or(0)};
  write_position_plots(dir, evaluation.set, stages, plots, replace);
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
  page.publish(make_position_report(report));
  AtomicFile figures((fs::path(dir) / kFigures).string(), replace);
  figures.write(evaluation_json(checkpoint, request.how, evaluation).dump(2) + "\n");
  figures.commit();
}

/// --out-dir as the log's folder sees it; "" without.
std::string out_dir_beside_log(const RegressorEvalRequest& request) {
  namespace fs = std::filesystem;
  if (request.out_dir.empty()) return "";
  const fs::path folder = fs::path(request.log.path).parent_path();
  return fs::proximate(request.out_dir, folder.empty() ? "." : folder).string();
}

/// Beside the predictions that a record points to: which one, of which log.
constexpr std::string_view kRecordMark = "record.json";

/// Error where a record points to predictions in --out-dir, which would no longer be those.
void check_out_dir(const RegressorEvalRequest& request) {
  namespace fs = std::filesystem;
  std::error_code unreadable;
  const auto refuse = [&](const std::string& what) {
    fail(request.out_dir, "--out-dir that no record of a log points to; give another folder", what);
  };
  const fs::path mark = fs::path(request.out_dir) / kRecordMark;
  if (fs::exists(mark, unreadable)) {
    const Json json = Json::parse(read_text(mark.string()), mark.string());
    refuse(fmt::format("predictions of record {}", text_field(json, {"id"})));
  }
  if (request.log.path.empty() || !fs::exists(request.log.path, unreadable)) return;
  const std::string name = out_dir_beside_log(request);  // before there were marks
  for (const LogEntry& entry : read_log(request.log.path).entries) {
    if (text_field(entry.files, {"positions"}) == name) {
      refuse(fmt::format("predictions of record {} of {}", entry.id, request.log.path));
    }
  }
}

/// The record, if there is a log, and the mark in --out-dir; the exit code.
int record(const RegressorEvalRequest& request, const RegressorCheckpoint& checkpoint,
           const RegressorEvaluation& evaluation, const Call& call, double seconds) {
  namespace fs = std::filesystem;
  std::string id;
  const int code = request.log.add(
      [&] {
        return position_facts(checkpoint, request.how, evaluation, hash_checkpoint_file(checkpoint),
                              out_dir_beside_log(request));
      },
      call, request.job, seconds, &id);
  if (!id.empty() && !request.out_dir.empty()) {
    Json mark;
    mark["id"] = id;
    mark["log"] = fs::proximate(request.log.path, request.out_dir).string();
    write_file((fs::path(request.out_dir) / kRecordMark).string(), mark.dump(1) + "\n");
  }
  return code;
}

/// Those that are scored, and those that ranges are measured on.
std::vector<FeatureRole> roles_read(const RegressorCheckpoint& checkpoint,
                                    const RegressorEvalOptions& options, bool quantizes) {
  std::vector<FeatureRole> out{options.target};
  if (!quantizes) return out;
  const RegressorPlan plan = plan_regressor(checkpoint, options.flags);
  if (!plan.stored) out.push_back(plan.role);
  return out;
}

int run(RegressorEvalRequest& request, const Call& call, Output& out) {
  const RegressorEvalOptions& options = request.how;
  const std::vector<std::string> inputs{request.model, request.features.root};
  const InputStamps stamps(inputs);
  const RegressorCheckpoint checkpoint = read_regressor_checkpoint(request.model);
  const bool quantizes = options.flags.any() || !checkpoint.scales.empty() || checkpoint.formats;
  require_regressor(request.job, checkpoint,
                    {.root = request.features.root,
                     .roles = roles_read(checkpoint, options, quantizes),
                     .normalize = options.normalize});
  if (!request.save_calibrated.empty() && !quantizes) {
    throw UsageError(
        "--save-calib-ckpt: expected a quantization flag, e.g. --quant-bits 8: "
        "nothing is quantized");
  }
  // What cannot be written is found out before the work, not after it.
  request.log.check();
  std::optional<ClaimedFile> calibrated, page;
  claim_if_named(calibrated, request.save_calibrated, request.force, inputs);
  if (!request.out_dir.empty()) {
    check_out_dir(request);
    make_folder(request.out_dir);
    const std::filesystem::path dir(request.out_dir);
    check_replaceable(files_of_folder(dir, quantizes), request.force, inputs);
    page.emplace((dir / kPage).string(), request.force, inputs);
  }
  request.job.begin();
  StepProgress bars(request.job.quiet);
  const RegressorEvaluation evaluation = evaluate_regressor(
      checkpoint, options, [&](const std::string& what, int64_t done, int64_t total) {
        bars.update(what, what == "sensitivity" ? "layers" : "windows", done, total);
      });
  bars.finish();
  for (const std::string& remark : evaluation.remarks) {
    warn(remark);
  }
  stamps.check();
  const double seconds = request.job.seconds();
  std::string text = answer_text(checkpoint, evaluation);
  const HoldInterrupts hold;
  if (calibrated) {
    write_calibrated_regressor(calibrated->written(), checkpoint, *evaluation.calibrated);
    calibrated->publish();
    text += fmt::format("wrote {}\n", request.save_calibrated);
  }
  if (page) {
    write_folder(request, checkpoint, evaluation, *page);
    text += fmt::format("wrote {}/report.html and, in a folder a stage, predictions\n",
                        request.out_dir);
  }
  const int code = record(request, checkpoint, evaluation, call, seconds);
  request.job.answer(
      out, [&] { return evaluation_json(checkpoint, options, evaluation); }, [&] { return text; });
  for (const RegressorStage& stage : evaluation.stages) {
    if (!stage.not_finite.empty()) fail(checkpoint.path, "finite positions", stage.not_finite);
  }
  return code;
}

}  // namespace

Form regressor_eval_form() {
  return form<RegressorEvalRequest>(
      {.kind = ModelKind::regressor,
       .summary = "a regressor's errors in metres, float and quantized",
       .example = "scute eval tests/golden/regressor/slim.pt --feat-root "
                  "tests/golden/regressor_features --quant-bits 8"});
}

}  // namespace scute::cli
