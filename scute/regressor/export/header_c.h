// scute_regressor.h: a regressor in integers as one self-contained C99 header.
#pragma once

#include <string>
#include <string_view>

#include "scute/regressor/export/steps.h"

namespace scute {

/// The header's text: dimensions, formats, every array, and functions that compute what
/// IntegerRegressor computes, bit for bit. `from`: the checkpoint's name and hash, for its comment.
std::string regressor_c_header(const ShiftRegressor& model, std::string_view from);

}  // namespace scute
