// What a low-bit Cobra's folder says of its scales and clips: internal to this folder.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "scute/cobra/folder.h"
#include "scute/language/low_bit_files.h"
#include "scute/language/scales_folder.h"

namespace scute {

/// "→" and what is on its sides: between which parts of a tower or the projector the input of a
/// matrix ("vision.dino.blocks.0.attn.qkv") is rounded; "not known" of another.
std::string scale_step(std::string_view matrix);

/// Read without building the model. Only the tensors and config.json must be there.
struct CobraLowBitFiles {
  CobraDescription description;
  std::map<std::string, std::string> formats;   ///< of buckets: vision.dino → "W8A8"
  std::map<std::string, std::string> matrices;  ///< of matrices that are not in their bucket's
  /// Towers and projector: tensors and scales under the names of their matrices
  /// ("vision.dino.blocks.0.attn.qkv.input_scale"), the buckets' clips, and the folder's records,
  /// which hold the language model's sites too.
  LowBitFiles parts;
  std::optional<LowBitFiles> language;  ///< llm/; nothing: in floats

  /// Scales of this bucket's matrices.
  std::vector<StoredScale> scales_of(const std::string& bucket) const;
};

/// Error as read_low_bit_files(); of a Cobra that is not low-bit too.
CobraLowBitFiles read_cobra_low_bit_files(const std::string& folder);

/// Where a tensor of `parts` is stored: ("vision/dino", "blocks.0.attn.qkv.input_scale").
TensorPlace stored_place(const CobraConfig& config, const std::string& tensor);

}  // namespace scute
