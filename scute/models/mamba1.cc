#include "scute/models/mamba1.h"

#include "scute/kernels/elementwise.h"
#include "scute/kernels/scan.h"
#include "scute/models/mixer.h"

namespace scute {

Mamba1Sites::Mamba1Sites(const MambaConfig& config, const std::string& layer, SiteList& sites) {
  const int64_t E = config.inner, N = config.state, R = config.dt_rank;
  in_proj_output = sites.add(layer + "in_proj:output", {2 * E});
  conv_input = sites.add(layer + "conv1d:input", {E});
  z = sites.add(layer + "z_act:input", {E});
  x_proj_input = sites.add(layer + "x_proj:input", {E});
  x_proj_output = sites.add(layer + "x_proj:output", {R + 2 * N});
  dt_proj_input = sites.add(layer + "dt_proj:input", {R});
  B = sites.add(layer + "B_act:input", {N});
  C = sites.add(layer + "C_act:input", {N});
  dt_proj_output = sites.add(layer + "dt_proj:output", {E});
  state_steps = sites.add(layer + "ssm_state_act:steps", {E, N}, Site::Extent::per_step);
  state = sites.add(layer + "ssm_state_act:input", {E, N}, Site::Extent::per_sample);
  out_proj_input = sites.add(layer + "out_proj:input", {E});
  out_proj_rotated = sites.add_rotated(layer + "out_proj:input", E);
  out_proj_output = sites.add(layer + "out_proj:output", {config.width});
  sites.compose(in_proj_output, {conv_input, z});
  sites.compose(x_proj_output, {dt_proj_input, B, C});
  sites.alias(layer + "conv1d:output", layer + "x_proj:input");
  for (const char* op : {"z_act", "B_act", "C_act", "ssm_state_act"}) {
    sites.alias(layer + op + ":output", layer + op + ":input");
  }
}

Mamba1Mixer::Raw::Raw(WeightReader& reader, const std::string& prefix, const MambaConfig& c)
    : in_proj(reader.take(prefix + "in_proj.weight", {2 * c.inner, c.width})),
      conv_weight(reader.take(prefix + "conv1d.weight", {c.inner, 1, c.taps})),
      x_proj(reader.take(prefix + "x_proj.weight", {c.dt_rank + 2 * c.state, c.inner})),
      dt_proj(reader.take(prefix + "dt_proj.weight", {c.inner, c.dt_rank})),
      dt_bias(reader.take(prefix + "dt_proj.bias", {c.inner})),
      A_log(reader.take(prefix + "A_log", {c.inner, c.state})),
      D(reader.take(prefix + "D", {c.inner})),
      out_proj(reader.take(prefix + "out_proj.weight", {c.width, c.inner})) {
  if (c.conv_bias) conv_bias = reader.take(prefix + "conv1d.bias", {c.inner});
}

Mamba1Mixer::Mamba1Mixer(Raw raw, const MambaConfig& config, Compute compute, Mamba1Sites sites)
    : config_(config),
      in_proj_(raw.in_proj, compute),
      x_proj_(raw.x_proj, compute),
      dt_proj_(raw.dt_proj, compute),
      out_proj_(raw.out_proj, compute),
      conv_weight_(conv_taps_first(raw.conv_weight)),
      conv_bias_(to_vector(raw.conv_bias)),
      A_(negative_exp(raw.A_log)),
      D_(to_vector(raw.D)),
      dt_bias_(to_vector(raw.dt_bias)),
      sites_(std::move(sites)) {}

void Mamba1Mixer::operator()(Run& run, MatView<float> u, LayerState& state, int64_t position,
                             MatView<float> out) const {
  const int64_t L = u.rows, E = config_.inner, N = config_.state, R = config_.dt_rank;
  const Arena::Scope scope(run.arena());

  const auto xz = run.matrix(L, 2 * E);
  in_proj_(u, xz);
  run.pass(sites_.in_proj_output, xz);
  const auto x = xz.columns(0, E), z = xz.columns(E, E);
  run.pass(sites_.conv_input, x);
  run.pass(sites_.z, z);

  const auto convolved = run.matrix(L, E);
  causal_conv_silu(x, conv_weight_.data(), config_.conv_bias ? conv_bias_.data() : nullptr,
                   config_.taps, state.conv, convolved);
  run.pass(sites_.x_proj_input, convolved);

  const auto dtBC = run.matrix(L, R + 2 * N);
  x_proj_(convolved, dtBC);
  run.pass(sites_.x_proj_output, dtBC);
  const auto dt_low = dtBC.columns(0, R), B = dtBC.columns(R, N), C = dtBC.columns(R + N, N);
  run.pass(sites_.dt_proj_input, dt_low);
  run.pass(sites_.B, B);
  run.pass(sites_.C, C);

  const auto dt = run.matrix(L, E);
  dt_proj_(dt_low, dt);  // its bias is added inside the softplus of the scan
  run.pass(sites_.dt_proj_output, dt);

  const auto y = run.matrix(L, E);
  scan_in_steps(run, sites_.state_steps, position, L, state.ssm, [&](int64_t t, int64_t n) {
    selective_scan({.x = convolved.slice_rows(t, n),
                    .dt = dt.slice_rows(t, n),
                    .B = B.slice_rows(t, n),
                    .C = C.slice_rows(t, n),
                    .A = {A_.data(), E, N},
                    .D = D_.data(),
                    .dt_bias = dt_bias_.data()},
                   state.ssm, y.slice_rows(t, n));
  });
  run.pass(sites_.state, state.ssm);

  gate_silu(y, z, y);
  run.pass_rotated(sites_.out_proj_rotated, y);
  run.pass(sites_.out_proj_input, y);
  out_proj_(y, out);
  run.pass(sites_.out_proj_output, out);
}

int64_t Mamba1Mixer::bytes() const {
  return in_proj_.bytes() + x_proj_.bytes() + dt_proj_.bytes() + out_proj_.bytes();
}

}  // namespace scute
