#include "scute/evaluate/not_finite.h"

#include <fmt/format.h>

#include <cmath>

namespace scute {

void NotFiniteWatch::see(const Site& site, MatView<const float> values) {
  for (int64_t r = 0; r < values.rows; ++r) {
    const float* row = values.row(r);
    for (int64_t c = 0; c < values.cols; ++c) {
      if (std::isfinite(row[c])) continue;
      found_ = fmt::format("{} first at {}, row {}, column {}",
                           std::isnan(row[c]) ? "NaN" : "an infinite value", site.name, r, c);
      return;
    }
  }
}

std::string find_not_finite(const ScoreShown& score, const ScoredSequence& sequence) {
  NotFiniteWatch watch;
  Run run(&watch);
  score(run, sequence);
  return watch.found();
}

}  // namespace scute
