// Whether the tensors of a checkpoint are those of a model.
#pragma once

#include "scute/models/language/config.h"
#include "scute/tensor/weights.h"

namespace scute {

/// Error naming every tensor that is missing, misshapen or too much for such a model, before any
/// work is done with them.
void check_language_weights(const MambaConfig& config, Weights weights);

}  // namespace scute
