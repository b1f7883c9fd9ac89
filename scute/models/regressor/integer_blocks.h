// The residual blocks of the integer regressor.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "scute/models/regressor/integer_block_inputs.h"

namespace scute {

/// SlimBlock in integers.
class IntegerSlimBlock {
 public:
  IntegerSlimBlock(const SlimBlockTensors& tensors, const RegressorConfig& config,
                   const RegressorFormats& formats, const std::string& block, SiteList& sites);
  /// x: (windows · length) × D codes of the residual stream, updated.
  void operator()(Run& run, MatView<int16_t> x, int64_t length) const;
  int64_t bytes() const;

  // For whoever writes it down.
  const IntegerBlockInputs& inputs() const { return inputs_; }
  const IntegerProduct& dt_proj() const { return dt_proj_; }
  const IntegerProduct& out_proj() const { return out_proj_; }
  const CodeSite& dt_site() const { return dt_site_; }
  const CodeSite& leak() const { return leak_; }
  const CodeSite& out_site() const { return out_site_; }
  int leak_fraction() const { return leak_fraction_; }
  /// u to the input of dt_proj, by fixed_rescale.
  double dt_factor() const { return dt_factor_; }
  /// To the input of out_proj, by fixed_gate, or without a gate by fixed_rescale.
  double out_factor() const { return out_factor_; }

 private:
  IntegerBlockInputs inputs_;
  CodeSite dt_site_, leak_, scan_, out_site_;
  double dt_factor_, out_factor_;
  int leak_fraction_;
  IntegerProduct dt_proj_, out_proj_;
};

/// OriginBlock: products, norm, convolution and SiLU in integers; the scan in doubles, with IEEE's
/// basic operations alone, in a fixed order (ieee_math.h).
class IntegerOriginBlock {
 public:
  IntegerOriginBlock(const OriginBlockTensors& tensors, const RegressorConfig& config,
                     const RegressorFormats& formats, const std::string& block, SiteList& sites);
  /// x: (windows · length) × D codes of the residual stream, updated.
  void operator()(Run& run, MatView<int16_t> x, int64_t length) const;
  int64_t bytes() const;

 private:
  /// One window, u updated to codes of the input of out_proj; gate: SiLU(z).
  void scan(MatView<int16_t> u, MatView<const float> dtBC, MatView<const float> dt,
            MatView<const int16_t> gate) const;

  int64_t dt_rank_;
  IntegerBlockInputs inputs_;
  CodeSite x_site_, dt_site_, out_site_;
  CodeMatrix x_proj_, dt_proj_;
  IntegerProduct out_proj_;
  std::vector<double> A_, D_, dt_bias_;
};

/// A block in integers, of either kind.
using IntegerBlock = std::variant<IntegerSlimBlock, IntegerOriginBlock>;

}  // namespace scute
