// The matrices of Cobra's towers and projector by name: internal to this folder.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "scute/models/vision/cobra.h"

namespace scute {

struct CobraMatrix {
  std::string name;    ///< "vision.dino.blocks.0.attn.qkv": its input's site without ":input"
  std::string bucket;  ///< it belongs to
  std::string tensor;  ///< "blocks.0.attn.qkv": its name among the part's tensors
  size_t part;         ///< number of the tower; that of towers: the projector
  int64_t inputs;

  std::string site() const { return name + ":input"; }
};

/// In the order that tensors reach them.
std::vector<CobraMatrix> cobra_matrices(const CobraConfig& config);
/// Those of layer `index` of the language model: "layer_0.in_proj", …
std::vector<std::string> layer_matrices(const MambaConfig& config, int64_t index);
/// The buckets that this model has: its towers', "projector", "llm".
std::vector<std::string> cobra_buckets(const CobraConfig& config);

/// Which matrices are chosen: those that an include glob matches (all without any) and no exclude
/// glob does.
class MatrixFilter {
 public:
  /// Error naming the nearest names when a glob matches no matrix and no "layer_N" of the model.
  MatrixFilter(const CobraConfig& config, std::vector<std::string> include,
               std::vector<std::string> exclude);

  bool chosen(std::string_view name) const;
  /// Layers of the language model are chosen whole. Error when the globs choose a part of one.
  bool layer_chosen(const MambaConfig& config, int64_t index) const;

 private:
  std::vector<std::string> include_, exclude_;
};

/// Inputs that share a 4-bit scale: `wanted` where it divides; else the divisor of the inputs that
/// is nearest to it by ratio, from wanted / 4 to wanted · 4 (SigLIP's 4304 = 16 · 269: 269 for
/// 128); else, and where there are no more inputs than wanted, all of them.
int64_t group_for(int64_t inputs, int64_t wanted);

}  // namespace scute
