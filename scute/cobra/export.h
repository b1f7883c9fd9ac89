// Export for Cobra: a low-bit one as a plain float folder.
#pragma once

#include <string>

#include "scute/cobra/folder.h"
#include "scute/recipe/probe.h"

namespace scute {

/// Writes a float Cobra with the rounded weights as real numbers, under the same names, and without
/// scales and clips of activations; complete without the low-bit one. `type` as of dequantized(),
/// by which llm/ is written; where that is in floats it stays as it is stored. Then loads it again
/// and compares what both make of a picture. Nothing is left under `path` on an Error; `replace` as
/// in write_cobra. Error when the model is not low-bit.
ProbeComparison export_cobra(const CobraDescription& model, DType type, const std::string& path,
                             bool replace);

}  // namespace scute
