// What a vision tower's files say, in the dialects they come in: internal to this folder.
#pragma once

#include <string>

#include "scute/base/json.h"
#include "scute/data/pictures.h"
#include "scute/models/vision/vision_tower.h"

namespace scute {

enum class TowerKind { dino, siglip };

struct TowerDescription {
  VisionConfig config;
  PixelNormalization normalization;
};

/// timm's config.json ("architecture", "model_args", "pretrained_cfg"); `json` may be null: then
/// the architecture is `architecture` (timm's name). `image`: pixels that Cobra feeds. Error naming
/// `where` and the key for an unknown architecture or an argument whose value is not computed here.
TowerDescription describe_tower(TowerKind kind, const Json& json, const std::string& architecture,
                                int64_t image, const std::string& where);

/// Renames to timm's names (from OpenCLIP's `visual.trunk.`, or Meta's raw DINOv2 names, whose
/// class token gets its position added), drops what is never computed (last block, final norm,
/// pooling, text tower), and resamples the positions to the config's grid
/// (models/vision/README.md). Low-bit tensors stay as they are.
Weights timm_weights(Weights weights, const VisionConfig& config);

}  // namespace scute
