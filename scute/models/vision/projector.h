// From what the towers saw to the language model's vectors.
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

/// By the end of Cobra's arch_specifier (README.md).
enum class ProjectorKind { linear, gelu_mlp, fused_gelu_mlp, fused_ldpnet };
/// Error naming the known ones.
ProjectorKind parse_projector(std::string_view arch_specifier);

/// The shape of a projector.
struct ProjectorConfig {
  ProjectorKind kind = ProjectorKind::fused_gelu_mlp;
  int64_t vision = 0;    ///< V, the towers' widths together
  int64_t language = 0;  ///< D of the language model
  int64_t grid = 0;      ///< patches of a side; fused_ldpnet pools them to 14 × 14

  /// Vectors that the language model gets for a picture.
  int64_t tokens() const;
};

/// The places in a projector.
struct ProjectorSites {
  std::vector<Site> inputs;  ///< `projector.{0,2,4}:input`
  Site output;               ///< the bucket, `projector`

  ProjectorSites() = default;
  /// `parts` are the towers' sites, whose columns side by side are the first input's.
  ProjectorSites(const ProjectorConfig& config, const std::vector<Site>& parts, SiteList& list);
};

/// Makes vectors of the language model from the towers' patches.
class Projector {
 public:
  Projector() = default;
  /// Packs the weights. Names: `projector.{0,2,4}.{weight,bias}` (linear:
  /// `projector.{weight,bias}`, fused_ldpnet: `projector.4.peg.0.{weight,bias}`, its depth-wise
  /// 3 × 3 convolution). Error as VisionTower.
  Projector(const ProjectorConfig& config, Weights weights, const Execution& execution,
            const ProjectorSites& sites);

  const ProjectorConfig& config() const { return config_; }
  /// features: patches × V, out: tokens() × D. Rounds and clips `features` itself where the first
  /// site has a grid.
  void operator()(Run& run, MatView<float> features, MatView<float> out) const;
  void add_size(ModelSize& size) const;
  /// Adds that of the products of a picture.
  void add_work(ModelWork& work) const;
  /// Linear::set_input_range of the product whose input the site is, if it is one's.
  void set_input_range(const Site& site, float lo, float hi);

 private:
  struct Layer {
    Linear product;
    std::vector<float> bias;
  };

  /// x: patches × D, out: 14² × D: pooled, convolved, added to what was convolved.
  void downsample(Run& run, MatView<const float> x, MatView<float> out) const;

  ProjectorConfig config_;
  ProjectorSites sites_;
  std::vector<Layer> layers_;
  std::vector<float> peg_weight_, peg_bias_;  ///< 9 × D, D
};

}  // namespace scute
