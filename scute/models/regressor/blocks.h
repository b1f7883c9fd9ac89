// The two residual blocks of the regressor, over the patches of many windows at once.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "scute/models/regressor/config.h"
#include "scute/models/regressor/layer.h"
#include "scute/models/regressor/tensors.h"
#include "scute/models/run.h"
#include "scute/models/sites.h"

namespace scute {

/// The sites of one block; `block` is their prefix, e.g. "blocks.3.". Inputs of products: slim
/// {in_proj,ssm.dt_proj,out_proj}:input; origin {in_proj,x_proj,dt_proj,out_proj}:input. Besides,
/// norm:input (the residual stream), z_act:input (with a gate) and the convolution's input
/// (slim: dw_conv, where there is one; origin: conv1d).
struct RegressorBlockSites {
  Site norm, in_proj, convolution, z_act;
  Site x_proj;  ///< origin
  Site dt_proj, out_proj;
  RegressorBlockSites(const RegressorConfig& config, const std::string& block, SiteList& sites);
};

/// The depth-wise convolution of a block; no taps: SiLU alone.
struct RegressorConvolution {
  int64_t taps = 0, before = 0;
  std::vector<float> weight;  ///< taps × channels
  std::vector<float> bias;
  /// y = SiLU(convolution of x), window by window.
  void operator()(MatView<const float> x, int64_t length, MatView<float> y) const;
};

/// A leaky mean of the gated inputs whose leak comes from the inputs themselves.
class SlimBlock {
 public:
  SlimBlock(const SlimBlockTensors& tensors, const RegressorConfig& config,
            const RegressorBlockSites& sites, const RegressorArithmetic& arithmetic);
  /// x: (windows · length) × D, updated.
  void operator()(Run& run, MatView<float> x, int64_t length) const;
  int64_t bytes() const;

 private:
  bool gate_;
  RegressorBlockSites sites_;
  std::vector<float> norm_;
  RegressorLayer in_proj_, dt_proj_, out_proj_;
  RegressorConvolution convolution_;
};

/// Mamba-1's selective scan (models/mamba1.h), from a zero state in each window.
class OriginBlock {
 public:
  OriginBlock(const OriginBlockTensors& tensors, const RegressorConfig& config,
              const RegressorBlockSites& sites, const RegressorArithmetic& arithmetic);
  /// x: (windows · length) × D, updated.
  void operator()(Run& run, MatView<float> x, int64_t length) const;
  int64_t bytes() const;

 private:
  bool gate_;
  RegressorBlockSites sites_;
  int64_t dt_rank_;
  std::vector<float> norm_;
  RegressorLayer in_proj_, x_proj_, dt_proj_, out_proj_;  ///< dt_proj's bias is the scan's
  RegressorConvolution convolution_;
  std::vector<float> A_, D_, dt_bias_;
};

/// A block in floats, of either kind.
using RegressorBlock = std::variant<SlimBlock, OriginBlock>;

/// (a, b, c) as (a, c, b), as a matrix of a rows: columns of a convolution over rows of channels.
Tensor channels_last(const Tensor& tensor);

}  // namespace scute
