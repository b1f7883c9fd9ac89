// For tests: statistics of a Cobra on pictures, its outputs for them, and how far they are apart.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "scute/cobra/collect.h"
#include "scute/cobra/quantize.h"

namespace scute::cobra_models {

inline constexpr const char* kModelPath = "tests/golden/cobra/model";
inline constexpr const char* kPicturesPath = "tests/golden/cobra/pictures";

/// Of all sites, on all pictures of a folder.
inline StatisticsSet measure(const CobraDescription& model, const std::string& pictures) {
  CobraCollectOptions options;
  options.images = pictures;
  options.sites = "*";
  options.per_channel = true;
  return collect_cobra(model, options, {.threads = 2}).statistics;
}

/// Of the repository's own model; measured once.
inline const StatisticsSet& small_statistics() {
  static const StatisticsSet statistics = measure(describe_cobra(kModelPath), kPicturesPath);
  return statistics;
}

inline Plan plan_of(const StatisticsSet& statistics, const char* policy) {
  PlanOptions options;
  options.policy = Policy::parse(policy);
  Plan out = make_plan(statistics.sites, options);
  out.meta["model_sha256"] = statistics.meta.at("model_sha256", "");
  return out;
}

/// The same without sites for which `drop` is true.
template <class F>
Plan without(Plan plan, F drop) {
  std::erase_if(plan.sites, [&](const auto& entry) { return drop(entry.first); });
  return plan;
}

inline Decision range(double lo, double hi) {
  Decision out;
  out.lo = out.before_lo = lo;
  out.hi = out.before_hi = hi;
  return out;
}

/// What tower `index` makes of a picture.
inline std::vector<float> tower_output(const CobraModel& model, const CobraDescription& description,
                                       const std::string& picture, size_t index) {
  const std::vector<Tensor> pixels = tower_pixels(description, read_picture(picture));
  Run run;
  const CobraConfig& config = model.config();
  Tensor features(DType::f32, {config.towers.front().patches(), config.projector_config().vision});
  const auto all = features.mutable_matrix<float>();
  model.features(run, pixel_views(pixels), all);
  int64_t first = 0;
  for (size_t i = 0; i < index; ++i) first += config.towers[i].width;
  std::vector<float> out;
  for (int64_t r = 0; r < all.rows; ++r) {
    const float* row = all.row(r) + first;
    out.insert(out.end(), row, row + config.towers[index].width);
  }
  return out;
}

/// ‖a − b‖ / ‖b‖.
inline double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    difference += (x - y) * (x - y);
    size += y * y;
  }
  return std::sqrt(difference / size);
}

inline const Tensor* find(const std::vector<NamedTensor>& tensors, const std::string& name) {
  for (const NamedTensor& item : tensors) {
    if (item.name == name) return &item.tensor;
  }
  return nullptr;
}

/// Whether a remark contains both parts.
inline bool remarked(const std::vector<std::string>& remarks, const std::string& one,
                     const std::string& other = "") {
  for (const std::string& sentence : remarks) {
    if (sentence.find(one) != std::string::npos && sentence.find(other) != std::string::npos) {
      return true;
    }
  }
  return false;
}

}  // namespace scute::cobra_models
