// scute export CKPT.pt: a regressor for hardware.
#include "scute/regressor/export/export.h"

#include <fmt/format.h>

#include "cli/described.h"
#include "cli/form.h"
#include "cli/regressor/calibration_flags.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/job.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/words.h"
#include "scute/base/names.h"
#include "scute/regressor/export/steps.h"
#include "scute/regressor/export/vectors.h"
#include "scute/regressor/predict.h"

namespace scute::cli {
namespace {

using Mode = RegressorQuantization::Mode;

struct RegressorExportRequest {
  std::string model, folder, target = "eval";
  bool q88 = false, per_layer = false, force = false;
  Job job;
  FeatureFlags features;
  CalibrationFlags calibration;
  int64_t vectors = 8;

  std::string method() const { return calibration.method.value_or(CalibrationFlags::kMethod); }
  std::string role() const { return calibration.role.value_or(CalibrationFlags::kRole); }
  double headroom() const { return calibration.headroom.value_or(CalibrationFlags::kHeadroom); }
  int64_t batches() const { return calibration.batches.value_or(CalibrationFlags::kBatches); }
  int64_t batch_size() const {
    return calibration.batch_size.value_or(CalibrationFlags::kBatchSize);
  }

  void declare(Options& options);
  void check() const;
};

void RegressorExportRequest::declare(Options& options) {
  options.model(model);
  options.flag("--q8.8", q88, "every code Q8.8");
  options.flag("--per-layer", per_layer, "a power of two as the scale of each layer");
  options.out_folder(folder, force);
  features.declare(options);
  calibration.declare(options, "16, or the checkpoint's own");
  options.integer("--vectors", vectors, {.least = 1, .most = 4096},
                  "windows in the test vectors, spread over the role");
  declare_target(options, target);
  job.declare(options);
  std::vector<std::string> measured = calibration_flags();
  measured.emplace_back("--batch-size");
  options.not_with(measured, "--q8.8, which measures nothing,", [this] { return q88; });
  options.only_with(measured, "--feat-root DIR");
  options.only_with({"--no-normalize", "--target"}, "--feat-root DIR");
  options.note(
      "--feat-root: --per-layer is calibrated on it, and test vectors are its frames; without it "
      "they are random numbers.");
}

void RegressorExportRequest::check() const {
  if (q88 == per_layer) {
    throw UsageError("expected one of --q8.8 and --per-layer for a regressor's checkpoint");
  }
  if (q88 && calibration.bits.value_or(16) != 16) {
    throw UsageError("--bits: expected 16, which is what Q8.8 has (or --per-layer), found \"8\"");
  }
}

FeatureFolder read_features(const RegressorExportRequest& request, const RegressorConfig& config,
                            const std::string& role) {
  return read_feature_folder(request.features.root, {.role = parse_feature_role(role),
                                                     .features = config.features,
                                                     .window = config.window,
                                                     .normalize = !request.features.no_normalize});
}

/// Qm.n of every layer from what the float network does on the calibration role.
RegressorStatistics measure(const RegressorExportRequest& request,
                            const RegressorCheckpoint& checkpoint) {
  const FeatureFolder folder = read_features(request, checkpoint.config, request.role());
  StepProgress progress(request.job.quiet);
  return measure_regressor(
      build_regressor(checkpoint), folder, request.batches() * request.batch_size(),
      Threads(request.job.threads),
      [&](int64_t done, int64_t total) { progress.update("calibration", "windows", done, total); });
}

RegressorFormats formats_of(const RegressorExportRequest& request,
                            const RegressorCheckpoint& checkpoint, const Call& call) {
  if (request.per_layer && checkpoint.formats && all_powers_of_two(*checkpoint.formats)) {
    std::vector<std::string> measured = calibration_flags();
    measured.emplace_back("--batch-size");
    only_with(call, measured, "a checkpoint without formats of its own, which are used,", false);
    const int stored = checkpoint.formats->layer("proj").input.spec.bits;
    if (request.calibration.bits && *request.calibration.bits != stored) {
      throw UsageError(
          fmt::format("--bits: expected {}, those of the checkpoint's own formats, found \"{}\"",
                      stored, *request.calibration.bits));
    }
    note(request.job.quiet, "scute: the checkpoint's own formats are used; nothing is calibrated");
    return *checkpoint.formats;
  }
  RegressorQuantization how;
  how.backend = RegressorBackend::integer;
  how.all = true;
  how.mode = request.q88 ? Mode::fixed : Mode::per_layer;
  how.bits = static_cast<int>(request.calibration.bits.value_or(16));
  const RegressorTensors tensors(checkpoint.config, checkpoint.weights);
  if (request.q88) return decide_formats(checkpoint.config, tensors, how, {}, {});
  if (request.features.root.empty()) {
    throw UsageError(
        "--per-layer: expected --feat-root DIR, whose train role the formats are decided from");
  }
  return decide_formats(checkpoint.config, tensors, how, measure(request, checkpoint),
                        {parse_regressor_method(request.method()), request.headroom()});
}

/// In canonical form, without what does not influence the result.
std::string command_of(const RegressorExportRequest& request, const std::string& model) {
  std::vector<std::string> words{"export", base_name(model),
                                 request.q88 ? "--q8.8" : "--per-layer"};
  const auto add = [&](const char* flag, std::string value) {
    words.emplace_back(flag);
    words.push_back(std::move(value));
  };
  if (request.calibration.bits) add("--bits", fmt::format("{}", *request.calibration.bits));
  if (!request.features.root.empty()) add("--feat-root", base_name(request.features.root));
  if (request.per_layer && !request.features.root.empty()) {
    add("--calib-headroom", fmt::format("{}", request.headroom()));
    add("--calib-method", request.method());
    add("--calib-target", request.role());
    add("--quant-calib-batches", fmt::format("{}", request.batches()));
    add("--batch-size", fmt::format("{}", request.batch_size()));
  }
  if (!request.features.root.empty()) add("--target", request.target);
  add("--vectors", fmt::format("{}", request.vectors));
  if (request.features.no_normalize) words.emplace_back("--no-normalize");
  return shell_command(words);
}

void answer(const RegressorExportRequest& request, const RegressorExport& written, Output& out) {
  int64_t bytes = 0;
  for (const ExportedFile& file : written.files) bytes += std::ssize(file.text);
  const char* mode = request.q88 ? "q8.8" : "per-layer";
  if (request.job.json) {
    Json result;
    result["folder"] = request.folder;
    result["mode"] = mode;
    result["files"] = std::ssize(written.files);
    result["bytes"] = bytes;
    result["vectors"] = written.windows;
    result["sites"] = written.sites;
    return out.write_json(result);
  }
  out.write(fmt::format("wrote      {}: {} files, {}, {}\nvectors    {}, at {} sites each\n",
                        request.folder, written.files.size(), bytes_text(bytes), mode,
                        count_of(written.windows, "window"), written.sites));
}

int run(RegressorExportRequest& request, const Call& call, Output& out) {
  const RegressorCheckpoint checkpoint = described_regressor(request.model, request.job.quiet);
  const RegressorFormats formats = formats_of(request, checkpoint, call);
  RegressorExportNotes notes;
  notes.command = command_of(request, request.model);
  notes.mode = request.q88 ? "q8.8" : "per-layer";
  notes.windows = "standard normal numbers";
  Tensor windows;
  if (request.features.root.empty()) {
    windows = normal_windows(checkpoint.config, request.vectors);
  } else {
    const FeatureFolder folder = read_features(request, checkpoint.config, request.target);
    windows = spread_windows(folder, checkpoint.config.window, request.vectors);
    notes.windows = fmt::format("{}, role {}", base_name(request.features.root), request.target);
  }
  const RegressorExport made = make_regressor_export(checkpoint, formats, windows, notes);
  const HoldInterrupts hold;
  write_regressor_export(made, request.folder, request.model, request.force);
  answer(request, made, out);
  return kDone;
}

}  // namespace

Form regressor_export_form() {
  return form<RegressorExportRequest>(
      {.kind = ModelKind::regressor,
       .summary = "a regressor for hardware: .mem files, tables, a C header, test vectors",
       .example = "scute export tests/golden/regressor/slim_dwconv.pt --q8.8 --out regressor-q88"});
}

}  // namespace scute::cli
