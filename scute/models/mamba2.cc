#include "scute/models/mamba2.h"

#include "scute/kernels/elementwise.h"
#include "scute/kernels/scan.h"
#include "scute/models/mixer.h"

namespace scute {

Mamba2Sites::Mamba2Sites(const MambaConfig& config, const std::string& layer, SiteList& sites) {
  const int64_t E = config.inner, GN = config.groups * config.state;
  const Shape state_shape{config.heads, config.head_width, config.state};
  in_proj_output = sites.add(layer + "in_proj:output", {config.projected()});
  z = sites.add(layer + "z_act:input", {E});
  x_in = sites.add(layer + "x_conv_in:input", {E});
  B_in = sites.add(layer + "B_conv_in:input", {GN});
  C_in = sites.add(layer + "C_conv_in:input", {GN});
  dt = sites.add(layer + "dt_act:input", {config.heads});
  x_out = sites.add(layer + "x_conv_out:input", {E});
  B_out = sites.add(layer + "B_conv_out:input", {GN});
  C_out = sites.add(layer + "C_conv_out:input", {GN});
  state_steps = sites.add(layer + "ssm_state_act:steps", state_shape, Site::Extent::per_step);
  state = sites.add(layer + "ssm_state_act:input", state_shape, Site::Extent::per_sample);
  ssd_out = sites.add(layer + "ssd_out_act:input", {E});
  out_proj_input = sites.add(layer + "out_proj:input", {E});
  out_proj_rotated = sites.add_rotated(layer + "out_proj:input", E);
  out_proj_output = sites.add(layer + "out_proj:output", {config.width});
  sites.compose(in_proj_output, {z, x_in, B_in, C_in, dt});
  for (const char* op : {"z_act", "x_conv_in", "B_conv_in", "C_conv_in", "dt_act", "x_conv_out",
                         "B_conv_out", "C_conv_out", "ssm_state_act", "ssd_out_act"}) {
    sites.alias(layer + op + ":output", layer + op + ":input");
  }
}

Mamba2Mixer::Raw::Raw(WeightReader& reader, const std::string& prefix, const MambaConfig& c)
    : in_proj(reader.take(prefix + "in_proj.weight", {c.projected(), c.width})),
      conv_weight(reader.take(prefix + "conv1d.weight", {c.conv_channels(), 1, c.taps})),
      dt_bias(reader.take(prefix + "dt_bias", {c.heads})),
      A_log(reader.take(prefix + "A_log", {c.heads})),
      D(reader.take(prefix + "D", {c.D_per_channel ? c.inner : c.heads})),
      norm(reader.take(prefix + "norm.weight", {c.inner})),
      out_proj(reader.take(prefix + "out_proj.weight", {c.width, c.inner})) {
  if (c.conv_bias) conv_bias = reader.take(prefix + "conv1d.bias", {c.conv_channels()});
}

Mamba2Mixer::Mamba2Mixer(Raw raw, const MambaConfig& config, Compute compute, Mamba2Sites sites)
    : config_(config),
      in_proj_(raw.in_proj, compute),
      out_proj_(raw.out_proj, compute),
      conv_weight_(conv_taps_first(raw.conv_weight)),
      conv_bias_(to_vector(raw.conv_bias)),
      A_(negative_exp(raw.A_log)),
      D_(to_vector(raw.D)),
      dt_bias_(to_vector(raw.dt_bias)),
      norm_(to_vector(raw.norm)),
      sites_(std::move(sites)) {}

void Mamba2Mixer::operator()(Run& run, MatView<float> u, LayerState& state, int64_t position,
                             MatView<float> out) const {
  const int64_t L = u.rows, E = config_.inner, GN = config_.groups * config_.state;
  const Arena::Scope scope(run.arena());

  const auto zxBCdt = run.matrix(L, config_.projected());
  in_proj_(u, zxBCdt);
  run.pass(sites_.in_proj_output, zxBCdt);
  const auto z = zxBCdt.columns(0, E), xBC = zxBCdt.columns(E, E + 2 * GN),
             dt = zxBCdt.columns(2 * E + 2 * GN, config_.heads);
  run.pass(sites_.z, z);
  run.pass(sites_.x_in, xBC.columns(0, E));
  run.pass(sites_.B_in, xBC.columns(E, GN));
  run.pass(sites_.C_in, xBC.columns(E + GN, GN));
  run.pass(sites_.dt, dt);

  const auto convolved = run.matrix(L, E + 2 * GN);
  causal_conv_silu(xBC, conv_weight_.data(), config_.conv_bias ? conv_bias_.data() : nullptr,
                   config_.taps, state.conv, convolved);
  const auto x = convolved.columns(0, E), B = convolved.columns(E, GN),
             C = convolved.columns(E + GN, GN);
  run.pass(sites_.x_out, x);
  run.pass(sites_.B_out, B);
  run.pass(sites_.C_out, C);

  const auto y = run.matrix(L, E);
  scan_in_steps(run, sites_.state_steps, position, L, state.ssm, [&](int64_t t, int64_t n) {
    head_scan({.x = x.slice_rows(t, n),
               .dt = dt.slice_rows(t, n),
               .B = B.slice_rows(t, n),
               .C = C.slice_rows(t, n),
               .A = A_.data(),
               .D = D_.data(),
               .D_per_channel = config_.D_per_channel,
               .dt_bias = dt_bias_.data(),
               .heads = config_.heads,
               .head_width = config_.head_width,
               .groups = config_.groups,
               .state_size = config_.state,
               .dt_min = config_.dt_min,
               .dt_max = config_.dt_max},
              state.ssm, y.slice_rows(t, n));
  });
  run.pass(sites_.state, state.ssm);
  run.pass(sites_.ssd_out, y);

  gate_silu(y, z, y);  // the gate comes before the norm in every released model
  const int64_t group = E / config_.groups;
  if (run.wants(sites_.out_proj_rotated)) {
    const auto unweighted = run.matrix(L, E);
    rms_norm(y, nullptr, group, config_.norm_eps, unweighted);
    run.rotate_and_pass(sites_.out_proj_rotated, unweighted);
  }
  rms_norm(y, norm_.data(), group, config_.norm_eps, y);
  run.pass(sites_.out_proj_input, y);
  out_proj_(y, out);
  run.pass(sites_.out_proj_output, out);
}

int64_t Mamba2Mixer::bytes() const { return in_proj_.bytes() + out_proj_.bytes(); }

}  // namespace scute
