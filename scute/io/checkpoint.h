// The tensors of a checkpoint in whichever container they come.
#pragma once

#include <string>
#include <vector>

#include "scute/tensor/weights.h"

namespace scute {

/// The weight files of a model folder, in reading order: model.safetensors, or the shards that
/// model.safetensors.index.json lists, or pytorch_model.bin / *.pt (or its index). Error naming
/// what was looked for when there is none.
std::vector<std::string> checkpoint_files(const std::string& folder);

/// All tensors of those files (`folder` may also be one such file). A shard whose tensors differ
/// from what the index says is an error. A .bin or .pt may hold the dictionary itself or under
/// "model", "state_dict" or "model_state_dict"; dictionaries in it are flattened, names joined by
/// dots.
Weights read_checkpoint(const std::string& folder);

}  // namespace scute
