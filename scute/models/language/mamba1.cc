#include "scute/models/language/mamba1.h"

#include "scute/kernels/elementwise.h"
#include "scute/kernels/hadamard.h"
#include "scute/kernels/scan.h"
#include "scute/models/language/mixer.h"
#include "scute/models/scale_tensors.h"

namespace scute {

namespace {

/// Operations of one state at one token, the exponential among them.
constexpr int64_t kStateStep = 16;
/// Channels of a stretch of the scan are a multiple of this: whole vectors of every machine.
constexpr int64_t kChannelsTogether = 64;

}  // namespace

Mamba1Sites::Mamba1Sites(const MambaConfig& config, const Scheme& scheme, const std::string& layer,
                         SiteList& sites) {
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
  out_proj_input = sites.add_input(layer + "out_proj:input", E, input_of(scheme.rotated_out_proj));
  out_proj_output = sites.add(layer + "out_proj:output", {config.width});
  sites.compose(in_proj_output, {conv_input, z});
  if (config.inner_norms == MambaConfig::InnerNorms::none) {
    sites.compose(x_proj_output, {dt_proj_input, B, C});
  }
  sites.alias(layer + "conv1d:output", layer + "x_proj:input");
  for (const char* op : {"z_act", "B_act", "C_act", "ssm_state_act"}) {
    sites.alias(layer + op + ":output", layer + op + ":input");
  }
}

Mamba1Mixer::Raw::Raw(WeightReader& reader, const std::string& prefix, const MambaConfig& c)
    : in_proj(reader, prefix + "in_proj", 2 * c.inner, c.width, c.in_proj_bias),
      x_proj(reader, prefix + "x_proj", c.dt_rank + 2 * c.state, c.inner),
      dt_proj(reader, prefix + "dt_proj", c.inner, c.dt_rank),
      out_proj(reader, prefix + "out_proj", c.width, c.inner, c.out_proj_bias),
      conv(reader, prefix, c.inner, c.taps, c.conv_bias),
      dt_bias(reader.take(prefix + "dt_proj.bias", {c.inner})),
      A_log(reader.take(prefix + "A_log", {c.inner, c.state})),
      D(reader.take(prefix + "D", {c.inner})),
      name(prefix) {
  if (c.inner_norms == MambaConfig::InnerNorms::weighted) {
    dt_norm = reader.take(prefix + "dt_norm.weight", {c.dt_rank});
    B_norm = reader.take(prefix + "B_norm.weight", {c.state});
    C_norm = reader.take(prefix + "C_norm.weight", {c.state});
  }
  const std::string scan = prefix + "selective_scan.";
  if (!reader.contains(scan + "u_scale")) return;
  const auto one = [&](const std::string& scale) { return reader.take(scale, {1}); };
  conv_input = take_column_scales(reader, prefix + "conv1d.input_scale", c.inner);
  conv_output = one(prefix + "conv1d.output_scale");
  u = one(scan + "u_scale");
  dt = one(scan + "dt_scale");
  B = one(scan + "B_scale");
  C = one(scan + "C_scale");
  z = one(scan + "z_scale");
  if (reader.contains(scan + "ssm_state_scale")) state = one(scan + "ssm_state_scale");
  if (reader.contains(scan + "ssm_state_channel_scale")) {
    state_channel = reader.take(scan + "ssm_state_channel_scale", {c.inner});
  }
}

Mamba1Mixer::Mamba1Mixer(const Raw& raw, const MambaConfig& config, const Scheme& scheme,
                         int64_t layer, const Execution& execution, Mamba1Sites sites,
                         SiteGrids& grids)
    : config_(config),
      rotated_out_proj_(scheme.rotated_out_proj),
      in_proj_(raw.in_proj, execution),
      x_proj_(raw.x_proj, execution),
      dt_proj_(raw.dt_proj, execution),
      out_proj_(raw.out_proj, execution),
      A_(negative_exp(raw.A_log)),
      D_(to_vector(raw.D)),
      dt_bias_(to_vector(raw.dt_bias)),
      state_grid_{{}, scheme.state_rounding, scheme.seed, layer},
      sites_(std::move(sites)) {
  if (raw.dt_norm.size() > 0) {
    dt_norm_ = to_vector(raw.dt_norm);
    B_norm_ = to_vector(raw.B_norm);
    C_norm_ = to_vector(raw.C_norm);
  }
  std::vector<float> conv_scales;
  if (raw.eight_bit()) {
    set_grids(raw, grids);
    conv_scales = spread_scales(*grids.find(sites_.conv_input), config.inner);
  }
  conv_ = Convolution(raw.conv, conv_scales, execution);
}

void Mamba1Mixer::set_grids(const Raw& raw, SiteGrids& grids) {
  const std::string scan = raw.name + "selective_scan.", conv = raw.name + "conv1d.";
  const auto set = [&](const Site& site, const Tensor& scale, const std::string& name) {
    grids.set(site, SiteScales(one_scale(scale, name)));
  };
  grids.set(sites_.conv_input, column_scales(raw.conv_input, conv + "input_scale"));
  set(sites_.z, raw.z, scan + "z_scale");
  set(sites_.x_proj_input, raw.u, scan + "u_scale");
  set(sites_.B, raw.B, scan + "B_scale");
  set(sites_.C, raw.C, scan + "C_scale");
  set(sites_.dt_proj_output, raw.dt, scan + "dt_scale");
  // One number under the names that different readers look for.
  const float u = one_scale(raw.u, scan + "u_scale");
  require_same_scale(u, scan + "u_scale", one_scale(raw.conv_output, conv + "output_scale"),
                     conv + "output_scale");
  require_same_scale(u, scan + "u_scale", x_proj_.input_scale(), raw.name + "x_proj.input_scale");
  if (raw.state.size() == 0) return;
  state_grid_.scales = SiteScales(one_scale(raw.state, scan + "ssm_state_scale"));
  if (raw.state_channel.size() > 0) {
    state_grid_.scales = SiteScales(
        config_.inner, 1, checked_scales(raw.state_channel, scan + "ssm_state_channel_scale"));
  }
}

LayerState Mamba1Mixer::new_state() const {
  return {config_.taps, config_.inner, config_.inner, config_.state,
          state_grid_.scales.empty() ? LayerState::Form::floats : LayerState::Form::codes};
}

void Mamba1Mixer::operator()(Run& run, MatView<float> u, LayerState& state, const Place& place,
                             MatView<float> out) const {
  const int64_t L = u.rows, E = config_.inner, N = config_.state, R = config_.dt_rank;
  const Arena::Scope scope(run.arena());

  const auto xz = run.matrix(L, 2 * E);
  in_proj_(run, u, xz);
  run.pass(sites_.in_proj_output, xz);
  const auto x = xz.columns(0, E), z = xz.columns(E, E);
  run.pass(sites_.conv_input, x);
  run.pass(sites_.z, z);

  const auto convolved = run.matrix(L, E);
  conv_(run, x, state.conv, convolved);
  run.pass(sites_.x_proj_input, convolved);

  const auto dtBC = run.matrix(L, R + 2 * N);
  x_proj_(run, convolved, dtBC);
  run.pass(sites_.x_proj_output, dtBC);
  const auto dt_low = dtBC.columns(0, R), B = dtBC.columns(R, N), C = dtBC.columns(R + N, N);
  norm_inner(run, dt_low, B, C);
  run.pass(sites_.dt_proj_input, dt_low);
  run.pass(sites_.B, B);
  run.pass(sites_.C, C);

  const auto dt = run.matrix(L, E);
  dt_proj_(run, dt_low, dt);  // its bias is added inside the softplus of the scan
  run.pass(sites_.dt_proj_output, dt);

  const auto y = run.matrix(L, E);
  scan(run,
       {.x = convolved,
        .dt = dt,
        .B = B,
        .C = C,
        .A = {A_.data(), E, N},
        .D = D_.data(),
        .dt_bias = dt_bias_.data()},
       state, place, y);

  run.on_few_rows(
      [&](auto rows, auto gates) {
        gate_silu(rows, gates, rows);
        if (rotated_out_proj_) hadamard_rows(rows);
      },
      y, z);
  if (!rotated_out_proj_) run.pass_rotated(sites_.out_proj_input.rotated, y);
  run.pass(rotated_out_proj_ ? sites_.out_proj_input.rotated : sites_.out_proj_input.plain, y);
  out_proj_(run, y, out);
  run.pass(sites_.out_proj_output, out);
}

void Mamba1Mixer::scan(Run& run, const SelectiveScan& in, LayerState& state, const Place& place,
                       MatView<float> y) const {
  const int64_t L = in.x.rows, E = config_.inner, N = config_.state;
  const Place after{place.sequence, place.position + L};
  if (scans_codes(run, state, L, sites_.state, sites_.state_steps)) {
    const CodedState codes = coded_state(state, state_grid_, after);
    return run.split(
        E, (kStateStep * L + kOpenAndRound) * N,
        [&](int64_t first, int64_t count) { selective_scan(in, first, count, codes, y); },
        kChannelsTogether);
  }
  const OpenState h(run, state, state_grid_);
  scan_in_steps(run, sites_.state_steps, place.position, L, h.values(), [&](int64_t t, int64_t n) {
    const SelectiveScan all = in.tokens(t, n);
    const auto stretch = [&](int64_t first, int64_t count) {
      selective_scan(all.channels(first, count), h.values().slice_rows(first, count),
                     y.slice_rows(t, n).columns(first, count));
    };
    run.split(E, kStateStep * n * N, stretch, kChannelsTogether);
  });
  run.pass(sites_.state, h.values());
  h.close(after);
}

void Mamba1Mixer::norm_inner(Run& run, MatView<float> dt, MatView<float> B,
                             MatView<float> C) const {
  if (config_.inner_norms == MambaConfig::InnerNorms::none) return;
  const auto norm = [&](MatView<float> x, const std::vector<float>& weight) {
    rms_norm(x, weight.empty() ? nullptr : weight.data(), x.cols, config_.inner_eps, x);
  };
  run.on_rows(
      [&](auto dt_rows, auto B_rows, auto C_rows) {
        norm(dt_rows, dt_norm_);
        norm(B_rows, B_norm_);
        norm(C_rows, C_norm_);
      },
      dt, B, C);
}

void Mamba1Mixer::add_size(ModelSize& size) const {
  size.linear += in_proj_.bytes() + x_proj_.bytes() + dt_proj_.bytes() + out_proj_.bytes();
  size.convolution += conv_.bytes();
  size.scan += static_cast<int64_t>((A_.size() + D_.size() + dt_bias_.size()) * sizeof(float));
}

void Mamba1Mixer::add_work(ModelWork& work) const {
  for (const Linear* product : {&in_proj_, &x_proj_, &dt_proj_, &out_proj_}) {
    product->add_work(1, work);
  }
  const int64_t E = config_.inner, N = config_.state;
  work.f32 += E * config_.taps + 2 * E * N;
  work.exps += E * N + 3 * E;  // decays; softplus of dt; SiLU of x and of z
}

}  // namespace scute
