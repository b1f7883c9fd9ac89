// From a plan to the number formats of a quantized network.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "scute/models/regressor/formats.h"
#include "scute/models/regressor/tensors.h"
#include "scute/recipe/ranges.h"
#include "scute/regressor/checkpoint.h"
#include "scute/regressor/decide.h"

namespace scute {

/// Names of the layers that `how` rounds, as LayerRounding names them. `all` of lsq and extension
/// are those that the originals round: proj, head, in_proj, out_proj, patch_embedding and, of a
/// pooled model, output_layer. Of integer it is every product.
std::vector<std::string> rounded_layers(const RegressorConfig& config,
                                        const RegressorQuantization& how);

/// The float network with some layers rounded: activations with one scale per tensor, weights with
/// one per output (per_layer: one). Only extension at 8 bits is asymmetric: from lo and hi, the
/// others from the larger magnitude. Mode fixed asks for no range. One Error that names every site
/// that the plan lacks, or has for other bits than how.bits.
RegressorRounding decide_rounding(const RegressorConfig& config, const RegressorTensors& tensors,
                                  const RegressorQuantization& how, ModelRanges& ranges);

/// All formats of the network in integers alone. Inputs of products have how.bits, all else 16.
/// What is both an input and a value, as u is, has as a value the range measured (range_before) and
/// the headroom that the plan records.
RegressorFormats decide_formats(const RegressorConfig& config, const RegressorTensors& tensors,
                                const RegressorQuantization& how, ModelRanges& ranges);

/// The same from statistics, through decide_regressor().
RegressorRounding decide_rounding(const RegressorConfig& config, const RegressorTensors& tensors,
                                  const RegressorQuantization& how,
                                  const RegressorStatistics& statistics,
                                  const RegressorRangeOptions& options);
RegressorFormats decide_formats(const RegressorConfig& config, const RegressorTensors& tensors,
                                const RegressorQuantization& how,
                                const RegressorStatistics& statistics,
                                const RegressorRangeOptions& options);

/// The rounding that the checkpoint's stored scales stand for; empty without any. `backend`: as
/// another one would use them; without, the one they were stored for. Error when integer has to use
/// scales that differ between a layer's input channels.
RegressorRounding stored_rounding(const RegressorCheckpoint& checkpoint,
                                  std::optional<RegressorBackend> backend = {});

}  // namespace scute
