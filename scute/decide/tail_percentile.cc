// A percentile picked by the shape of the upper tail.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "scute/decide/choice.h"

namespace scute {
namespace {

constexpr double kFinest = 99.999;  // of the percentiles that the rules look at

struct Shape {
  double z999, z9999, z99999;  ///< distance from the median in robust standard deviations
  double g999, g9999, g99999;  ///< how much the distance to the next percentile grows
};

Shape shape_of(const TailPercentiles& p) {
  constexpr double kFloor = 1e-6, kEpsilon = 1e-6;
  // 0.7413 = 1 / (2·0.67449): the interquartile range of a normal in standard deviations.
  const double spread = std::max(0.7413 * (p.p75 - p.p25), kFloor);
  const double d99 = p.p99 - p.p90, d999 = p.p99_9 - p.p99;
  const double d9999 = p.p99_99 - p.p99_9, d99999 = p.p99_999 - p.p99_99;
  return {(p.p99_9 - p.p50) / spread, (p.p99_99 - p.p50) / spread, (p.p99_999 - p.p50) / spread,
          d999 / (d99 + kEpsilon),    d9999 / (d999 + kEpsilon),   d99999 / (d9999 + kEpsilon)};
}

TailChoice pick(const Shape& s) {
  constexpr double kSteep = 3, kFlat = 1.5;
  const bool flat = s.g999 <= kFlat && s.g9999 <= kFlat;
  if (s.z999 <= 6 && flat) return {99, 1};
  if (s.g999 >= kSteep) return {99, 2};
  if (s.g9999 >= kSteep) return {99.9, 3};
  if (s.g99999 >= kSteep) return {99.99, 4};
  if (flat && s.g99999 <= kFlat && s.z99999 >= 12) return {99.999, 5};
  if (s.z9999 <= 9) return {99.99, 6};
  return {99.9, 7};
}

}  // namespace

TailChoice tail_rule(const TailPercentiles& percentiles) { return pick(shape_of(percentiles)); }

Choice choose_tail(const Question& question, const Policy& policy) {
  std::string reason;
  double percentile = 0;
  if (policy.percentile_override) {
    percentile = *policy.percentile_override;
    reason = "percentile given";
  } else {
    const Distribution& d = question.distribution;
    const TailPercentiles p{d.quantile(0.25),   d.quantile(0.5),    d.quantile(0.75),
                            d.quantile(0.9),    d.quantile(0.99),   d.quantile(0.999),
                            d.quantile(0.9999), d.quantile(0.99999)};
    const TailChoice choice = tail_rule(p);
    const Shape shape = shape_of(p);
    percentile = choice.percentile;
    reason = fmt::format(
        "tail rule {} (p99.9 lies {:.3g} robust deviations above the median, steps grow by {:.3g}, "
        "{:.3g}, {:.3g})",
        choice.rule, shape.z999, shape.g999, shape.g9999, shape.g99999);
  }
  Choice out = choose_percentile(question, percentile / 100, policy.per_side);
  out.because = fmt::format("{}: {}", reason, out.because);
  // The rules look at this one whichever they pick.
  if (!policy.percentile_override && !out.thin) {
    out.thin = thin_tail(question.distribution, kFinest, 1 - kFinest / 100, {.above = true});
  }
  out.policy = "tail";
  return out;
}

}  // namespace scute
