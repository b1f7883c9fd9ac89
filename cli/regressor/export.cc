#include "cli/regressor/export.h"

#include <fmt/format.h>

#include "cli/terminal/interrupt.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/words.h"
#include "scute/regressor/export/export.h"
#include "scute/regressor/export/steps.h"
#include "scute/regressor/export/vectors.h"
#include "scute/regressor/predict.h"

namespace scute::cli {
namespace {

using Mode = RegressorQuantization::Mode;

void check(const PositionExport& request) {
  if (request.q88 == request.per_layer) {
    throw UsageError("expected one of --q8.8 and --per-layer for a regressor's checkpoint");
  }
  if (!request.bits) return;
  if (*request.bits != 8 && *request.bits != 16) {
    throw UsageError(fmt::format("--bits: expected 8 or 16, found \"{}\"", *request.bits));
  }
  if (request.q88 && *request.bits != 16) {
    throw UsageError("--bits: expected 16, which is what Q8.8 has (or --per-layer), found \"8\"");
  }
}

FeatureFolder read_features(const PositionExport& request, const RegressorConfig& config,
                            const std::string& role) {
  return read_feature_folder(request.feat_root, {.role = parse_feature_role(role),
                                                 .features = config.features,
                                                 .window = config.window,
                                                 .normalize = !request.no_normalize});
}

/// Qm.n of every layer from what the float network does on the calibration role.
RegressorStatistics measure(const PositionExport& request, const RegressorCheckpoint& checkpoint) {
  const FeatureFolder folder = read_features(request, checkpoint.config, request.calibration);
  StepProgress progress(request.quiet);
  return measure_regressor(
      build_regressor(checkpoint), folder, request.batches * request.batch_size,
      Threads(request.threads),
      [&](int64_t done, int64_t total) { progress.update("calibration", "windows", done, total); });
}

RegressorFormats formats_of(const PositionExport& request, const RegressorCheckpoint& checkpoint) {
  if (request.per_layer && checkpoint.formats && all_powers_of_two(*checkpoint.formats)) {
    const int stored = checkpoint.formats->layer("proj").input.spec.bits;
    if (request.bits && *request.bits != stored) {
      throw UsageError(
          fmt::format("--bits: expected {}, those of the checkpoint's own formats, found \"{}\"",
                      stored, *request.bits));
    }
    note(request.quiet, "scute: the checkpoint's own formats are used; nothing is calibrated");
    return *checkpoint.formats;
  }
  RegressorQuantization how;
  how.backend = RegressorBackend::integer;
  how.all = true;
  how.mode = request.q88 ? Mode::fixed : Mode::per_layer;
  how.bits = static_cast<int>(request.bits.value_or(16));
  const RegressorTensors tensors(checkpoint.config, checkpoint.weights);
  if (request.q88) return decide_formats(checkpoint.config, tensors, how, {}, {});
  if (request.feat_root.empty()) {
    throw UsageError(
        "--per-layer: expected --feat-root DIR, whose train role the formats are decided from");
  }
  return decide_formats(checkpoint.config, tensors, how, measure(request, checkpoint),
                        {parse_regressor_method(request.method), request.headroom});
}

/// In canonical form, without what does not influence the result.
std::string command_of(const PositionExport& request, const std::string& model) {
  std::vector<std::string> words{"export", model, request.q88 ? "--q8.8" : "--per-layer"};
  const auto add = [&](const char* flag, std::string value) {
    words.emplace_back(flag);
    words.push_back(std::move(value));
  };
  if (request.bits) add("--bits", fmt::format("{}", *request.bits));
  if (!request.feat_root.empty()) add("--feat-root", request.feat_root);
  if (request.per_layer && !request.feat_root.empty()) {
    add("--calib-headroom", fmt::format("{}", request.headroom));
    add("--calib-method", request.method);
    add("--calib-target", request.calibration);
    add("--quant-calib-batches", fmt::format("{}", request.batches));
    add("--batch-size", fmt::format("{}", request.batch_size));
  }
  if (!request.feat_root.empty()) add("--target", request.target);
  add("--vectors", fmt::format("{}", request.vectors));
  if (request.no_normalize) words.emplace_back("--no-normalize");
  return shell_command(words);
}

void answer(const PositionExport& request, const ExportTarget& target,
            const RegressorExport& written, Output& out) {
  int64_t bytes = 0;
  for (const ExportedFile& file : written.files) bytes += std::ssize(file.text);
  const char* mode = request.q88 ? "q8.8" : "per-layer";
  if (target.json) {
    Json result;
    result["folder"] = target.folder;
    result["mode"] = mode;
    result["files"] = std::ssize(written.files);
    result["bytes"] = bytes;
    result["vectors"] = written.windows;
    result["sites"] = written.sites;
    return out.write_json(result);
  }
  out.write(fmt::format("wrote      {}: {} files, {}, {}\nvectors    {}, at {} sites each\n",
                        target.folder, written.files.size(), bytes_text(bytes), mode,
                        count_of(written.windows, "window"), written.sites));
}

}  // namespace

void PositionExport::add_to(Options& options) {
  options.flag("--q8.8", q88, "a regressor (CKPT.pt) for hardware, every code Q8.8");
  options.flag("--per-layer", per_layer,
               "a regressor for hardware, a power of two as the scale of each layer");
  options.integer("--bits", bits, {.least = 8, .most = 16}, "16, or the checkpoint's own",
                  "of the layers' inputs and weights, 8 or 16 (--per-layer)");
  options.text("--feat-root", feat_root, "DIR",
               "feature folder: calibration of --per-layer, frames of the test vectors");
  options.number("--calib-headroom", headroom, 1, 16, "factor on the calibrated ranges");
  options.choice("--calib-method", method, {"maxabs", "p99", "mse"}, "range of a layer's input");
  options.choice("--calib-target", calibration, {"train", "eval", "test", "auto"},
                 "role that --per-layer is calibrated on");
  options.integer("--quant-calib-batches", batches, {.least = 0, .most = 1 << 20},
                  "batches calibrated on; 0: all");
  options.integer("--batch-size", batch_size, {.least = 1, .most = 1 << 20}, "windows in a batch");
  options.integer("--vectors", vectors, {.least = 1, .most = 4096},
                  "windows in the test vectors, spread over the role");
  options.choice("--target", target, {"train", "eval", "test", "auto"},
                 "role of the test vectors; without --feat-root they are random numbers");
  options.flag("--no-normalize", no_normalize, "features as stored, without stats_train.npz");
  options.machine(threads);
  options.quiet(quiet);
}

int export_positions(const PositionExport& request, const ExportTarget& target, Output& out) {
  check(request);
  const RegressorCheckpoint checkpoint = read_regressor_checkpoint(target.model);
  const RegressorFormats formats = formats_of(request, checkpoint);
  RegressorExportNotes notes;
  notes.command = command_of(request, target.model);
  notes.mode = request.q88 ? "q8.8" : "per-layer";
  notes.windows = "standard normal numbers";
  Tensor windows;
  if (request.feat_root.empty()) {
    windows = normal_windows(checkpoint.config, request.vectors);
  } else {
    const FeatureFolder folder = read_features(request, checkpoint.config, request.target);
    windows = spread_windows(folder, checkpoint.config.window, request.vectors);
    notes.windows = fmt::format("{}, role {}", request.feat_root, request.target);
  }
  const RegressorExport made = make_regressor_export(checkpoint, formats, windows, notes);
  const HoldInterrupts hold;
  write_regressor_export(made, target.folder, target.model, target.force);
  answer(request, target, made, out);
  return kDone;
}

}  // namespace scute::cli
