#include "scute/regressor/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "scute/io/file.h"
#include "scute/recipe/plan_meta.h"
#include "scute/regressor/quantize.h"
#include "scute/regressor/ranges.h"

namespace scute {
namespace {

using Mode = RegressorQuantization::Mode;

/// One evaluation on its way; its steps are called in the order in which they stand.
class Evaluation {
 public:
  Evaluation(const RegressorCheckpoint& checkpoint, const RegressorEvalOptions& options,
             const RegressorProgress& progress)
      : checkpoint_(checkpoint),
        options_(options),
        progress_(progress),
        threads_(options.threads),
        target_(read(options.target)) {
    out_.set = positions_of(target_);
    out_.features_sha256 = hash_features(target_);
    out_.remarks = checkpoint_.remarks;
    out_.remarks.insert(out_.remarks.end(), target_.remarks.begin(), target_.remarks.end());
  }

  void calibrate();
  void predict();
  void look_into();
  RegressorEvaluation take() { return std::move(out_); }

 private:
  FeatureFolder read(FeatureRole role) const {
    return read_feature_folder(options_.features, {role, checkpoint_.config.features,
                                                   checkpoint_.config.window, options_.normalize});
  }
  WindowProgress progress(const std::string& what) const {
    return [this, what](int64_t done, int64_t total) {
      if (progress_) progress_(what, done, total);
    };
  }
  void measure(FeatureRole role, int64_t windows);
  StatisticsSet measured() const;
  CalibratedRegressor stored() const;
  CalibratedRegressor decided() const;
  void warn_of_cut_positions();
  void warn_of_saturation();
  void add_stage(std::string name, std::string description, Tensor predicted);

