// Trace for Cobra: every static scale and clip of a low-bit one, and where it comes from.
#pragma once

#include <string>

#include "scute/language/trace.h"

namespace scute {

/// The towers, the projector and the bucket `llm`, each as one of the trace's layers: the scales of
/// its matrices, and its clip; then the layers of llm/ as trace_scales() gives them. plan.json,
/// statistics.safetensors and recipe.json are read as far as they are there; the model is never
/// built. Error when the folder is no low-bit Cobra, or as trace_scales.
Trace trace_cobra(const std::string& folder);

}  // namespace scute
