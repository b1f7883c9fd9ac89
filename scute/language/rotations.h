// Which rotations a model's widths allow: internal to this folder.
#pragma once

#include "scute/models/language/config.h"
#include "scute/models/scheme.h"

namespace scute {

/// The rotations and the folded head that a model is quantized with when rotations are asked for,
/// none when they are not; the scheme's other fields as they are by default.
Scheme rotations(const MambaConfig& config, bool asked);

}  // namespace scute
