// The Mamba-2 mixer (Dao & Gu 2024, figure 6, right), float or 8-bit.
#pragma once

#include <array>
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
struct Mamba2Sites {
  Site in_proj_output, z, x_in, B_in, C_in, dt, x_out, B_out, C_out, state, state_steps, ssd_out,
      out_proj_output;
  SiteList::InputSites out_proj_input;
  Mamba2Sites(const MambaConfig& config, const Scheme& scheme, const std::string& layer,
              SiteList& sites);
};

/// Factors on in_proj's segments as a buffer of that type holds them: rounded in bf16 and f16.
std::array<float, 5> held_in(const std::array<float, 5>& factors, DType type);

/// The part of a block that has the recurrence of Mamba-2.
class Mamba2Mixer {
 public:
  /// The tensors of one layer as the checkpoint stores them: cheap to hold, packed later.
  struct Raw {
    LinearTensors in_proj, out_proj;
    ConvolutionTensors conv;
    Tensor dt_bias, A_log, D;
    Tensor norm;  ///< where the gate has one
    /// Of 8-bit activations; all or none: conv1d.{x,B,C}_input_scale, one or one a channel, and
    /// selective_scan.{z,dt}_scale; u (1), or (G, 4, 4) with the two ranges; B and C (1) or (G);
    /// ssm_state_scale (1) or (G, 4, 4, N), without it the state stays in floats.
    std::string name;
    Tensor x_in, B_in, C_in, z, dt, u, B, C, state;
    Tensor head_range, channel_range;  ///< x_head_group_range (G, 4), x_dim_group_range (G, 4, 4)
    Tensor order;  ///< x_channel_order (E), with grouped scales and a rotated out_proj: stored
                   ///< channel c is the rotation's element order[c]
    Tensor state_channel;  ///< ssm_state_channel_scale (H·P); optional
    Raw(WeightReader& reader, const std::string& prefix, const MambaConfig& config);
    /// That of the factors on in_proj's segments, a buffer in the model's own type: where the
    /// weights are codes, what was left in it tells.
    DType factors_type() const {
      return in_proj.quantized() ? dt_bias.dtype() : in_proj.weight.dtype();
    }
    bool eight_bit() const { return u.size() > 0; }
    bool grouped() const { return head_range.size() > 0; }

   private:
    void take_scales(WeightReader& reader, const std::string& prefix, const MambaConfig& config);
  };

  /// Notes the grids of its sites in `grids`.
  Mamba2Mixer(const Raw& raw, const MambaConfig& config, const Scheme& scheme, int64_t layer,
              const Execution& execution, Mamba2Sites sites, SiteGrids& grids);

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
  std::vector<float> conv_scales(const Raw& raw) const;
  void set_grids(const Raw& raw, SiteGrids& grids);
  void set_grouped_grids(const Raw& raw, SiteGrids& grids);
  void scan(Run& run, const HeadScan& in, LayerState& state, const Place& place,
            MatView<float> y) const;
  /// Factors of the columns of in_proj's output, in the type of its weights; empty: all 1.
  std::vector<float> column_factors(const Raw& raw) const;
  /// The input of out_proj: gated and normed, and rotated if the weights are. Overwrites y.
  MatView<float> out_proj_input(Run& run, MatView<float> y, MatView<const float> z) const;

  MambaConfig config_;
  bool rotated_out_proj_;
  Linear in_proj_, out_proj_;
  Convolution conv_;
  std::vector<float> A_, D_, dt_bias_, norm_, factors_;
  std::vector<int32_t> order_;  ///< empty: channels are stored as they are rotated
  StateGrid state_grid_;
  Mamba2Sites sites_;
};

}  // namespace scute
