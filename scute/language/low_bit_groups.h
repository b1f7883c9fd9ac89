// The matrices of attention, feed-forwards, experts and shared blocks by how they are stored:
// internal to this folder.
#pragma once

#include <string>
#include <vector>

#include "scute/language/quantize_options.h"
#include "scute/models/language/config.h"

namespace scute {

struct MatrixGroup {
  int bits = 8;
  bool eight_bit_inputs = false;
  int64_t inputs = 0;                ///< of one: all have groups of one size, or a scale an output
  std::vector<std::string> targets;  ///< patterns of names, as compressed-tensors has them
};

/// Of the matrices that are not floats; mixers, table and head are not among them. `group`: inputs
/// that share a 4-bit scale.
std::vector<MatrixGroup> part_groups(const MambaConfig& config,
                                     const std::vector<LayerFormats>& layers, int64_t group);
/// Patterns of the products that stay in floats whatever the formats: routers, adapters.
std::vector<std::string> float_parts(const MambaConfig& config);

}  // namespace scute
