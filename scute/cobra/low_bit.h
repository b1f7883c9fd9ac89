// What a low-bit Cobra's config.json says of itself, and whether its tensors are that: internal to
// this folder.
#pragma once

#include <map>
#include <string>

#include "scute/cobra/folder.h"
#include "scute/language/quantize_options.h"

namespace scute {

/// Formats as they are stored.
struct CobraFormats {
  std::map<std::string, LayerFormat> buckets;   ///< as asked for: vision.dino → W8A8
  std::map<std::string, LayerFormat> matrices;  ///< of the towers and the projector, each
};

/// {"format": "scute-cobra", "version": 1, "tool", "formats": {BUCKET: "W8A8"}, "matrices": {NAME:
/// "W8A8"}, "ranges": {BUCKET: [lo, hi]}}.
Json cobra_low_bit_json(const CobraFormats& formats, const CobraDescription& model);

/// Of a low-bit model: every matrix of towers and projector is stored in the format that
/// config.json says, every float is finite. Of a float one: no tensor is a scale. Error naming the
/// first tensor that is not so.
void check_cobra_low_bit(const CobraDescription& model, const CobraWeights& weights);

/// Clips as the description's ranges say; those of parts that were not built are left out.
void use_ranges(const CobraDescription& model, CobraModel::Parts parts, CobraModel& to);

}  // namespace scute
