// The Mamba-2 mixer (Dao & Gu 2024, figure 6, right).
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
struct Mamba2Sites {
  Site in_proj_output, z, x_in, B_in, C_in, dt, x_out, B_out, C_out, state, state_steps, ssd_out,
      out_proj_input, out_proj_rotated, out_proj_output;
  Mamba2Sites(const MambaConfig& config, const std::string& layer, SiteList& sites);
};

class Mamba2Mixer {
 public:
  /// The tensors of one layer as the checkpoint stores them: cheap to hold, packed later.
  struct Raw {
    Tensor in_proj, conv_weight, conv_bias, dt_bias, A_log, D, norm, out_proj;
    Raw(WeightReader& reader, const std::string& prefix, const MambaConfig& config);
  };

  Mamba2Mixer(Raw raw, const MambaConfig& config, Compute compute, Mamba2Sites sites);

  /// u: L × D (normed), out: L × D; continues from `state`.
  void operator()(Run& run, MatView<float> u, LayerState& state, int64_t position,
                  MatView<float> out) const;
  int64_t bytes() const;

 private:
  MambaConfig config_;
  Gemm in_proj_, out_proj_;
  std::vector<float> conv_weight_, conv_bias_, A_, D_, dt_bias_, norm_;
  Mamba2Sites sites_;
};

}  // namespace scute
