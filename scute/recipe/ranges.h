// One road from a range to a scale: what a plan, and else statistics, answer for the sites of a
// model that is being quantized.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scute/decide/plan.h"
#include "scute/models/sites.h"
#include "scute/observe/statistics_file.h"

namespace scute {

/// The scale of an 8-bit grid that keeps ±range.
float scale_of_range(double range);
/// The larger magnitude of the range kept.
double magnitude_of(const Decision& decision);
/// Whether what was measured there was one value only; a range given by hand was not measured.
bool one_value(const Decision& decision);

/// The SHA-256 of the model that a plan or statistics are of; null where they do not say.
const std::string* recorded_model(const Json& meta, std::string_view what);
/// Error naming `what`, "plan" or "statistics", when its meta names another model than this one.
void check_recorded_model(const Json& meta, std::string_view what, std::string_view model,
                          const std::string& sha256);

/// What a range must have been decided for.
struct RangeNeed {
  int bits = 8;
  bool symmetric = true;  ///< false: either kind
  /// Goes on after "SITE was decided for 4 bits; ": what is needed, and what to type.
  std::string_view reason;
  std::string_view hint;  ///< where to look when a range leaves no scale; may be empty
};

/// What does not fit is noted, each problem once; finish() reports it, all of it at once.
class ModelRanges {
 public:
  /// `statistics` may be null, and must outlive this. Error when the plan names sites that the
  /// model does not have, or one of them under two names.
  ModelRanges(std::string model, SiteList sites, const Plan& plan,
              const StatisticsSet* statistics = nullptr);

  const SiteList& sites() const { return sites_; }
  /// The plan under the sites' own names, aliases replaced.
  const Plan& plan() const { return plan_; }
  /// Null where the plan lacks the site.
  const Decision* planned(const std::string& site) const;
  /// Of the plan, else decided from the statistics by `policy`, for 8 bits. Nothing where neither
  /// knows the site, or it cannot be decided, which is noted.
  std::optional<Decision> find(const std::string& site, const Policy& policy);
  /// The larger magnitude of a range that gives a grid of the kind needed; nothing and a note
  /// otherwise. Where nothing but zeros was seen it is 0: any scale represents them.
  std::optional<double> magnitude(const std::string& site, const Decision& decision,
                                  const RangeNeed& need);

  /// Says that the site has this range; the first stays.
  void use(const std::string& site, const Decision& decision);
  /// Says that the site was decided otherwise than the plan says.
  void replace(const std::string& site, Decision decision);
  /// Notes a decision's data where they were one value; whether they were.
  bool note_constant(const std::string& site, const Decision& decision);
  void note(std::string problem);

  /// Those in use, with the plan's meta.
  const Plan& used() const { return used_; }
  /// Sites of the plan that are not, in its order.
  std::vector<std::string> unused() const;
  /// Sites that saw one value only, and which.
  const std::vector<std::string>& constants() const { return constants_; }
  /// Throws one Error with the problems noted, the first `shown` of them in words.
  void finish(std::string_view expected, size_t shown) const;

 private:
  std::string model_;
  SiteList sites_;
  Plan plan_;
  const StatisticsSet* statistics_;
  Plan used_;
  std::vector<std::string> problems_, constants_;
};

}  // namespace scute
