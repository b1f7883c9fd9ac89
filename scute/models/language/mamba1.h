// The Mamba-1 mixer (Gu & Dao 2023, figure 3), float or 8-bit.
#pragma once

#include <vector>

#include "scute/models/language/config.h"
#include "scute/models/language/convolution.h"
#include "scute/models/language/state.h"
#include "scute/models/linear.h"
#include "scute/models/model_size.h"
#include "scute/models/model_work.h"
#include "scute/models/run.h"
#include "scute/models/scheme.h"
#include "scute/models/sites.h"
#include "scute/tensor/weights.h"

namespace scute {

/// The sites of one layer, in the order tensors reach them. `layer` is their prefix, e.g.
/// "layer_3.".
struct Mamba1Sites {
  Site in_proj_output, conv_input, z, x_proj_input, x_proj_output, dt_proj_input, dt_proj_output, B,
      C, state, state_steps, out_proj_output;
  SiteList::InputSites out_proj_input;
  Mamba1Sites(const MambaConfig& config, const Scheme& scheme, const std::string& layer,
              SiteList& sites);
};

/// The part of a block that has the recurrence of Mamba-1.
class Mamba1Mixer {
 public:
  /// The tensors of one layer as the checkpoint stores them: cheap to hold, packed later.
  struct Raw {
    LinearTensors in_proj, x_proj, dt_proj, out_proj;
    ConvolutionTensors conv;
    Tensor dt_bias, A_log, D;
    Tensor dt_norm, B_norm, C_norm;  ///< weighted inner norms
    /// Of 8-bit activations, one element each; all or none: conv1d.input_scale (or E),
    /// selective_scan.{u,dt,B,C,z}_scale; conv1d.output_scale repeats u. Without
    /// selective_scan.ssm_state_scale the state stays in floats.
    std::string name;
    Tensor conv_input, conv_output, u, dt, B, C, z, state;
    Tensor state_channel;  ///< ssm_state_channel_scale: E, instead of the one of `state`; optional
    Raw(WeightReader& reader, const std::string& prefix, const MambaConfig& config);
    bool eight_bit() const { return u.size() > 0; }
  };

  /// Notes the grids of its sites in `grids`.
  Mamba1Mixer(const Raw& raw, const MambaConfig& config, const Scheme& scheme, int64_t layer,
              const Execution& execution, Mamba1Sites sites, SiteGrids& grids);

  /// u: L × D (normed), out: L × D; continues from `state`. `place`: where u begins.
  void operator()(Run& run, MatView<float> u, LayerState& state, const Place& place,
                  MatView<float> out) const;
  LayerState new_state() const;
  /// Adds its own.
  void add_size(ModelSize& size) const;
  /// Adds that of a token: 2 multiply-adds an element of the state, one that updates it and one
  /// that reads it.
  void add_work(ModelWork& work) const;

 private:
  void set_grids(const Raw& raw, SiteGrids& grids);
  void scan(Run& run, const SelectiveScan& in, LayerState& state, const Place& place,
            MatView<float> y) const;
  /// The family's norms of dt (before dt_proj), B and C, if it has them.
  void norm_inner(Run& run, MatView<float> dt, MatView<float> B, MatView<float> C) const;

  MambaConfig config_;
  bool rotated_out_proj_;
  Linear in_proj_, x_proj_, dt_proj_, out_proj_;
  Convolution conv_;
  std::vector<float> A_, D_, dt_bias_;
  std::vector<float> dt_norm_, B_norm_, C_norm_;  ///< empty: ones
  StateGrid state_grid_;
  Mamba1Sites sites_;
};

}  // namespace scute
