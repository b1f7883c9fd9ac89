// Min-max, percentile, and quamba, which is one or the other by site.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "scute/decide/choice.h"

namespace scute {

std::string to_text(double value) { return fmt::format("{:.10g}", value); }

double percent_of(double share) { return std::round(share * 1e12) / 1e10; }

Choice range_of_magnitude(const Distribution& distribution, double magnitude) {
  return {std::min(std::max(-magnitude, distribution.min()), 0.0),
          std::max(std::min(magnitude, distribution.max()), 0.0), "", ""};
}

Choice choose_minmax(const Question& question) {
  const double min = question.distribution.min(), max = question.distribution.max();
  Choice out{std::min(min, 0.0), std::max(max, 0.0), "minmax", ""};
  out.because = fmt::format("min-max keeps everything seen, {:.6g} … {:.6g}", min, max);
  return out;
}

Choice choose_percentile(const Question& question, double alpha, bool per_side) {
  const Distribution& d = question.distribution;
  const double percent = percent_of(alpha);
  Choice out{};
  if (question.grid.symmetric) {
    const double magnitude = d.magnitude_quantile(alpha);
    out = range_of_magnitude(d, magnitude);
    out.thin = thin_tail(d, percent, 1 - alpha, {.above = true});
    out.because = fmt::format("percentile {} of |x| is {:.6g}", to_text(percent), magnitude);
  } else {
    const double cut = per_side ? 1 - alpha : (1 - alpha) / 2;
    out.lo = d.min() >= 0 ? 0 : std::min(d.quantile(cut), 0.0);
    out.hi = d.max() <= 0 ? 0 : std::max(d.quantile(1 - cut), 0.0);
    out.thin = thin_tail(d, percent, cut, {.below = d.min() < 0, .above = d.max() > 0});
    out.because = fmt::format("percentile {}: {} % cut on each side that has values",
                              to_text(percent), to_text(percent_of(cut)));
  }
  out.policy = "percentile";
  out.percentile = percent;
  return out;
}

Choice choose_quamba(const Question& question, const Policy& policy, std::string_view site) {
  constexpr std::array<std::string_view, 3> kPercentileSites{"x_proj:input", "x_conv_out:input",
                                                             "ssm_state_act:input"};
  const size_t dot = site.rfind('.', site.find(':'));
  const std::string_view op = dot == std::string_view::npos ? site : site.substr(dot + 1);
  const bool listed = std::ranges::find(kPercentileSites, op) != kPercentileSites.end();
  Choice out =
      listed ? choose_percentile(question, policy.alpha, policy.per_side) : choose_minmax(question);
  out.because = fmt::format("quamba takes {} at {}: {}", listed ? "a percentile" : "min-max", op,
                            out.because);
  out.policy = "quamba";
  return out;
}

}  // namespace scute
