#include "scute/experiments/positions/record.h"

#include <fmt/format.h>

#include <cmath>

#include "scute/evaluate/metrics.h"
#include "scute/experiments/run_record.h"

namespace scute {
namespace {

Json number_or_null(double x) { return std::isfinite(x) ? Json(x) : Json(); }

Json errors_json(const PositionErrors& errors) {
  Json out;
  out["n"] = errors.count;
  out["mean"] = number_or_null(errors.mean);
  out["mean_stderr"] = number_or_null(errors.standard_error);
  out["max"] = number_or_null(errors.largest);
  // Named by who computes percentiles so: NumPy, and the training loop.
  const auto percentiles = [](const auto& p) {
    Json three;
    three["median"] = number_or_null(p.median);
    three["p80"] = number_or_null(p.p80);
    three["p90"] = number_or_null(p.p90);
    return three;
  };
  out["linear"] = percentiles(errors.linear);
  out["rank"] = percentiles(errors.rank);
  out["mae_x"] = number_or_null(errors.mae_x);
  out["mae_y"] = number_or_null(errors.mae_y);
  out["huber"] = number_or_null(errors.huber);
  return out;
}

Json comparison_json(const PositionComparison& c) {
  Json out;
  out["ratio"] = number_or_null(c.ratio);
  out["ratio_stderr"] = number_or_null(c.ratio_standard_error);
  out["difference"] = number_or_null(c.difference);
  out["difference_stderr"] = number_or_null(c.standard_error);
  out["rms_deviation"] = number_or_null(c.rms_deviation);
  out["mean_deviation"] = number_or_null(c.mean_deviation);
  out["largest_deviation"] = number_or_null(c.largest_deviation);
  return out;
}

Json stage_json(const RegressorStage& stage) {
  Json out;
  out["name"] = stage.name;
  out["description"] = stage.description;
  out["errors"] = errors_json(stage.errors);
  if (!stage.not_finite.empty()) out["not_finite"] = stage.not_finite;
  out["against_baseline"] =
      stage.against_baseline ? comparison_json(*stage.against_baseline) : Json();
  out["grid"]["on_grid"] = stage.grid.grid;
  out["grid"]["distinct_x"] = stage.grid.distinct_x;
  out["grid"]["distinct_y"] = stage.grid.distinct_y;
  out["grid"]["step_x"] = number_or_null(stage.grid.step_x);
  out["grid"]["step_y"] = number_or_null(stage.grid.step_y);
  return out;
}

Json quality_json(const RoundingQuality& quality) {
  Json out;
  out["bits"] = quality.bits;
  out["scale_min"] = quality.scale_least;
  out["scale_max"] = quality.scale_most;
  out["sat_ratio"] = quality.saturated;
  out["sqnr_db"] = number_or_null(quality.sqnr);  // null: exact
  return out;
}

Json diagnosis_json(const RegressorDiagnosis& diagnosis) {
  Json out;
  out["layers"] = Json::array();
  for (const LayerDiagnosis& layer : diagnosis.layers) {
    Json one;
    one["layer"] = layer.layer;
    one["activation"] = quality_json(layer.input);
    one["weight"] = quality_json(layer.weight);
    out["layers"].push_back(std::move(one));
  }
  out["divergence"] = Json::array();
  for (const SiteDivergence& site : diagnosis.divergence) {
    Json one;
    one["site"] = site.site;
    one["relative"] = number_or_null(site.relative);
    one["largest"] = number_or_null(site.largest);
    out["divergence"].push_back(std::move(one));
  }
  out["tolerance"] = diagnosis.tolerance;
  out["first_divergent"] = diagnosis.first_divergent ? Json(*diagnosis.first_divergent) : Json();
  return out;
}

Json sensitivity_json(const std::vector<LayerSensitivity>& layers) {
  Json out = Json::array();
  for (const LayerSensitivity& layer : layers) {
    Json one;
    one["layer"] = layer.layer;
    one["bits"] = layer.bits;
    one["errors"] = errors_json(layer.errors);
    one["against_baseline"] = comparison_json(layer.against_float);
    out.push_back(std::move(one));
  }
  return out;
}

/// What decides the result, and nothing else.
Json config_json(const RegressorCheckpoint& checkpoint, const RegressorEvalOptions& options,
                 const RegressorEvaluation& evaluation) {
  Json out;
  out["model"] = checkpoint.path;
  const bool quantized = evaluation.plan.has_value();
  const int bits = quantized ? evaluation.plan->how.bits : 32;
  out["w_bits"] = bits;
  out["a_bits"] = bits;
  out["percentile_alpha"] = nullptr;
  out["group_heads"] = false;
  out["apply_gptq"] = false;
  out["model_kind"] = "regressor";
  out["target"] = name_of(options.target);
  out["normalize"] = options.normalize;
  out["policy"] = quantized ? Json(describe(*evaluation.plan)) : Json("floats");
  const bool measured = evaluation.calibration_windows > 0 && quantized;
  out["calib_target"] = measured ? Json(name_of(evaluation.plan->role)) : Json();
  out["calib_windows"] = measured ? Json(evaluation.calibration_windows) : Json();
  return out;
}

/// The inputs of the rounded layers, as the log's schema has sites.
Json activation_json(const RegressorEvaluation& evaluation) {
  Json out = Json::object();
  if (!evaluation.diagnosis) return out;
  for (const LayerDiagnosis& layer : evaluation.diagnosis->layers) {
    const auto seen = evaluation.statistics.find(layer.layer + ":input");
    if (seen == evaluation.statistics.end()) continue;
    const double kept = layer.input.scale_most * GridSpec{layer.input.bits, true}.highest();
    Json one;
    one["before_percentile"] = range_json(seen->second.min, seen->second.max);
    one["after_percentile"] = range_json(-kept, kept);
    one["percentile_alpha"] = nullptr;
    one["clipped_ratio"] = layer.input.saturated;
    one["clipped_ratio_nominal"] = nullptr;
    one["count"] = static_cast<int64_t>(seen->second.count);
    one["policy"] = name_of(evaluation.plan->ranges.method);
    one["sqnr_db"] = number_or_null(layer.input.sqnr);
    out[seen->first] = std::move(one);
  }
  return out;
}

/// Of the last stage; items are windows in the order of the set.
MetricScore position_score(const RegressorEvaluation& evaluation, const std::string& features) {
  const RegressorStage& stage = evaluation.stages.back();
  const std::vector<float> errors =
      position_errors(stage.predicted.matrix<float>(), evaluation.set.actual.matrix<float>());
  std::vector<ScoredItem> items;
  for (const float error : errors) {
    items.push_back({fmt::to_string(items.size()), static_cast<double>(error)});
  }
  MetricScore out = score_of_items(position_error(), std::move(items),
                                   {{"file", features, ""},
                                    {"sha256", evaluation.features_sha256, ""},
                                    {"n", stage.errors.count, ""}});
  out.mean = stage.errors.mean;  // to the last digit what results.tasks says
  out.standard_error = stage.errors.standard_error;
  return out;
}

/// {"kind": "position", "index", "sequence", "error"} a window.
std::string position_lines(const PositionSet& set, const std::vector<ScoredItem>& items) {
  std::string out;
  for (const PositionSet::Part& part : set.parts) {
    for (int64_t i = part.first; i < part.first + part.count; ++i) {
      Json line;
      line["kind"] = "position";
      line["index"] = i;
      line["sequence"] = part.name;
      line["error"] = number_or_null(items[static_cast<size_t>(i)].value);
      out += line.dump() + "\n";
    }
  }
  return out;
}

std::string digits_of(double x, int digits) { return fmt::format("{:.{}f}", x, digits); }
std::string shortest(double x) { return fmt::format("{:.3g}", x); }
std::string whole(int64_t n) { return fmt::format("{}", n); }
std::string db(double x) { return std::isfinite(x) ? digits_of(x, 1) : "exact"; }

}  // namespace

Json evaluation_json(const RegressorCheckpoint& checkpoint, const RegressorEvalOptions& options,
                     const RegressorEvaluation& evaluation) {
  Json out;
  out["config"] = config_json(checkpoint, options, evaluation);
  out["windows"] = evaluation.set.actual.dim(0);
  out["sequences"] = std::ssize(evaluation.set.parts);
  out["stages"] = Json::array();
  for (const RegressorStage& stage : evaluation.stages) out["stages"].push_back(stage_json(stage));
  out["diagnosis"] = evaluation.diagnosis ? diagnosis_json(*evaluation.diagnosis) : Json();
  out["sensitivity"] = sensitivity_json(evaluation.sensitivity);
  out["nonfinite"]["nan"] = evaluation.found.nans;
  out["nonfinite"]["inf"] = evaluation.found.infinities;
  out["features_sha256"] = evaluation.features_sha256;
  out["calibration_sha256"] =
      evaluation.calibration_sha256.empty() ? Json() : Json(evaluation.calibration_sha256);
  out["remarks"] = Json::array();
  for (const std::string& remark : evaluation.remarks) out["remarks"].push_back(remark);
  return out;
}

EvaluationFacts position_facts(const RegressorCheckpoint& checkpoint,
                               const RegressorEvalOptions& options,
                               const RegressorEvaluation& evaluation,
                               const std::string& model_sha256, const std::string& out_dir) {
  EvaluationFacts out;
  out.config = config_json(checkpoint, options, evaluation);
  out.key = out.config;
  out.key["model"] = model_sha256;  // under another path it is the same experiment
  out.key["features"] = evaluation.features_sha256;
  out.key["calibration"] = evaluation.calibration_sha256;
  out.hashes["model"] = model_sha256;
  out.hashes["features"] = evaluation.features_sha256;
  out.hashes["calibration"] = evaluation.calibration_sha256;
  out.activation_stats = activation_json(evaluation);
  out.reorder_summary["enabled"] = false;
  out.reorder_summary["avg_range_reduction"] = nullptr;
  out.reorder_summary["total_layers"] = checkpoint.config.layers;
  const RegressorStage& last = evaluation.stages.back();
  Json& task = out.results["tasks"]["positions"];
  task = errors_json(last.errors);
  task["file"] = options.features;
  task["sha256"] = evaluation.features_sha256;
  task["against_baseline"] =
      last.against_baseline ? comparison_json(*last.against_baseline) : Json();
  task["baseline"] =
      evaluation.stages.size() > 1 ? errors_json(evaluation.stages.front().errors) : Json();
  if (!last.not_finite.empty()) out.results["not_finite"] = last.not_finite;
  out.score = {position_score(evaluation, options.features)};
  out.items = position_lines(evaluation.set, out.score.front().items);
  out.files["positions"] = out_dir.empty() ? Json() : Json(out_dir);
  return out;
}

std::vector<PageTable> diagnosis_tables(const RegressorEvaluation& evaluation) {
  std::vector<PageTable> out;
  if (evaluation.diagnosis) {
    PageTable layers{"Layers: what rounding does to the float network's values there",
                     {"layer", "bits", "input scale", "input sat_ratio", "input SQNR dB",
                      "weight sat_ratio", "weight SQNR dB"},
                     {}};
    for (const LayerDiagnosis& layer : evaluation.diagnosis->layers) {
      layers.rows.push_back({layer.layer, whole(layer.input.bits), shortest(layer.input.scale_most),
                             shortest(layer.input.saturated), db(layer.input.sqnr),
                             shortest(layer.weight.saturated), db(layer.weight.sqnr)});
    }
    PageTable sites{"Divergence from the float network, in the order tensors pass",
                    {"site", "relative error", "largest"},
                    {}};
    for (const SiteDivergence& site : evaluation.diagnosis->divergence) {
      sites.rows.push_back({site.site, shortest(site.relative), shortest(site.largest)});
    }
    out.push_back(std::move(layers));
    out.push_back(std::move(sites));
  }
  if (evaluation.sensitivity.empty()) return out;
  PageTable table{
      "Sensitivity: one layer in integers, all else in floats",
      {"layer", "bits", "mean error", "ratio to float", "paired SE", "RMS deviation mm"},
      {}};
  for (const LayerSensitivity& layer : evaluation.sensitivity) {
    const PositionComparison& c = layer.against_float;
    table.rows.push_back({layer.layer, whole(layer.bits), digits_of(layer.errors.mean, 5),
                          digits_of(c.ratio, 4), digits_of(c.ratio_standard_error, 4),
                          digits_of(c.rms_deviation * 1e3, 3)});
  }
  out.push_back(std::move(table));
  return out;
}

}  // namespace scute
