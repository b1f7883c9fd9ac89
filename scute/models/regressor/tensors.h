// The tensors of a regressor by name, found and checked before anything is built from them.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "scute/models/regressor/config.h"
#include "scute/tensor/weights.h"

namespace scute {

/// `weight` and, where the layer has one, `bias` under NAME.
struct RegressorLayerTensors {
  Tensor weight;  ///< outputs × inputs, 1 × 1 convolutions too
  Tensor bias;
};

/// Of a block whose recurrence is a leaky mean.
struct SlimBlockTensors {
  Tensor norm;                           ///< D
  RegressorLayerTensors in_proj;         ///< 2I × D
  RegressorLayerTensors dt_proj;         ///< `ssm.dt_proj`, I × I
  RegressorLayerTensors out_proj;        ///< D × I
  Tensor convolution, convolution_bias;  ///< `dw_conv`, (I, 1, 5) and I; empty without
};

/// Of a block with Mamba-1's scan.
struct OriginBlockTensors {
  Tensor norm;                           ///< D
  RegressorLayerTensors in_proj;         ///< 2I × D
  RegressorLayerTensors x_proj;          ///< (R + 2N) × I
  RegressorLayerTensors dt_proj;         ///< I × R
  RegressorLayerTensors out_proj;        ///< D × I
  Tensor convolution, convolution_bias;  ///< `conv1d`, (I, 1, 4) and I
  Tensor A_log, D;                       ///< I × N, I
};

/// All tensors of one regressor. Names are the modules' own, without the wrappers of the key
/// styles, which the recipe layer takes off: `proj.weight` (C, Din, 1),
/// `backbone.patch_embedding.weight` (D, C, P), `backbone.blocks.{i}.in_proj.weight` (2I, D, 1), …,
/// `backbone.output_layer_flat.weight` (C, D, L), `backbone.output_layer_pool.weight` (C, D, 1),
/// `head.weight` (2, C, 1).
struct RegressorTensors {
  /// Reads all of `weights`; Error naming every tensor that is missing, misshapen or unknown.
  RegressorTensors(const RegressorConfig& config, Weights weights);
  RegressorTensors(const RegressorTensors&);
  RegressorTensors(RegressorTensors&&) noexcept;
  RegressorTensors& operator=(const RegressorTensors&);
  RegressorTensors& operator=(RegressorTensors&&) noexcept;
  ~RegressorTensors();

  RegressorLayerTensors proj;             ///< C × Din
  RegressorLayerTensors patch_embedding;  ///< (D, C, P)
  std::vector<std::variant<SlimBlockTensors, OriginBlockTensors>> blocks;
  Tensor norm_f;                     ///< D
  RegressorLayerTensors flat, pool;  ///< (C, D, L), C × D; every checkpoint has both
  RegressorLayerTensors head;        ///< 2 × C
};

}  // namespace scute
