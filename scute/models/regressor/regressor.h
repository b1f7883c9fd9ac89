// The Mamba regressor: a window of radio features to a position in the plane.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "scute/models/regressor/blocks.h"
#include "scute/models/regressor/config.h"
#include "scute/models/regressor/layer.h"
#include "scute/models/regressor/tensors.h"
#include "scute/models/run.h"
#include "scute/models/sites.h"

namespace scute {

/// Every site of a regressor, known from its config alone, in the order tensors reach them.
struct RegressorSites {
  SiteList list;
  Site proj;             ///< frames × Din
  Site patch_embedding;  ///< the same frames, projected: × C
  std::vector<RegressorBlockSites> blocks;
  Site norm_f;        ///< the residual stream's end
  Site output_layer;  ///< windows × L·D (patch after patch), or windows × D of a pooled model
  Site head;          ///< windows × C
  Site position;      ///< head:output, windows × 2

  explicit RegressorSites(const RegressorConfig& config);
};

/// scale · PE[l, m], L × D, empty without: sin(l·ω) in even columns, cos(l·ω) in odd ones, ω =
/// 10000^(−j/(D/2)) for the j-th pair (Vaswani et al. 2017, §3.5). Each number is rounded once.
std::vector<float> position_table(const RegressorConfig& config);

/// One matrix that quantization may round.
struct RegressorProduct {
  std::string layer;  ///< its input site without ":input"
  Tensor weight;      ///< outputs × inputs, as it is multiplied by
  Tensor bias;        ///< outputs; empty for none
  int64_t channels;   ///< of its input: fewer than the inputs of patch_embedding
};
/// All of them in the order tensors reach them, convolutions left out.
std::vector<RegressorProduct> regressor_products(const RegressorConfig& config,
                                                 const RegressorTensors& tensors);

/// In three steps, so that what windows share is computed once: frames are projected, projected
/// frames are embedded as patches, the patches of each window give its position. Every row of each
/// result depends on its own inputs alone, never on how many rows are computed together. Which
/// frames and patches windows share: regressor_predict.h.
class Regressor {
 public:
  using Value = float;  ///< what projected frames and patches are made of

  Regressor(const RegressorConfig& config, const RegressorTensors& tensors,
            const RegressorArithmetic& arithmetic = {});
  Regressor(const Regressor&);
  Regressor(Regressor&&) noexcept;
  Regressor& operator=(const Regressor&);
  Regressor& operator=(Regressor&&) noexcept;
  ~Regressor();

  const RegressorConfig& config() const { return config_; }
  const SiteList& sites() const { return sites_.list; }

  /// frames: n × Din to n × C. Shows both.
  void project(Run& run, MatView<const float> frames, MatView<float> projected) const;
  /// projected: frames × C; the patch that begins at each frame of `first`, `patch` frames from
  /// there, to first.size() × D.
  void embed(Run& run, MatView<const float> projected, std::span<const int64_t> first,
             MatView<float> patches) const;
  /// patches: (windows · L) × D, window after window, overwritten; the position table is added
  /// here. positions: windows × 2, metres.
  void locate(Run& run, MatView<float> patches, MatView<float> positions) const;

  /// Memory of the packed weights.
  int64_t bytes() const;

 private:
  /// windows × L·D or, pooled, windows × D.
  MatView<const float> gather(Run& run, MatView<const float> patches) const;

  RegressorConfig config_;
  RegressorSites sites_;
  RegressorLayer proj_, patch_embedding_;
  std::vector<float> position_table_;  ///< L × D, scaled; empty without
  std::vector<RegressorBlock> blocks_;
  std::vector<float> norm_f_;
  RegressorLayer output_layer_, head_;
};

}  // namespace scute
