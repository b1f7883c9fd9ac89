// Policies: pure functions from a statistic to a range.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scute/decide/thin_tail.h"
#include "scute/observe/distribution.h"
#include "scute/observe/statistic.h"
#include "scute/quantize/grid.h"

namespace scute {

/// The rules there are.
enum class PolicyKind { automatic, minmax, percentile, tail, mse, entropy, quamba };

/// A rule from a statistic to a range, with its parameters.
struct Policy {
  PolicyKind kind = PolicyKind::automatic;
  /// percentile, and quamba's percentile sites: share of values kept, in (0, 1].
  double alpha = 0.9995;
  /// Asymmetric percentile only: cut 1 − alpha on each side instead of half of it.
  bool per_side = false;
  /// tail: use this percentile (0 … 100) instead of the rules.
  std::optional<double> percentile_override;

  /// "auto", "minmax", "percentile", "percentile:0.999", "tail", "mse", "entropy", "quamba"; Error
  /// naming the known ones otherwise.
  static Policy parse(std::string_view text);
  std::string name() const;
};

/// The share kept, from a number that people write either way: (0, 1] is the share itself, 50 … 100
/// a percentile. Error on anything else: 2 is neither.
double share_of(double number);

/// What was decided for one site, and how good it is.
struct Decision {
  double percentile = 100;  ///< 100·alpha kept, or the measured share inside [lo, hi] in percent
  double lo = 0, hi = 0;    ///< the range kept
  std::string policy;       ///< what produced the range, e.g. "mse" (chosen by auto)
  std::string because;      ///< one sentence
  std::string remark;       ///< constant data, no data, choice does not matter; may be empty
  double headroom = 1;      ///< factor on the policy's range; lo and hi have it
  GridSpec grid;
  double scale = 0;
  double before_lo = 0, before_hi = 0;  ///< min and max seen
  double clipped = 0;                   ///< measured share of values outside [lo, hi]; NaN: unknown
  double coverage = 1;                  ///< 1 − clipped; NaN: unknown
  double range_reduction = 0;           ///< 1 − (hi − lo)/(before_hi − before_lo)
  double sqnr = 0;                      ///< expected signal to quantization noise, dB; NaN: unknown
  /// Where the policy's percentile has nothing beyond it on a side that has values; not in plans.
  std::optional<ThinTail> thin = {};
};

/// Decides one site. `site` matters to quamba only (its percentile sites) and to errors. Error when
/// the statistic holds NaN or Inf and `allow_nonfinite` is not set, or has no finite value.
/// `headroom`: widens the policy's range by this factor, because what comes later may exceed what
/// was seen; a finite number above 0.
Decision decide(const Policy& policy, std::string_view site, const Statistic& statistic,
                GridSpec grid, bool allow_nonfinite = false, double headroom = 1);

/// One site prepared once (about 0.2 ms) and decided as often as wanted (a percentile: about 30
/// µs).
class Decider {
 public:
  /// Errors as decide().
  Decider(std::string site, const Statistic& statistic, bool allow_nonfinite = false);
  ~Decider();
  Decider(Decider&&) noexcept;
  Decider& operator=(Decider&&) noexcept;

  Decision operator()(const Policy& policy, GridSpec grid, double headroom = 1) const;

 private:
  struct Prepared;
  std::unique_ptr<const Prepared> prepared_;
};

/// Expected mean squared error of rounding to the grid of [lo, hi]: per bucket the rounding error
/// (grid spaced wider than the bucket: scale²/12, averaged exactly where the bucket spans few
/// codes) plus the clipping error.
double expected_error(const Distribution& distribution, double lo, double hi, GridSpec grid);

/// The percentile that the tail rules pick (scute/cobra/README.md), one of 99, 99.9, 99.99, 99.999,
/// from the signed percentiles p25 p50 p75 p90 p99 p99.9 p99.99 p99.999, and which rule it was.
struct TailChoice {
  double percentile;
  int rule;  ///< 1 … 7
};
/// Signed percentiles, ascending.
struct TailPercentiles {
  double p25, p50, p75, p90, p99, p99_9, p99_99, p99_999;
};
TailChoice tail_rule(const TailPercentiles& percentiles);

}  // namespace scute
