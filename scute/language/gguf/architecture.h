// What GGUF calls a model: the architecture's name, and the keys that say its sizes and numbers.
#pragma once

#include <string>
#include <vector>

#include "scute/io/gguf_writer.h"
#include "scute/language/model_folder.h"

namespace scute {

struct GgufArchitecture {
  std::string name;  ///< general.architecture
  GgufKeys keys;     ///< those that begin with the name
  /// RoPE turns the pairs (2i, 2i + 1) of a head, not (i, i + m/2): the rows of q and k go into
  /// another order.
  bool pairs_beside = false;
  /// There are keys for the factors on table rows and logits; else they go into the matrices.
  bool keeps_factors = false;
  std::vector<std::string> remarks;  ///< what is stored otherwise than one would expect
};

/// Error naming the architectures that the format knows, and what of this model has no place in
/// them: another family, biases and limits that no reader computes, widths they do not allow.
GgufArchitecture gguf_architecture(const ModelDescription& model);

/// What x_proj is multiplied with where dt, B and C are normed without weights (Falcon-Mamba): the
/// format has one ε for all norms, and x/√(mean x² + ε) of c·x is that of x with ε/c². 1: nothing.
float gguf_x_proj_factor(const MambaConfig& config);

}  // namespace scute
