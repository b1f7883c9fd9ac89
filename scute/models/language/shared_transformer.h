// Zamba2's transformer block, shared by several layers (Glorioso et al. 2024, "The Zamba2 Suite").
#pragma once

#include <string>
#include <vector>

#include "scute/models/language/attention.h"
#include "scute/models/language/feed_forward.h"
#include "scute/models/language/stream_norm.h"
#include "scute/models/scheme.h"

namespace scute {

/// The sites of one layer that uses a block, in the order tensors reach them. `layer` is their
/// prefix, e.g. "layer_5.shared.".
struct SharedSites {
  SiteList::InputSites attention_input, feed_forward_input, down_proj_input, linear_input;
  AttentionSites attention;
  Site linear_output;
  SharedSites(const MambaConfig& config, const Scheme& scheme, const std::string& layer,
              SiteList& sites);
};

/// A block as one layer uses it: with c = norm([r; x0]), r the residual stream and x0 the
/// embedding's output, t = linear(f(norm2(attention(c)))). Nothing is added to the stream here.
class SharedTransformer {
 public:
  /// The tensors that each layer has of its own.
  struct RawUse {
    std::string name;  ///< what they begin with, "backbone.layers.5."
    LinearTensors linear, down, gate_up, up_up;
    std::vector<LinearTensors> attention;  ///< down and up of q, k, v; empty: without adapters
    /// Grids of 8-bit inputs are each layer's own, shared.{q,o,gate,down}_proj.input_scale, while
    /// the weights are shared; empty where the products are formed with floats.
    Tensor q_input, o_input, gate_input, down_input;
    RawUse(WeightReader& reader, const MambaConfig& config, int64_t layer);
  };
  /// Those of a block as the checkpoint stores them, once.
  struct Raw {
    Tensor norm, norm2;
    Attention::Raw attention;
    FeedForwardProducts::Raw feed_forward;
    Raw(WeightReader& reader, const MambaConfig& config, int64_t number);
    /// Products are formed with 8-bit inputs where this layer has their grids.
    void take_input_form(const RawUse& use);
  };
  /// Packed, for the layers to share.
  struct Packed {
    StreamNorm norm, norm2;
    Attention attention;
    FeedForwardProducts feed_forward;
    Packed(const Raw& raw, const MambaConfig& config, const Execution& execution);
  };

  SharedTransformer(const Packed& block, const RawUse& use, const Execution& execution,
                    const SharedSites& sites);

  /// residual, origin (x0) and out: L × D.
  void operator()(Run& run, MatView<const float> residual, MatView<const float> origin,
                  KeyValueCache& cache, const Place& place, MatView<float> out) const;
  KeyValueCache new_cache(CacheForm form) const { return attention_.new_cache(form); }
  /// Adds its own: of what layers share, nothing.
  void add_size(ModelSize& size) const;
  /// Adds that of a token.
  void add_work(ModelWork& work) const;

 private:
  StreamNorm norm_, norm2_;
  Attention attention_;
  FeedForwardProducts feed_forward_;
  Linear linear_;
  SharedSites sites_;
};

}  // namespace scute
