#include "scute/observe/ema.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"

namespace scute {

float interpolated_quantile(std::vector<float>& values, double share) {
  const double rank = share * static_cast<double>(values.size() - 1);
  const auto low = static_cast<size_t>(rank);
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(low);
  std::nth_element(values.begin(), at, values.end());
  const double below = *at;
  const double weight = rank - static_cast<double>(low);
  if (weight == 0) return *at;
  const double above = *std::min_element(at + 1, values.end());
  return static_cast<float>(below + weight * (above - below));
}

EmaObserver::EmaObserver(const std::vector<Site>& sites, const EmaOptions& options)
    : options_(options) {
  if (!(options.sigma > 0 && options.sigma <= 1)) {
    fail("ema", "sigma in (0, 1]", fmt::to_string(options.sigma));
  }
  if (!(options.alpha >= 0 && options.alpha <= 1)) {
    fail("ema", "alpha in [0, 1]", fmt::to_string(options.alpha));
  }
  for (const Site& site : sites) wanted_.insert(site.name);
}

bool EmaObserver::wants(const Site& site) const { return wanted_.contains(site.name); }

void EmaObserver::see(const Site& site, MatView<const float> x) {
  if (x.size() == 0) return;
  scratch_.clear();
  scratch_.reserve(static_cast<size_t>(x.size()));
  float largest = 0;
  bool has_nan = false;
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; ++c) {
      const float magnitude = std::abs(x.row(r)[c]);
      has_nan = has_nan || std::isnan(magnitude);
      largest = std::max(largest, magnitude);
      scratch_.push_back(magnitude);
    }
  }
  EmaResult& result = results_[site.name];
  if (has_nan) {
    ++result.nan_samples;
    return;
  }
  const float percentile = interpolated_quantile(scratch_, options_.alpha);
  const auto sigma = static_cast<float>(options_.sigma);
  if (result.samples == 0) {
    result.percentile = percentile;
    result.max = largest;
  } else {
    result.percentile += sigma * (percentile - result.percentile);
    result.max += sigma * (largest - result.max);
  }
  ++result.samples;
}

}  // namespace scute
