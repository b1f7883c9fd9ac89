// One block of a language model: what reads a norm of the residual stream and is added to it.
#pragma once

#include <optional>
#include <variant>
#include <vector>

#include "scute/models/language/attention.h"
#include "scute/models/language/experts.h"
#include "scute/models/language/feed_forward.h"
#include "scute/models/language/mamba1.h"
#include "scute/models/language/mamba2.h"
#include "scute/models/language/shared_transformer.h"
#include "scute/models/language/stream_norm.h"

namespace scute {

/// The closed list of what a block may hold.
using Part = std::variant<Mamba1Mixer, Mamba2Mixer, Attention, FeedForward, Experts>;
/// The tensors of each, as the checkpoint stores them.
using RawPart = std::variant<Mamba1Mixer::Raw, Mamba2Mixer::Raw, Attention::Raw, FeedForward::Raw,
                             Experts::Raw>;

/// The sites of one part, its input first.
struct PartSites {
  SiteList::InputSites input;
  std::variant<Mamba1Sites, Mamba2Sites, AttentionSites, FeedForwardSites, ExpertsSites> inside;
};

/// The sites of one block, in the order tensors reach them.
struct BlockSites {
  std::optional<SharedSites> shared;
  std::vector<PartSites> parts;
  BlockSites(const MambaConfig& config, const BlockConfig& block, const Scheme& scheme,
             SiteList& list);
};

/// One block: a norm, its parts side by side, their sum added to the stream.
class Block {
 public:
  /// The tensors as the checkpoint stores them: cheap to hold, packed later.
  struct Raw {
    Tensor norm;
    std::optional<SharedTransformer::RawUse> shared;
    std::vector<RawPart> parts;
    Raw(WeightReader& reader, const MambaConfig& config, const BlockConfig& block);
  };

  /// Notes the grids of its sites in `grids`. `shared`: what layers share, of the whole model.
  Block(const Raw& raw, const MambaConfig& config, const BlockConfig& block, const Scheme& scheme,
        const Execution& execution, const std::vector<SharedTransformer::Packed>& shared,
        const BlockSites& sites, SiteGrids& grids);

  /// Adds to `residual`, L × D, continuing from `state`; the tokens begin at `place`. `origin`:
  /// what entered the first block, where the config has shared blocks.
  void operator()(Run& run, MatView<float> residual, MatView<const float> origin, BlockState& state,
                  const Place& place) const;
  BlockState new_state() const;
  /// This block with its part `index` as `other`, of the same config and scheme, has it; packed
  /// weights are shared.
  Block with_part(const Block& other, size_t index) const;
  /// The same of what a block that layers share is to this one.
  Block with_shared(const Block& other) const;
  /// Adds its own.
  void add_size(ModelSize& size) const;
  /// Adds that of a token.
  void add_work(ModelWork& work) const;

 private:
  struct Placed {
    Part part;
    SiteList::InputSites input;
    float in_factor, out_factor;
  };

  /// What the parts' norm reads: the stream, or its sum with what a shared block gives.
  MatView<const float> source(Run& run, MatView<const float> residual, MatView<const float> origin,
                              BlockState& state, const Place& place) const;

  StreamNorm norm_;
  std::optional<SharedTransformer> shared_;
  bool rotated_stream_;
  CacheForm cache_;
  float residual_factor_;
  std::vector<Placed> parts_;
};

/// What the new_state() of a block without 8-bit state will be.
BlockState new_float_state(const MambaConfig& config, const BlockConfig& block, CacheForm cache);

}  // namespace scute
