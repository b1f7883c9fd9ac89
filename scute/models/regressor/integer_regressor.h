// The regressor in integers alone: what hardware computes, bit for bit on every machine.
#pragma once

#include <span>
#include <string>
#include <variant>
#include <vector>

#include "scute/models/regressor/config.h"
#include "scute/models/regressor/formats.h"
#include "scute/models/regressor/integer_blocks.h"
#include "scute/models/regressor/tensors.h"
#include "scute/models/run.h"
#include "scute/models/sites.h"

namespace scute {

/// Every tensor is codes of 16 bits or, as the input of an 8-bit product, 8; every product an exact
/// sum of integers; the steps between are those of kernels/fixed_point.h. With formats that are
/// powers of two nothing but integers and shifts is left. (The scan of an origin block is the
/// exception: IEEE doubles in a fixed order.) The three steps of Regressor, with codes.
class IntegerRegressor {
 public:
  using Value = int16_t;

  /// Error naming the format that is missing or does not fit.
  IntegerRegressor(const RegressorConfig& config, const RegressorTensors& tensors,
                   const RegressorFormats& formats);
  IntegerRegressor(const IntegerRegressor&);
  IntegerRegressor(IntegerRegressor&&) noexcept;
  IntegerRegressor& operator=(const IntegerRegressor&);
  IntegerRegressor& operator=(IntegerRegressor&&) noexcept;
  ~IntegerRegressor();

  const RegressorConfig& config() const { return config_; }
  const RegressorFormats& formats() const { return formats_; }
  /// Those of Regressor and, besides, what is between the products: values as real numbers, codes
  /// times their scale.
  const SiteList& sites() const { return sites_; }

  /// As Regressor's; projected: the codes of patch_embedding:input.
  void project(Run& run, MatView<const float> frames, MatView<int16_t> projected) const;
  void embed(Run& run, MatView<const int16_t> projected, std::span<const int64_t> first,
             MatView<int16_t> patches) const;
  void locate(Run& run, MatView<int16_t> patches, MatView<float> positions) const;

  int64_t bytes() const;

  // For whoever writes it down.
  const CodeSite& input() const { return frames_site_; }
  const IntegerProduct& proj() const { return proj_; }
  const IntegerProduct& patch_embedding() const { return patch_embedding_; }
  const std::vector<IntegerBlock>& blocks() const { return blocks_; }
  const IntegerNorm& norm_f() const { return norm_f_; }
  const IntegerProduct& output_layer() const { return output_layer_; }
  const IntegerProduct& head() const { return head_; }
  /// L × D codes of the residual stream, added to the patches; empty without.
  const std::vector<int16_t>& position_table() const { return position_table_; }
  const Grid& position_grid() const { return position_.grid; }

 private:
  MatView<const int16_t> gather(Run& run, MatView<const int16_t> patches) const;

  RegressorConfig config_;
  RegressorFormats formats_;
  SiteList sites_;
  CodeSite frames_site_, projected_site_, residual_, normed_, features_site_, position_;
  CodeSite output_site_;
  IntegerProduct proj_, patch_embedding_;
  std::vector<int16_t> position_table_;
  std::vector<IntegerBlock> blocks_;
  IntegerNorm norm_f_;
  IntegerProduct output_layer_, head_;
};

}  // namespace scute
