#include "scute/models/language/mamba2.h"

#include <algorithm>

#include "scute/base/error.h"
#include "scute/kernels/elementwise.h"
#include "scute/kernels/hadamard.h"
#include "scute/kernels/scan.h"
#include "scute/models/language/mixer.h"
#include "scute/models/scale_tensors.h"
#include "scute/quantize/grouping.h"

namespace scute {

namespace {

using GatedNorm = MambaConfig::GatedNorm;

/// Operations of one state at one token.
constexpr int64_t kHeadStateStep = 6;

}  // namespace

std::array<float, 5> held_in(const std::array<float, 5>& factors, DType type) {
  if (type != DType::bf16 && type != DType::f16) return factors;
  std::array<float, 5> out{};
  std::ranges::copy(to_vector(Tensor::of<float>({5}, factors).rounded_to(type)), out.begin());
  return out;
}

Mamba2Sites::Mamba2Sites(const MambaConfig& config, const Scheme& scheme, const std::string& layer,
                         SiteList& sites) {
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
  out_proj_input = sites.add_input(layer + "out_proj:input", E, input_of(scheme.rotated_out_proj));
  out_proj_output = sites.add(layer + "out_proj:output", {config.width});
  sites.compose(in_proj_output, {z, x_in, B_in, C_in, dt});
  for (const char* op : {"z_act", "x_conv_in", "B_conv_in", "C_conv_in", "dt_act", "x_conv_out",
                         "B_conv_out", "C_conv_out", "ssm_state_act", "ssd_out_act"}) {
    sites.alias(layer + op + ":output", layer + op + ":input");
  }
}

Mamba2Mixer::Raw::Raw(WeightReader& reader, const std::string& prefix, const MambaConfig& c)
    : in_proj(reader, prefix + "in_proj", c.projected(), c.width, c.in_proj_bias),
      out_proj(reader, prefix + "out_proj", c.width, c.inner, c.out_proj_bias),
      conv(reader, prefix, c.conv_channels(), c.taps, c.conv_bias),
      dt_bias(reader.take(prefix + "dt_bias", {c.heads})),
      A_log(reader.take(prefix + "A_log", {c.heads})),
      D(reader.take(prefix + "D", {c.D_per_channel ? c.inner : c.heads})),
      name(prefix) {
  if (c.gated_norm != GatedNorm::none) norm = reader.take(prefix + "norm.weight", {c.inner});
  if (reader.contains(prefix + "selective_scan.u_scale")) take_scales(reader, prefix, c);
}

void Mamba2Mixer::Raw::take_scales(WeightReader& reader, const std::string& prefix,
                                   const MambaConfig& c) {
  const std::string scan = prefix + "selective_scan.";
  const auto one = [&](const std::string& scale) { return reader.take(scale, {1}); };
  const int64_t GN = c.groups * c.state;
  x_in = take_column_scales(reader, prefix + "conv1d.x_input_scale", c.inner);
  B_in = take_column_scales(reader, prefix + "conv1d.B_input_scale", GN);
  C_in = take_column_scales(reader, prefix + "conv1d.C_input_scale", GN);
  z = one(scan + "z_scale");
  dt = one(scan + "dt_scale");
  if (!reader.contains(scan + "x_head_group_range")) {
    u = one(scan + "u_scale");
    B = one(scan + "B_scale");
    C = one(scan + "C_scale");
    if (reader.contains(scan + "ssm_state_scale")) state = one(scan + "ssm_state_scale");
    if (reader.contains(scan + "ssm_state_channel_scale")) {
      state_channel = reader.take(scan + "ssm_state_channel_scale", {c.inner});
    }
    return;
  }
  const int64_t G = c.groups;
  head_range = reader.take(scan + "x_head_group_range", {G, kHeadGroups}, DType::i32);
  channel_range =
      reader.take(scan + "x_dim_group_range", {G, kHeadGroups, kChannelGroups}, DType::i32);
  if (reader.contains(scan + "x_channel_order")) {
    order = reader.take(scan + "x_channel_order", {c.inner}, DType::i32);
  }
  u = reader.take(scan + "u_scale", {G, kHeadGroups, kChannelGroups});
  B = reader.take(scan + "B_scale", {G});
  C = reader.take(scan + "C_scale", {G});
  if (!reader.contains(scan + "ssm_state_scale")) return;
  state = reader.take(scan + "ssm_state_scale", {G, kHeadGroups, kChannelGroups, c.state});
}

Mamba2Mixer::Mamba2Mixer(const Raw& raw, const MambaConfig& config, const Scheme& scheme,
                         int64_t layer, const Execution& execution, Mamba2Sites sites,
                         SiteGrids& grids)
    : config_(config),
      rotated_out_proj_(scheme.rotated_out_proj),
      in_proj_(raw.in_proj, execution),
      out_proj_(raw.out_proj, execution),
      conv_(raw.conv, conv_scales(raw), execution),
      A_(negative_exp(raw.A_log)),
      D_(to_vector(raw.D)),
      dt_bias_(to_vector(raw.dt_bias)),
      norm_(raw.norm.size() > 0 ? to_vector(raw.norm) : std::vector<float>()),
      factors_(column_factors(raw)),
      state_grid_{{}, scheme.state_rounding, scheme.seed, layer},
      sites_(std::move(sites)) {
  if (raw.eight_bit()) set_grids(raw, grids);
  const std::string order = raw.name + "selective_scan.x_channel_order";
  if ((raw.order.size() > 0) != (raw.grouped() && rotated_out_proj_)) {
    fail(order, rotated_out_proj_ ? "it beside grouped scales" : "none without a rotation",
         raw.order.size() > 0 ? "one" : "none");
  }
  if (raw.order.size() == 0) return;
  order_ = to_order(raw.order, order);
}

std::vector<float> Mamba2Mixer::column_factors(const Raw& raw) const {
  const auto& of = config_.segment_factors;
  if (of == MambaConfig().segment_factors) return {};
  const int64_t E = config_.inner, GN = config_.groups * config_.state;
  const std::array<int64_t, 5> columns{E, E, GN, GN, config_.heads};
  const auto held = held_in(of, raw.factors_type());
  std::vector<float> out;
  for (size_t i = 0; i < held.size(); ++i) {
    out.insert(out.end(), static_cast<size_t>(columns[i]), held[i]);
  }
  return out;
}

/// The scale of each input channel of the convolution: x, then B, then C.
std::vector<float> Mamba2Mixer::conv_scales(const Raw& raw) const {
  if (!raw.eight_bit()) return {};
  const int64_t GN = config_.groups * config_.state;
  const std::string conv = raw.name + "conv1d.";
  std::vector<float> scales;
  const auto add = [&](const Tensor& tensor, const char* name, int64_t channels) {
    const auto all = spread_scales(column_scales(tensor, conv + name), channels);
    scales.insert(scales.end(), all.begin(), all.end());
  };
  add(raw.x_in, "x_input_scale", config_.inner);
  add(raw.B_in, "B_input_scale", GN);
  add(raw.C_in, "C_input_scale", GN);
  return scales;
}

void Mamba2Mixer::set_grids(const Raw& raw, SiteGrids& grids) {
  const std::string scan = raw.name + "selective_scan.", conv = raw.name + "conv1d.";
  const auto set = [&](const Site& site, const Tensor& scale, const std::string& name) {
    grids.set(site, SiteScales(one_scale(scale, name)));
  };
  set(sites_.z, raw.z, scan + "z_scale");
  grids.set(sites_.x_in, column_scales(raw.x_in, conv + "x_input_scale"));
  grids.set(sites_.B_in, column_scales(raw.B_in, conv + "B_input_scale"));
  grids.set(sites_.C_in, column_scales(raw.C_in, conv + "C_input_scale"));
  set(sites_.dt, raw.dt, scan + "dt_scale");
  if (raw.grouped()) return set_grouped_grids(raw, grids);
  set(sites_.x_out, raw.u, scan + "u_scale");
  set(sites_.B_out, raw.B, scan + "B_scale");
  set(sites_.C_out, raw.C, scan + "C_scale");
  if (raw.state.size() == 0) return;
  state_grid_.scales = SiteScales(one_scale(raw.state, scan + "ssm_state_scale"));
  if (raw.state_channel.size() > 0) {
    state_grid_.scales = SiteScales(
        config_.inner, 1, checked_scales(raw.state_channel, scan + "ssm_state_channel_scale"));
  }
}

void Mamba2Mixer::set_grouped_grids(const Raw& raw, SiteGrids& grids) {
  const std::string scan = raw.name + "selective_scan.";
  const auto ints = [](const Tensor& tensor) {
    const auto values = tensor.values<int32_t>();
    return std::vector<int32_t>(values.begin(), values.end());
  };
  const HeadGrouping grouping =
      grouping_from_ends(ints(raw.head_range), ints(raw.channel_range), config_.heads,
                         config_.head_width, config_.groups, scan + "x_dim_group_range");
  const int64_t E = config_.inner, N = config_.state;
  grids.set(sites_.x_out,
            SiteScales(1, E, grouping.spread(checked_scales(raw.u, scan + "u_scale"))));
  const auto per_group = [&](const Site& site, const Tensor& tensor, const std::string& name) {
    std::vector<float> all;
    for (const float scale : checked_scales(tensor, name)) {
      all.insert(all.end(), static_cast<size_t>(N), scale);
    }
    grids.set(site, SiteScales(1, config_.groups * N, std::move(all)));
  };
  per_group(sites_.B_out, raw.B, scan + "B_scale");
  per_group(sites_.C_out, raw.C, scan + "C_scale");
  if (raw.state.size() == 0) return;
  const auto states = checked_scales(raw.state, scan + "ssm_state_scale");
  state_grid_.scales = SiteScales(E, N, grouping.spread(states, N));
}

LayerState Mamba2Mixer::new_state() const {
  return {config_.taps, config_.conv_channels(), config_.inner, config_.state,
          state_grid_.scales.empty() ? LayerState::Form::floats : LayerState::Form::codes};
}

void Mamba2Mixer::operator()(Run& run, MatView<float> u, LayerState& state, const Place& place,
                             MatView<float> out) const {
  const int64_t L = u.rows, E = config_.inner, GN = config_.groups * config_.state;
  const Arena::Scope scope(run.arena());

  const auto zxBCdt = run.matrix(L, config_.projected());
  in_proj_(run, u, zxBCdt);
  if (!factors_.empty()) {
    run.on_rows([&](auto rows) { multiply_columns(rows, factors_.data()); }, zxBCdt);
  }
  run.pass(sites_.in_proj_output, zxBCdt);
  const auto z = zxBCdt.columns(0, E), xBC = zxBCdt.columns(E, E + 2 * GN),
             dt = zxBCdt.columns(2 * E + 2 * GN, config_.heads);
  run.pass(sites_.z, z);
  run.pass(sites_.x_in, xBC.columns(0, E));
  run.pass(sites_.B_in, xBC.columns(E, GN));
  run.pass(sites_.C_in, xBC.columns(E + GN, GN));
  run.pass(sites_.dt, dt);

  const auto convolved = run.matrix(L, E + 2 * GN);
  conv_(run, xBC, state.conv, convolved);
  const auto x = convolved.columns(0, E), B = convolved.columns(E, GN),
             C = convolved.columns(E + GN, GN);
  run.pass(sites_.x_out, x);
  run.pass(sites_.B_out, B);
  run.pass(sites_.C_out, C);

  const auto y = run.matrix(L, E);
  scan(run,
       {.x = x,
        .dt = dt,
        .B = B,
        .C = C,
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
       state, place, y);
  run.pass(sites_.ssd_out, y);

  out_proj_(run, out_proj_input(run, y, z), out);
  run.pass(sites_.out_proj_output, out);
}

void Mamba2Mixer::scan(Run& run, const HeadScan& in, LayerState& state, const Place& place,
                       MatView<float> y) const {
  const int64_t L = in.x.rows, head = config_.head_width * config_.state;
  const Place after{place.sequence, place.position + L};
  if (scans_codes(run, state, L, sites_.state, sites_.state_steps)) {
    const CodedState codes = coded_state(state, state_grid_, after);
    return run.split(config_.heads, (kHeadStateStep * L + kOpenAndRound) * head,
                     [&](int64_t first, int64_t count) { head_scan(in, first, count, codes, y); });
  }
  const OpenState h(run, state, state_grid_);
  scan_in_steps(run, sites_.state_steps, place.position, L, h.values(), [&](int64_t t, int64_t n) {
    const HeadScan heads = in.tokens(t, n);
    run.split(config_.heads, kHeadStateStep * n * head, [&](int64_t first, int64_t count) {
      head_scan(heads, first, count, h.values(), y.slice_rows(t, n));
    });
  });
  run.pass(sites_.state, h.values());
  h.close(after);
}

MatView<float> Mamba2Mixer::out_proj_input(Run& run, MatView<float> y,
                                           MatView<const float> z) const {
  const SiteList::InputSites& sites = sites_.out_proj_input;
  const GatedNorm kind = config_.gated_norm;
  const float eps = config_.gated_eps > 0 ? config_.gated_eps : config_.norm_eps;
  const auto norm = [&](MatView<const float> in, MatView<const float> gates, const float* weight,
                        MatView<float> to) {
    if (kind == GatedNorm::none && in.data != to.data) copy_rows(in, to);
    if (kind != GatedNorm::none) rms_norm(in, weight, config_.inner / config_.groups, eps, to);
    if (kind == GatedNorm::norm_first) gate_silu(to, gates, to);
  };
  // What a rotated out_proj would see is shown without the norm's weight, which would be folded.
  const bool shows_twin = !rotated_out_proj_ && run.wants(sites.rotated);
  const auto twin = shows_twin ? run.matrix(y.rows, y.cols) : y;
  run.on_few_rows(
      [&](MatView<float> rows, MatView<const float> gates, MatView<float> unweighted) {
        if (kind != GatedNorm::norm_first) gate_silu(rows, gates, rows);
        if (shows_twin) norm(rows, gates, nullptr, unweighted);
        norm(rows, gates, norm_.data(), rows);
        if (rotated_out_proj_ && order_.empty()) hadamard_rows(rows);
      },
      y, z, twin);
  if (shows_twin) run.rotate_and_pass(sites.rotated, twin);
  if (!order_.empty()) {
    // What was measured, and the weights, are rotations of the channels in their first order.
    const auto restored = run.matrix(y.rows, y.cols);
    scatter_columns(y, order_, restored);
    y = restored;
    run.on_rows([](auto rows) { hadamard_rows(rows); }, y);
  }
  run.pass(rotated_out_proj_ ? sites.rotated : sites.plain, y);
  return y;
}

void Mamba2Mixer::add_size(ModelSize& size) const {
  size.linear += in_proj_.bytes() + out_proj_.bytes();
  size.convolution += conv_.bytes();
  size.scan += static_cast<int64_t>((A_.size() + D_.size() + dt_bias_.size()) * sizeof(float));
  size.norms += static_cast<int64_t>(norm_.size() * sizeof(float));
}

void Mamba2Mixer::add_work(ModelWork& work) const {
  for (const Linear* product : {&in_proj_, &out_proj_}) product->add_work(1, work);
  const int64_t E = config_.inner, H = config_.heads, channels = config_.conv_channels();
  work.f32 += channels * config_.taps + 2 * E * config_.state;
  work.exps += 2 * H + channels + E;  // decays and softplus of dt; SiLU of xBC and of z
}

}  // namespace scute
