// The Mamba-1 mixer (Gu & Dao 2023, figure 3).
#pragma once

#include <vector>

#include "scute/kernels/gemm.h"
#include "scute/models/config.h"
#include "scute/models/run.h"
#include "scute/models/sites.h"
#include "scute/models/state.h"
#include "scute/tensor/weights.h"

namespace scute {

/// The sites of one layer, in the order tensors reach them. `layer` is their prefix, e.g.
/// "layer_3.".
struct Mamba1Sites {
  Site in_proj_output, conv_input, z, x_proj_input, x_proj_output, dt_proj_input, dt_proj_output, B,
      C, state, state_steps, out_proj_input, out_proj_rotated, out_proj_output;
  Mamba1Sites(const MambaConfig& config, const std::string& layer, SiteList& sites);
};

class Mamba1Mixer {
 public:
  /// The tensors of one layer as the checkpoint stores them: cheap to hold, packed later.
  struct Raw {
    Tensor in_proj, conv_weight, conv_bias, x_proj, dt_proj, dt_bias, A_log, D, out_proj;
    Raw(WeightReader& reader, const std::string& prefix, const MambaConfig& config);
  };

  Mamba1Mixer(Raw raw, const MambaConfig& config, Compute compute, Mamba1Sites sites);

  /// u: L × D (normed), out: L × D; continues from `state`.
  void operator()(Run& run, MatView<float> u, LayerState& state, int64_t position,
                  MatView<float> out) const;
  int64_t bytes() const;

 private:
  MambaConfig config_;
  Gemm in_proj_, x_proj_, dt_proj_, out_proj_;
  std::vector<float> conv_weight_, conv_bias_, A_, D_, dt_bias_;
  Mamba1Sites sites_;
};

}  // namespace scute
