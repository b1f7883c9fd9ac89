// What a regressor's checkpoint says beside its tensors: cfg, arch and how it was trained.
#pragma once

#include <string>

#include "scute/regressor/checkpoint.h"

namespace scute {

/// The model of `cfg` (Din, K, proj_dim, d_model, n_layer, patch_len, stride) and `arch` (pe_off,
/// pe_scale, gate_off, agg_pool, use_dwconv). All must be there: the tensors do not show a position
/// table or a gate. agg_pool, case ignored: "avg", "max", everything else is flat.
RegressorConfig regressor_config(const TorchValue& cfg, const TorchValue& arch,
                                 RegressorConfig::Variant variant, const std::string& path);

/// The quantization of `arch`; what is absent has its default. q_proj and q_head fall back on the
/// older q_proj_head.
RegressorQuantization regressor_quantization(const TorchValue& arch, const std::string& path);

/// epoch, best_metric and best_val of the file, as far as they are there.
RegressorTraining regressor_training(const TorchValue& root, const std::string& path);

}  // namespace scute