  const RegressorCheckpoint& checkpoint_;
  const RegressorEvalOptions& options_;
  const RegressorProgress& progress_;
  Threads threads_;
  FeatureFolder target_;
  std::vector<AnyRegressor> models_;  ///< of the stages
  RegressorEvaluation out_;
};

void Evaluation::measure(FeatureRole role, int64_t windows) {
  const FeatureFolder folder = read(role);
  out_.calibration_windows = windows == 0 ? folder.windows() : std::min(windows, folder.windows());
  out_.calibration_sha256 = hash_features(folder);
  out_.statistics = measure_regressor(build_regressor(checkpoint_), folder, windows, threads_,
                                      progress("calibration"));
}

/// With where they come from, as they are kept in the checkpoint.
StatisticsSet Evaluation::measured() const {
  StatisticsSet out{.sites = out_.statistics, .meta = {}};
  out.meta["tool"] = "scute " SCUTE_VERSION;
  out.meta["model"] = std::filesystem::path(checkpoint_.path).filename().string();
  out.meta["model_sha256"] = hash_regressor(checkpoint_);
  out.meta["samples"] = out_.calibration_windows;
  out.meta["features_sha256"] = out_.calibration_sha256;
  out.meta["role"] = std::string(name_of(out_.plan->role));
  return out;
}

void Evaluation::calibrate() {
  const bool has_scales = !checkpoint_.scales.empty() || checkpoint_.formats;
  if (options_.flags.any() || has_scales) out_.plan = plan_regressor(checkpoint_, options_.flags);
  const bool decides = out_.plan && !out_.plan->stored && out_.plan->how.mode != Mode::fixed;
  if (!decides && !options_.sensitivity) return;
  const RegressorPlan plan = out_.plan.value_or(RegressorPlan{});
  if (plan.role == options_.target) {
    out_.remarks.push_back(fmt::format(
        "calibrated on the role that is scored ({}): its figures flatter the quantized stage",
        name_of(plan.role)));
  }
  measure(plan.role, plan.batches * options_.batch);
}

/// The checkpoint's own scales.
CalibratedRegressor Evaluation::stored() const {
  const RegressorPlan& plan = *out_.plan;
  CalibratedRegressor out;
  out.how = plan.how;
  if (checkpoint_.formats && plan.how.backend == RegressorBackend::integer) {
    out.formats = checkpoint_.formats;
  } else {
    out.rounding = stored_rounding(checkpoint_, plan.how.backend);
  }
  if (checkpoint_.plan) out.plan = *checkpoint_.plan;
  out.statistics = checkpoint_.statistics;
  out.provenance = {{"tool", "scute " SCUTE_VERSION},
                    {"plan", describe(plan)},
                    {"source_sha256", hash_regressor(checkpoint_)},
                    {"calibration_sha256", ""}};
  return out;
}

/// decide and quantize, as the commands of these names do it.
CalibratedRegressor Evaluation::decided() const {
  const RegressorPlan& how = *out_.plan;
  if (how.how.mode == Mode::fixed) return quantize_regressor(checkpoint_, how.how, {}, nullptr);
  const StatisticsSet statistics = measured();
  Plan plan = decide_regressor(statistics.sites, how.how, how.ranges);
  plan.meta = plan_meta(statistics, "");
  plan.meta["policy"] = policy_of(how.ranges.method).name();
  plan.meta["headroom"] = how.ranges.headroom;
  plan.meta["bits"] = how.how.bits;
  return quantize_regressor(checkpoint_, how.how, plan, &statistics);
}

void Evaluation::add_stage(std::string name, std::string description, Tensor predicted) {
  const auto actual = out_.set.actual.matrix<float>(), y = predicted.matrix<float>();
  RegressorStage stage{std::move(name),           std::move(description), predicted,
                       scute::measure(y, actual), find_grid(y),           {}};
  if (!out_.stages.empty()) {
    stage.against_baseline = compare(y, out_.stages.front().predicted.matrix<float>(), actual);
  }
  if (stage.grid.grid) {
    out_.remarks.push_back(fmt::format(
        "{}: the predictions stand on a grid of {:.3g} x {:.3g} mm ({} and {} different "
        "values among {} windows): too few fractional bits at the output",
        stage.name, stage.grid.step_x * 1e3, stage.grid.step_y * 1e3, stage.grid.distinct_x,
        stage.grid.distinct_y, y.rows));
  }
  out_.stages.push_back(std::move(stage));
}

void Evaluation::predict() {
  if (options_.flags.any() || !out_.plan) models_.push_back(build_regressor(checkpoint_));
  if (out_.plan) {
    out_.calibrated = out_.plan->stored ? stored() : decided();
    models_.push_back(build_calibrated(checkpoint_, *out_.calibrated));
  }
  std::vector<const AnyRegressor*> models;
  for (const AnyRegressor& model : models_) models.push_back(&model);
  FolderPredictions predictions = predict_folder(models, target_, threads_, progress("positions"));
  out_.found = predictions.found;
  const bool two = models.size() == 2;
  if (two || !out_.plan) {
    add_stage(kRegressorStages[0], "floats", predictions.predicted.front());
    out_.stages.back().not_finite = predictions.not_finite.front();
  }
  if (!out_.plan) return;
  for (const std::string& remark : out_.plan->remarks) out_.remarks.push_back(remark);
  add_stage(kRegressorStages[1], describe(*out_.plan), predictions.predicted.back());
  out_.stages.back().not_finite = predictions.not_finite.back();
  warn_of_cut_positions();
}

void Evaluation::warn_of_cut_positions() {
  if (!out_.calibrated->formats) return;
  const Grid& grid = out_.calibrated->formats->value("head:output");
  const float lowest = grid.value(grid.spec.lowest()), highest = grid.value(grid.spec.highest());
  const Tensor& predicted = out_.stages.back().predicted;
  const auto rows = predicted.matrix<float>();
  int64_t cut = 0;
  for (int64_t r = 0; r < rows.rows; ++r) {
    const auto at_end = [&](float x) { return x <= lowest || x >= highest; };
    if (at_end(rows.row(r)[0]) || at_end(rows.row(r)[1])) ++cut;
  }
  if (cut == 0) return;
  out_.remarks.push_back(
      fmt::format("quant: {} of {} predictions are cut at {:.3g} m, the end of the output's codes; "
                  "calibrate on more of the area, or raise --calib-headroom",
                  cut, rows.rows, highest));
}

/// Of the layers' inputs. The extension keeps 8-bit codes 0 … 255 in signed bytes
/// (README.md).
void Evaluation::warn_of_saturation() {
  constexpr double kMuch = 1e-3;
  const auto& layers = out_.diagnosis->layers;
  const auto worst = std::ranges::max_element(
      layers, {}, [](const LayerDiagnosis& layer) { return layer.input.saturated; });
  if (worst == layers.end() || worst->input.saturated <= kMuch) return;
  const double percent = worst->input.saturated * 100;
  const RegressorQuantization& how = out_.plan->how;
  if (how.backend == RegressorBackend::extension && how.bits == 8) {
    out_.remarks.push_back(fmt::format(
        "quant: the extension keeps 8-bit input codes above 127 in signed bytes, where they wrap "
        "round: {:.3g} % of the values at {}:input. Its arithmetic is reproduced; for a usable "
        "INT8 "
        "take --quant-backend integer",
        percent, worst->layer));
    return;
  }
  out_.remarks.push_back(
      fmt::format("quant: {:.3g} % of the values at {}:input saturate: its range is too small for "
                  "these windows",
                  percent, worst->layer));
}

void Evaluation::look_into() {
  if (options_.diagnose && out_.plan) {
    if (progress_) progress_("diagnosis", 0, 1);
    const CalibratedRegressor& calibrated = *out_.calibrated;
    const RegressorRounding rounding =
        calibrated.formats ? rounding_of(*calibrated.formats) : calibrated.rounding;
    out_.diagnosis = diagnose(checkpoint_, models_.back(), rounding, target_);
    warn_of_saturation();
    if (progress_) progress_("diagnosis", 1, 1);
  }
  if (!options_.sensitivity) return;
  const RegressorRangeOptions ranges = out_.plan ? out_.plan->ranges : RegressorRangeOptions{};
  out_.sensitivity = measure_sensitivity(checkpoint_, out_.statistics, ranges, target_, threads_,
                                         progress("sensitivity"));
}

}  // namespace

RegressorEvaluation evaluate_regressor(const RegressorCheckpoint& checkpoint,
                                       const RegressorEvalOptions& options,
                                       const RegressorProgress& progress) {
  Evaluation evaluation(checkpoint, options, progress);
  evaluation.calibrate();
  evaluation.predict();
  evaluation.look_into();
  return evaluation.take();
}

}  // namespace scute
