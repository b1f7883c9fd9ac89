#include "scute/regressor/export/vectors.h"

#include <algorithm>
#include <cmath>

#include "scute/base/random.h"
#include "scute/models/regressor/predict.h"
#include "scute/tensor/tap.h"

namespace scute {
namespace {

/// Turns what it sees back into codes: a scale that is a power of two divides exactly.
class CodeTap : public Tap {
 public:
  CodeTap(const SiteList& sites, const ShiftRegressor& shifts) {
    for (const Site& site : sites.sites()) {
      seen_.push_back({site.name, format_of_site(shifts, site.name), site.shape.at(0), {}});
    }
  }
  bool wants(const Site& site) const override { return site.index >= 0; }
  void see(const Site& site, MatView<const float> values) override {
    SiteVectors& to = seen_.at(static_cast<size_t>(site.index));
    for (int64_t r = 0; r < values.rows; ++r) {
      for (int64_t c = 0; c < values.cols; ++c) {
        to.codes.push_back(static_cast<int16_t>(std::ldexp(values.row(r)[c], to.format.fraction)));
      }
    }
  }
  std::vector<SiteVectors> take() { return std::move(seen_); }

 private:
  std::vector<SiteVectors> seen_;
};

}  // namespace

std::vector<SiteVectors> record_vectors(const IntegerRegressor& model, const ShiftRegressor& shifts,
                                        const Tensor& windows) {
  CodeTap tap(model.sites(), shifts);
  Run run(&tap);
  // As one sequence: windows that share nothing, each frame and patch shown once, in order.
  const auto all = windows.values<float>();
  const int64_t K = model.config().window, Din = model.config().features;
  std::vector<int64_t> ends;
  for (int64_t b = 1; b <= windows.dim(0); ++b) ends.push_back(b * K);
  predict(model, {all.data(), windows.dim(0) * K, Din}, ends, run);
  return tap.take();
}

Tensor spread_windows(const FeatureFolder& folder, int64_t window, int64_t count) {
  const int64_t total = folder.windows(), chosen = std::min(count, total);
  Tensor out;
  int64_t next = 0, before = 0;  // of the chosen ones; windows of the sequences before
  NonFinite found;
  for (const FeatureSequence& sequence : folder.sequences) {
    const Tensor frames = normalized_frames(sequence, folder.normalization, found);
    const auto rows = frames.matrix<float>();
    if (out.size() == 0) out = Tensor(DType::f32, {chosen, window, rows.cols});
    const int64_t own = std::ssize(sequence.ends);
    for (; next < chosen && next * total / chosen < before + own; ++next) {
      const int64_t end = sequence.ends[static_cast<size_t>(next * total / chosen - before)];
      std::copy_n(rows.row(end - window), window * rows.cols,
                  out.mutable_values<float>().begin() + next * window * rows.cols);
    }
    before += own;
  }
  return out;
}

Tensor normal_windows(const RegressorConfig& config, int64_t count) {
  Tensor out(DType::f32, {count, config.window, config.features});
  Random random(20260101);
  for (float& x : out.mutable_values<float>()) x = static_cast<float>(random.normal());
  return out;
}

}  // namespace scute
