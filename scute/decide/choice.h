// What each policy answers, before decide() measures it: internal to this folder.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "scute/decide/error_model.h"
#include "scute/decide/policy.h"

namespace scute {

/// What a policy may look at.
struct Question {
  const Distribution& distribution;  ///< not empty
  const ErrorModel& errors;
  GridSpec grid;
};

struct Choice {
  double lo, hi;
  std::string policy, because;
  std::string remark = {};
  std::optional<double> percentile = {};  ///< 100·alpha where the policy has one
  std::optional<ThinTail> thin = {};
};

/// Percentages and shares for people: up to 10 significant digits, so 99.95 prints as that.
std::string to_text(double value);
/// 100·share without the noise of the last bits.
double percent_of(double share);

/// ±magnitude, cut to what was seen, and to 0 on a side that has no values.
Choice range_of_magnitude(const Distribution& distribution, double magnitude);

Choice choose_minmax(const Question& question);
/// `alpha`: share kept, in (0, 1].
Choice choose_percentile(const Question& question, double alpha, bool per_side);
Choice choose_tail(const Question& question, const Policy& policy);
Choice choose_mse(const Question& question);
Choice choose_entropy(const Question& question);
Choice choose_quamba(const Question& question, const Policy& policy, std::string_view site);
Choice choose_automatic(const Question& question, bool per_side);

}  // namespace scute
