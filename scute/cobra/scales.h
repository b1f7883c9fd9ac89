// Scales for Cobra: ranges of a finished low-bit one changed by hand, without calibrating.
#pragma once

#include <string>
#include <vector>

#include "scute/language/scales.h"

namespace scute {

/// As edit_folder(), of the inputs of the towers' and the projector's matrices, the buckets' clips
/// and the sites of llm/, whose tensors, plan and recipe follow there.
FolderEdit edit_cobra(const std::string& folder, const std::vector<RangeEdit>& edits);

/// As write_folder_edit(); compared is what both make of one seeded random picture.
ProbeComparison write_cobra_edit(const FolderEdit& edit);

}  // namespace scute
