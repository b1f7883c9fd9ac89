// What both kinds of blocks of the integer regressor begin with: norm, in_proj, convolution, SiLU.
#pragma once

#include <string>
#include <vector>

#include "scute/models/regressor/config.h"
#include "scute/models/regressor/integer_steps.h"
#include "scute/models/regressor/tensors.h"

namespace scute {

/// The depth-wise convolution of a block, codes to codes; no taps: none.
struct IntegerConvolution {
  int64_t taps = 0, before = 0;
  std::vector<int16_t> weight;  ///< taps × channels
  std::vector<double> factor;   ///< channels
  std::vector<double> bias;     ///< channels, whole numbers of sums

  IntegerConvolution() = default;
  /// kernel: (channels, 1, taps).
  IntegerConvolution(const Tensor& kernel, const Tensor& biases, int64_t before_taps,
                     const RegressorFormats::Layer& format, const Grid& output,
                     std::string_view name);
};

/// SiLU from one format to another.
struct IntegerSilu {
  CodeSite logit, value;  ///< before and after
  int fraction = 0;       ///< fractional bits before
  double factor = 1;      ///< of fixed_silu
  void operator()(Run& run, MatView<const int16_t> x, MatView<int16_t> y) const;
};

/// The first half of a block in integers, which both kinds share.
class IntegerBlockInputs {
 public:
  /// Tensors: SlimBlockTensors or OriginBlockTensors. `block` is the prefix of its names.
  template <class Tensors>
  IntegerBlockInputs(const Tensors& tensors, const RegressorConfig& config,
                     const RegressorFormats& formats, const std::string& block, SiteList& sites);

  /// x: rows × D codes of the residual stream. uz: rows × 2I, its second half is SiLU(z) then
  /// (untouched without a gate), its first half scratch. u: rows × I.
  void operator()(Run& run, MatView<const int16_t> x, int64_t length, MatView<int16_t> uz,
                  MatView<int16_t> u) const;
  int64_t bytes() const;

  bool gate() const { return gate_; }
  const CodeSite& residual() const { return residual_; }
  const IntegerSilu& u() const { return u_; }
  const IntegerSilu& z() const { return z_; }
  const CodeSite& in_proj_site() const { return in_proj_site_; }
  const CodeSite& convolution_site() const { return convolution_site_; }
  const IntegerNorm& norm() const { return norm_; }
  const IntegerProduct& in_proj() const { return in_proj_; }
  const IntegerConvolution& convolution() const { return convolution_; }

 private:
  bool gate_;
  CodeSite residual_, in_proj_site_, convolution_site_;
  IntegerSilu u_, z_;
  IntegerNorm norm_;
  IntegerProduct in_proj_;
  IntegerConvolution convolution_;
};

/// Values of the 16-bit format NAME, shown at the site NAME.
CodeSite value_site(const RegressorFormats& formats, const std::string& name, int64_t width,
                    SiteList& sites);
/// The input of a product.
CodeSite input_site(const RegressorFormats& formats, const std::string& layer, int64_t width,
                    SiteList& sites);

}  // namespace scute
