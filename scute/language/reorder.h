// What grouping heads and channels of Mamba-2 does for the ranges.
#pragma once

#include <string>
#include <vector>

#include "scute/language/model_folder.h"
#include "scute/observe/statistics_file.h"

namespace scute {

struct ReorderEffect {
  std::string site;
  double before = 0;     ///< max |x| of the site: every channel has this range with one scale
  double after = 0;      ///< mean over channels of the max |x| of the channel's group
  double reduction = 0;  ///< 1 − after / before, 0 … 1; 0 for a site that is all zero
};

/// Per layer its x_conv_out:input, and its state where that was measured. Error as quantize() with
/// head grouping: not Mamba-2, statistics without the channels' magnitudes.
std::vector<ReorderEffect> reorder_effect(const ModelDescription& model,
                                          const StatisticsSet& statistics);

}  // namespace scute
