// From what the float network was seen to do to the number formats of a quantized one.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scute/models/regressor/formats.h"
#include "scute/models/regressor/tensors.h"
#include "scute/observe/statistic.h"
#include "scute/regressor/checkpoint.h"

namespace scute {

/// How a layer's input range follows from its statistic. p99: the 99th percentile of |x|; mse: the
/// range with the least expected squared error of rounding.
enum class RegressorMethod { maxabs, p99, mse };
/// "maxabs", "p99", "mse"; Error naming them otherwise.
RegressorMethod parse_regressor_method(std::string_view text);
std::string_view name_of(RegressorMethod method);

/// The statistics of one site each, by its name.
using RegressorStatistics = std::map<std::string, Statistic>;

struct RegressorRangeOptions {
  RegressorMethod method = RegressorMethod::maxabs;
  /// Factor on every measured range, at least 1: what comes later exceeds what was seen (on
  /// logo_2100 by 1.55 in one layer).
  double headroom = 1.25;
};

/// Names of the layers that `how` rounds, as LayerRounding names them. `all` of lsq and extension
/// are those that the originals round: proj, head, in_proj, out_proj, patch_embedding and, of a
/// pooled model, output_layer. Of integer it is every product.
std::vector<std::string> rounded_layers(const RegressorConfig& config,
                                        const RegressorQuantization& how);

/// The float network with some layers rounded: activations with one scale per tensor, weights with
/// one per output (per_layer: one). Only extension at 8 bits is asymmetric. `statistics` may be
/// empty in mode fixed. Error naming a site that is missing or has no value.
RegressorRounding decide_rounding(const RegressorConfig& config, const RegressorTensors& tensors,
                                  const RegressorQuantization& how,
                                  const RegressorStatistics& statistics,
                                  const RegressorRangeOptions& options);

/// All formats of the network in integers alone. Inputs of products have how.bits, all else 16.
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
