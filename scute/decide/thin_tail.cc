#include "scute/decide/thin_tail.h"

#include <algorithm>
#include <cmath>

#include "scute/decide/policy.h"

namespace scute {

/// Above it lie floor(cut·n) values; below it, whose own rank is ceil(cut·n), one less than that.
std::optional<ThinTail> thin_tail(const Distribution& distribution, double percentile, double cut,
                                  CutSides sides) {
  if (!(cut > 0)) return std::nullopt;
  const uint64_t n = distribution.count();
  const bool none_below = sides.below && rank_of_share(cut, n) == 1;
  const bool none_above = sides.above && rank_of_share(1 - cut, n) == n;
  if (!none_below && !none_above) return std::nullopt;
  constexpr double kNoise = 1e-9;  // of a share like 1 − 0.99999
  constexpr double kMost = 0x1p62;
  const double needed =
      none_below ? std::floor((1 + kNoise) / cut) + 1 : std::ceil((1 - kNoise) / cut);
  return ThinTail{percentile, n, static_cast<uint64_t>(std::min(needed, kMost))};
}

ThinTails thin_tails(const std::map<std::string, Decision>& sites) {
  const auto lack = [](const ThinTail& tail) {
    return static_cast<double>(tail.needed) / static_cast<double>(tail.values);
  };
  ThinTails out;
  for (const auto& [site, decision] : sites) {
    if (!decision.thin) continue;
    if (out.sites++ > 0 && lack(*decision.thin) <= lack(out.tail)) continue;
    out.worst = site;
    out.tail = *decision.thin;
  }
  return out;
}

}  // namespace scute
