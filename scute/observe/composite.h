// Sites that are other sites side by side: their statistic is the sum of the parts', so they need
// not be counted.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "scute/observe/statistic.h"
#include "scute/tensor/tap.h"

namespace scute {

/// The sites that must be observed: all but those whose parts are all among `sites`.
std::vector<Site> without_composites(const std::vector<Site>& sites);

/// Adds the statistics of the sites that without_composites() left out, equal to what observing
/// them would have given. A site with a part that saw nothing is left out.
void add_composites(const std::vector<Site>& sites, std::map<std::string, Statistic>& statistics);

}  // namespace scute
