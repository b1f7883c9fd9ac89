// Whether two experiments differ by more than noise.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "scute/evaluate/score.h"
#include "scute/experiments/log.h"

namespace scute {

/// How one result of B differs from that of A on the same items.
struct Difference {
  /// What the p value says; `same`: every item has the same score in both.
  enum class Verdict { better, worse, noise, same, not_comparable };

  Metric metric;
  double a = 0, b = 0;
  bool ratio = false;         ///< how they are compared
  double difference = 0;      ///< b/a − 1, or b − a
  double standard_error = 0;  ///< of it; NaN: not known, as where all items differ by the same
  /// Two-sided; Student's t with items − 1 degrees of freedom (ratios, or unpaired: z), McNemar,
  /// or, without a standard error, of the signs.
  double p = 1;
  int64_t items = 0;
  bool paired = false;               ///< from the items' scores, else from two standard errors
  Verdict verdict = Verdict::noise;  ///< of B; noise when p ≥ 0.05
  /// How many such items would show a difference of this size in 4 of 5 repetitions at p < 0.05;
  /// empty when it shows already, or when there is none.
  std::optional<int64_t> items_needed;
  std::string because;  ///< of not_comparable: what differs (file, window, number of items)
};

/// One for each metric that both have, in the order of A; what is compared as a ratio only where
/// both values allow one. `folder`: of the log, where the items' scores lie; when those are missing
/// or do not fit, the standard errors alone are compared (paired = false).
std::vector<Difference> compare_results(const LogEntry& a, const LogEntry& b,
                                        const std::string& folder);
/// The same with scores that were read before, for comparing every pair of many.
std::vector<Difference> compare_scores(const Score& a, const Score& b);
/// The score of an experiment with its items, where these can be read and are those of the record.
Score score_with_items(const LogEntry& entry, const std::string& folder);

/// "no more than noise: about 5,200 passages would tell", "better (p = 0.003)", …
std::string verdict_text(const Difference& difference);

/// Holm's correction for asking several questions at once: the p values of `differences` become
/// adjusted ones, and verdicts follow them (comparable ones only).
void adjust_for_many(std::vector<Difference*> differences);

/// Two-sided p of |t| under Student's distribution with `freedom` ≥ 1 degrees (regularized
/// incomplete beta function, continued fraction of Lentz).
double student_p(double t, double freedom);

}  // namespace scute
