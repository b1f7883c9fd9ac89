// The tensors of a language model as its checkpoint stores them: found and checked, not yet packed.
#pragma once

#include <memory>
#include <vector>

#include "scute/models/language/block.h"
#include "scute/tensor/weights.h"

namespace scute {

/// Each of its shape; cheap to hold.
struct LanguageTensors {
  /// Takes every tensor of `weights`; Error naming all that are missing, misshapen or left over.
  LanguageTensors(const MambaConfig& config, Weights& weights);

  LinearTensors table;
  std::vector<SharedTransformer::Raw> shared;
  std::vector<Block::Raw> blocks;
  Tensor norm_f;
  LinearTensors head;
};

/// `config` itself; Error naming `where` when it makes no sense, or not with this scheme.
const MambaConfig& checked_config(const MambaConfig& config, const Scheme& scheme,
                                  const std::string& where);

/// Blocks that several layers use (Zamba2).
using SharedBlocks = std::vector<SharedTransformer::Packed>;
/// What layers share, packed once; products are formed with 8-bit inputs where its layers say so.
std::shared_ptr<SharedBlocks> pack_shared(LanguageTensors& tensors, const MambaConfig& config,
                                          const Execution& execution);

}  // namespace scute
