// A vision transformer as Cobra uses it: patches, positions, all blocks but the last, no final
// norm.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "scute/models/linear.h"
#include "scute/models/model_size.h"
#include "scute/models/model_work.h"
#include "scute/models/sites.h"

namespace scute {

/// The shape of a tower (timm's VisionTransformer; README.md).
struct VisionConfig {
  std::string
      bucket;  ///< "vision.dino" or "vision.siglip": its site, and the prefix of those inside
  int64_t image = 384;  ///< pixels of a side
  int64_t patch = 14;
  int64_t width = 0;  ///< D
  int64_t depth = 0;  ///< blocks of the checkpoint; the last one is never computed
  int64_t heads = 0;
  int64_t hidden = 0;   ///< of the MLP: int(D · mlp_ratio)
  int64_t classes = 0;  ///< class tokens, 0 or 1
  int64_t registers = 0;
  bool layer_scale = false;
  float norm_eps = 1e-6F;

  int64_t grid() const { return image / patch; }
  int64_t patches() const { return grid() * grid(); }
  int64_t prefix() const { return classes + registers; }
  int64_t tokens() const { return prefix() + patches(); }
  int64_t blocks() const { return depth - 1; }  ///< those computed
  /// Error naming `where` and the first number that makes no sense.
  void check(std::string_view where) const;
};

/// The places in one tower. Named after the bucket: `vision.dino.blocks.3.attn.qkv:input`.
struct VisionSites {
  /// Of one block.
  struct Block {
    Site qkv, proj, fc1, fc2;  ///< inputs
  };
  Site patch_embed;  ///< `….patch_embed.proj:input`: patches of normalized pixels, 3·patch² columns
  std::vector<Block> blocks;
  Site output;  ///< the bucket

  VisionSites() = default;
  VisionSites(const VisionConfig& config, SiteList& list);
};

/// A tower that runs: a picture in, features of its patches out.
class VisionTower {
 public:
  VisionTower() = default;
  /// Packs the weights. Under timm's names only those of the blocks computed, `pos_embed` of this
  /// grid (1, patches, D), `patch_embed.proj.{weight,bias}`, `cls_token`, `reg_token`; matrices in
  /// any form that LinearTensors reads, `patch_embed.proj.weight` as (D, 3, patch, patch) or,
  /// low-bit, (D, 3·patch²). Error naming all that are missing, misshapen or left over.
  VisionTower(const VisionConfig& config, Weights weights, const Execution& execution,
              const VisionSites& sites);

  const VisionConfig& config() const { return config_; }
  /// pixels: 3 × image² (a channel a row), out: patches × D, row-major over the grid.
  void operator()(Run& run, MatView<const float> pixels, MatView<float> out) const;
  void add_size(ModelSize& size) const;
  /// Adds that of a picture: products, and attention's two of tokens² a column.
  void add_work(ModelWork& work) const;
  /// Linear::set_input_range of the product whose input the site is, if it is one's.
  void set_input_range(const Site& site, float lo, float hi);

 private:
  struct Raw;
  struct Norm {
    std::vector<float> weight, bias;
  };
  /// y = x·Wᵀ + bias.
  struct Affine {
    Linear product;
    std::vector<float> bias;
    void operator()(Run& run, MatView<const float> x, MatView<float> y) const;
    int64_t bytes() const;
  };
  struct Block {
    Norm norm1, norm2;
    Affine qkv, proj, fc1, fc2;
    std::vector<float> scale1, scale2;  ///< LayerScale; empty: none

    Block(Raw raw, const Execution& execution);
  };
  /// x: prefix and patches, whose positions are added.
  void embed(Run& run, MatView<const float> pixels, MatView<float> x) const;
  void block(Run& run, size_t index, MatView<float> x) const;
  void norm(Run& run, MatView<const float> x, const Norm& how, MatView<float> out) const;
  /// to += x · factors; no factors are ones.
  void add(Run& run, MatView<const float> x, const std::vector<float>& factors,
           MatView<float> to) const;
  /// `rows`: those of x that are updated; the others are only keys and values.
  void attend(Run& run, size_t index, MatView<const float> x, MatView<float> rows) const;
  void feed_forward(Run& run, size_t index, MatView<float> rows) const;

  VisionConfig config_;
  VisionSites sites_;
  Affine patch_embed_;
  std::vector<float> prefix_;     ///< prefix × D
  std::vector<float> positions_;  ///< patches × D
  std::vector<Block> blocks_;
};

/// Position vectors of a `from` × `from` grid for a `to` × `to` grid, as PyTorch's interpolate with
/// mode bicubic and antialias does (README.md): f32 [1, from², D] → [1, to², D].
Tensor resample_positions(const Tensor& positions, int64_t from, int64_t to);

}  // namespace scute
