// Causal self-attention with grouped queries, and what it remembers.
#pragma once

#include <optional>
#include <vector>

#include "scute/models/language/config.h"
#include "scute/models/language/convolution.h"
#include "scute/models/language/key_value_cache.h"
#include "scute/models/language/state.h"
#include "scute/models/linear.h"
#include "scute/models/model_size.h"
#include "scute/models/model_work.h"
#include "scute/models/run.h"
#include "scute/models/sites.h"
#include "scute/tensor/weights.h"

namespace scute {

/// The sites of one layer behind its input, in the order tensors reach them: qkv_conv:input ([q; k;
/// v] where the config has taps), q_act:input and k_cache:input (queries and keys after factor and
/// RoPE), v_cache:input, o_proj:input, o_proj:output. `layer` is their prefix, e.g. "layer_3.".
struct AttentionSites {
  std::optional<Site> convolved;
  Site queries, keys, values, out_output;
  SiteList::InputSites o_proj_input;
  /// Of weights that only wait to be shared: they are never run.
  AttentionSites() = default;
  AttentionSites(const MambaConfig& config, const std::string& layer, SiteList& sites);
};

/// An empty cache for a layer of this config.
KeyValueCache new_key_value_cache(const AttentionConfig& config, CacheForm form = CacheForm::f32);

/// The part of a block that attends to earlier tokens.
class Attention {
 public:
  /// The tensors of one layer as the checkpoint stores them: cheap to hold, packed later.
  struct Raw {
    LinearTensors q_proj, k_proj, v_proj, o_proj;
    ConvolutionTensors conv;  ///< over [q; k; v], where the config has taps
    /// `inputs`: columns of q, k and v; the model's width, or twice that in a shared block.
    Raw(WeightReader& reader, const std::string& prefix, const MambaConfig& config, int64_t inputs);
  };

  Attention(const Raw& raw, const MambaConfig& config, const Execution& execution,
            AttentionSites sites);
  /// The same weights, shared, of another layer; `adapters`: down and up of q, k and v, or none.
  Attention with(const std::vector<LinearTensors>& adapters, const Execution& execution,
                 AttentionSites sites) const;
  /// Gives 8-bit inputs of q, k and v, and of o, these grids; nothing where inputs are floats.
  void set_input_scales(float qkv, float out);

  /// u: L × inputs (normed), out: L × D; the tokens at place.position and behind. The bits of a
  /// token's row depend on the tokens up to it alone, not on how they are cut into calls.
  void operator()(Run& run, MatView<float> u, KeyValueCache& cache, const Place& place,
                  MatView<float> out) const;
  /// Empty.
  KeyValueCache new_cache(CacheForm form = CacheForm::f32) const {
    return new_key_value_cache(config_, form);
  }
  void add_size(ModelSize& size) const;
  /// Adds that of a token, without what grows with the tokens before it: 2 · heads · head_width
  /// multiply-adds and `heads` exponentials for each of them.
  void add_work(ModelWork& work) const;

 private:
  int64_t queries() const { return config_.heads * config_.head_width; }
  int64_t keys() const { return config_.key_heads * config_.head_width; }
  /// [q; k; v] of each token, convolved.
  MatView<float> project(Run& run, MatView<const float> u, KeyValueCache& cache) const;
  void rotate(Run& run, int64_t position, MatView<float> q, MatView<float> k) const;
  /// The heads' outputs in place of q.
  void attend(Run& run, const KeyValueCache& cache, int64_t position, MatView<float> q) const;

  AttentionConfig config_;
  Linear q_proj_, k_proj_, v_proj_, o_proj_;
  Convolution conv_;                 ///< without taps unused
  std::vector<double> frequencies_;  ///< of RoPE, one a pair
  AttentionSites sites_;
};

}  // namespace scute
