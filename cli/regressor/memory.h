// --memory of the regressor's verbs: what they need is in memory, or the work is refused.
#pragma once

#include <string>
#include <vector>

#include "cli/terminal/job.h"
#include "scute/data/features.h"
#include "scute/regressor/checkpoint.h"

namespace scute::cli {

/// What of a folder of features is read.
struct FeatureWork {
  std::string root;
  std::vector<FeatureRole> roles;
  bool normalize = true;
  /// Whose statistics are kept every now and then, for which they are copied.
  int64_t kept_sites = 0;
};

/// Error saying what is needed where --memory has no room for the model's weights, packed by every
/// thread at most, the largest recording as the model sees it, and what of features as stored is in
/// memory. Errors of read_feature_folder().
void require_regressor(const Job& job, const RegressorCheckpoint& checkpoint,
                       const FeatureWork& work);
/// The same of a collection into `file`; what is `kept` of it every now and then is copied. Warns
/// where the disk has no room for the statistics, and without --memory where the machine has none.
void plan_regressor_collection(const Job& job, const RegressorCheckpoint& checkpoint,
                               FeatureWork work, const std::string& file, bool kept);

}  // namespace scute::cli
