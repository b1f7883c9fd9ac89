// Percentiles that rest on no value: finer than what was seen can tell.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "scute/observe/distribution.h"

namespace scute {

struct Decision;

/// A percentile with no value beyond it: it is the extreme of what was seen, whatever its name
/// says.
struct ThinTail {
  double percentile = 0;            ///< that was asked for, or that the tail rules look at
  uint64_t values = 0, needed = 0;  ///< finite values seen; the fewest with one beyond it
};

/// The sides of the values that a percentile cuts.
struct CutSides {
  bool below = false, above = false;
};

/// Of a percentile that cuts the share `cut`, in [0, 1), off each of `sides`; nothing where a value
/// lies beyond it on each of them, or where nothing is to be cut.
std::optional<ThinTail> thin_tail(const Distribution& distribution, double percentile, double cut,
                                  CutSides sides);

/// How many sites of a plan have one, and the worst of them.
struct ThinTails {
  int64_t sites = 0;
  std::string worst;  ///< the site that lacks the largest factor of values
  ThinTail tail;      ///< of that
};
ThinTails thin_tails(const std::map<std::string, Decision>& sites);

}  // namespace scute
