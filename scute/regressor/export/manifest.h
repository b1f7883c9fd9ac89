// manifest.json of an export for hardware: dimensions, formats and shifts.
#pragma once

#include <string_view>
#include <vector>

#include "scute/base/json.h"
#include "scute/regressor/export/export.h"
#include "scute/regressor/export/vectors.h"

namespace scute {

constexpr std::string_view kExportFormat = "scute-regressor-hardware";

/// {"bits", "m", "n"}, value = code · 2^−n, m = bits − 1 − n.
Json format_json(const ShiftFormat& format);

/// All but "checkpoint" and "files".
Json manifest_json(const ShiftRegressor& model, const RegressorExportNotes& notes,
                   const std::vector<SiteVectors>& vectors, int64_t windows);

}  // namespace scute
