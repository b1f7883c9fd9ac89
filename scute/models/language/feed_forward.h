// Feed-forwards: gated (Shazeer 2020, "GLU Variants Improve Transformer") and squared ReLU (So et
// al. 2021, "Primer").
#pragma once

#include <optional>

#include "scute/models/language/config.h"
#include "scute/models/linear.h"
#include "scute/models/model_size.h"
#include "scute/models/model_work.h"
#include "scute/models/run.h"
#include "scute/models/sites.h"
#include "scute/tensor/weights.h"

namespace scute {

/// The matrices of one feed-forward, and what is between them: of a layer, or of one expert.
class FeedForwardProducts {
 public:
  /// The tensors as the checkpoint stores them: cheap to hold, packed later.
  struct Raw {
    LinearTensors gate_proj, up_proj, down_proj;  ///< without a gate the first is empty
    Raw(WeightReader& reader, const std::string& prefix, const FeedForwardConfig& config,
        int64_t width, int64_t inner);
  };

  FeedForwardProducts(const Raw& raw, const FeedForwardConfig& config, const Execution& execution);

  /// The same with an adapter beside gate_proj and up_proj each.
  FeedForwardProducts adapted(const LinearTensors& down, const LinearTensors& gate_up,
                              const LinearTensors& up_up, const Execution& execution) const;

  /// Gives 8-bit inputs of gate_proj and up_proj, and of down_proj, these grids; nothing where
  /// inputs are floats.
  void set_input_scales(float up, float down);

  /// u: L × width to what down_proj reads: L × inner.
  void activated(Run& run, MatView<const float> u, MatView<float> out) const;
  /// L × inner to L × width.
  void down(Run& run, MatView<const float> x, MatView<float> out) const { down_proj_(run, x, out); }
  int64_t inner() const { return inner_; }
  void add_size(ModelSize& size) const;
  /// Adds that of a token.
  void add_work(ModelWork& work) const;

 private:
  FeedForwardConfig config_;
  int64_t inner_;
  std::optional<Linear> gate_proj_;
  Linear up_proj_, down_proj_;
};

/// The sites of one layer behind its input. `layer` is their prefix, e.g. "layer_3.".
struct FeedForwardSites {
  SiteList::InputSites down_proj_input;
  Site down_proj_output;
  /// `rotated`: how down_proj's input looks.
  FeedForwardSites(int64_t width, int64_t inner, bool rotated, const std::string& layer,
                   SiteList& sites);
};

/// The part of a block that looks at each token by itself.
class FeedForward {
 public:
  using Raw = FeedForwardProducts::Raw;

  FeedForward(const Raw& raw, const FeedForwardConfig& config, const Execution& execution,
              FeedForwardSites sites)
      : products_(raw, config, execution), sites_(std::move(sites)) {}

  /// u: L × D (normed), out: L × D.
  void operator()(Run& run, MatView<const float> u, MatView<float> out) const;
  void add_size(ModelSize& size) const { products_.add_size(size); }
  void add_work(ModelWork& work) const { products_.add_work(work); }

 private:
  FeedForwardProducts products_;
  FeedForwardSites sites_;
};

}  // namespace scute
