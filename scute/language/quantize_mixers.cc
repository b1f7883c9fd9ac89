// The mixers of a quantization: Mamba-1 and Mamba-2.
#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"
#include "scute/language/quantize_job.h"
#include "scute/language/reorder.h"
#include "scute/quantize/grouping.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

/// dt_proj has too few inputs for groups: 8 bits beside 8-bit activations, else floats.
LayerFormat format_of_dt(const LayerFormat& format) {
  return format.eight_bit_activations() && !format.is_float() ? LayerFormat{8, 8}
                                                              : LayerFormat{16, 16};
}

bool rounds_activations(const LayerFormat& format) {
  return !format.is_float() && format.eight_bit_activations();
}

/// The order of `rows` rows in which each block, given by its first row, is in an order of its own
/// (relative to that row) and the rows of no block stay.
std::vector<int32_t> order_of_rows(
    int64_t rows, const std::vector<std::pair<int64_t, const std::vector<int32_t>*>>& blocks) {
  std::vector<int32_t> out(static_cast<size_t>(rows));
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<int32_t>(i);
  for (const auto& [first, order] : blocks) {
    for (size_t i = 0; i < order->size(); ++i) {
      out[static_cast<size_t>(first) + i] = static_cast<int32_t>(first) + (*order)[i];
    }
  }
  return out;
}

/// Never above what the plan keeps of the whole site: a group's maximum is exact, and may be the
/// outlier that the plan decided to clip.
float limited_scale(double seen, double planned, double clip) {
  return scale_of_range(clip * std::min(seen, planned));
}

}  // namespace

void QuantizeJob::mamba1(int64_t i, const LayerFormat& format, const std::vector<float>& norm) {
  const std::string name = fmt::format("backbone.layers.{}.mixer.", i);
  MatrixJob in(name + "in_proj", take(name + "in_proj.weight"), format,
               input_site(site(i, "in_proj:input"), scheme_.rotated_stream));
  in.hessian_sites = {site(i, "in_proj:input")};
  input_matrix(in, norm);
  matrix(std::move(in));
  keep_bias(name + "in_proj", false);

  convolution(name + "conv1d", take(name + "conv1d.weight"), format);
  if (config_.conv_bias) keep(name + "conv1d.bias", take(name + "conv1d.bias"));

  MatrixJob x(name + "x_proj", take(name + "x_proj.weight"), format, site(i, "x_proj:input"));
  x.hessian_sites = {x.site};
  matrix(std::move(x));
  const char* dt_input = options_.shared_scales ? "x_proj:output" : "dt_proj:input";
  matrix(MatrixJob(name + "dt_proj", take(name + "dt_proj.weight"), format_of_dt(format),
                   site(i, dt_input)));
  for (const char* plain : {"dt_proj.bias", "A_log", "D"}) keep(name + plain, take(name + plain));
  for (const char* inner : {"dt_norm.weight", "B_norm.weight", "C_norm.weight"}) {
    if (weights_.contains(name + inner)) keep(name + inner, take(name + inner));
  }

  MatrixJob out(name + "out_proj", take(name + "out_proj.weight"), format,
                input_site(site(i, "out_proj:input"), scheme_.rotated_out_proj));
  out.hessian_sites = {site(i, "out_proj:input")};
  output_matrix(out, {});
  matrix(std::move(out));
  keep_bias(name + "out_proj", scheme_.rotated_stream);
  if (rounds_activations(format)) mamba1_scales(i, name);
}

void QuantizeJob::mamba1_scales(int64_t i, const std::string& name) {
  const auto of = [&](const char* own, const char* shared) {
    return scales_.scale(site(i, options_.shared_scales ? shared : own));
  };
  const std::string scan = name + "selective_scan.";
  conv_input_scales(name + "conv1d.input_scale",
                    site(i, options_.shared_scales ? "in_proj:output" : "conv1d:input"));
  const float u = scales_.scale(site(i, "x_proj:input"));
  scale(name + "conv1d.output_scale", u);
  scale(scan + "u_scale", u);
  scale(scan + "dt_scale", scales_.scale(site(i, "dt_proj:output")));
  scale(scan + "B_scale", of("B_act:input", "x_proj:output"));
  scale(scan + "C_scale", of("C_act:input", "x_proj:output"));
  scale(scan + "z_scale", of("z_act:input", "in_proj:output"));
  state_scales(i, scan);
}

void QuantizeJob::conv_input_scales(const std::string& to, const std::string& site,
                                    std::span<const int32_t> order) {
  const float planned = scales_.scale(site);
  const auto found = statistics_ == nullptr ? nullptr : &statistics_->sites;
  const bool per_channel =
      options_.conv_scale == QuantizeOptions::ConvScale::channel && !options_.shared_scales;
  if (!per_channel || found == nullptr || !found->contains(site) ||
      found->at(site).channel_absmax.empty()) {
    if (per_channel && to.find(".layers.0.") != std::string::npos) {
      remark("one scale for all channels of " + site +
             " and its like: the statistics do not hold its channels' magnitudes");
    }
    return scale(to, planned);
  }
  const std::vector<float>& maxima = statistic(site).channel_absmax;
  std::vector<float> scales;
  for (size_t c = 0; c < maxima.size(); ++c) {
    const size_t from = order.empty() ? c : static_cast<size_t>(order[c]);
    scales.push_back(scale_of_range(static_cast<double>(maxima[from])));
  }
  keep(to, Tensor::of<float>({static_cast<int64_t>(scales.size())}, scales));
  Decision decision = decide(Policy::parse("minmax"), site, statistic(site), GridSpec{});
  decision.because =
      "a scale for each channel, from the largest magnitude seen there (--conv-scale channel)";
  scales_.decided(site, std::move(decision));
}

const Statistic* QuantizeJob::state_statistic(int64_t index) const {
  if (statistics_ == nullptr) return nullptr;
  for (const char* name : {"ssm_state_act:steps", "ssm_state_act:input"}) {
    const auto found = statistics_->sites.find(site(index, name));
    if (found != statistics_->sites.end() && !found->second.element_absmax.empty()) {
      return &found->second;
    }
  }
  return nullptr;
}

void QuantizeJob::state_scales(int64_t i, const std::string& scan) {
  using StateScale = QuantizeOptions::StateScale;
  if (options_.state_scale == StateScale::none) return;
  const double planned = scales_.range(site(i, "ssm_state_act:input"));
  scale(scan + "ssm_state_scale", scale_of_range(options_.state_clip * planned));
  if (options_.state_scale == StateScale::tensor) return;
  const Statistic* seen = state_statistic(i);
  if (seen == nullptr) {
    if (i == 0) remark("one scale for a layer's state: there are no statistics of its channels");
    return;
  }
  const auto N = static_cast<size_t>(config_.state);
  std::vector<float> scales;
  for (size_t c = 0; c < static_cast<size_t>(config_.inner); ++c) {
    const auto first = seen->element_absmax.begin() + static_cast<std::ptrdiff_t>(c * N);
    const float largest = *std::max_element(first, first + static_cast<std::ptrdiff_t>(N));
    scales.push_back(limited_scale(static_cast<double>(largest), planned, options_.state_clip));
  }
  keep(scan + "ssm_state_channel_scale", Tensor::of<float>({config_.inner}, scales));
}

/// A Mamba-2 layer passes four steps, each a function below. With --group-heads they agree on one
/// new order of heads and channels: what makes or reads x has the channels' order, what is one
/// number a head (dt, A, D) the heads'; B, C and what the stream sees stay where they are.
void QuantizeJob::mamba2(int64_t i, const LayerFormat& format, const std::vector<float>& norm) {
  const std::string name = fmt::format("backbone.layers.{}.mixer.", i);
  const Mamba2Order order = mamba2_order(i, format);
  mamba2_inputs(i, name, order, format, norm);
  mamba2_scan(name, order, format);
  mamba2_outputs(i, name, order, format);
  if (rounds_activations(format)) {
    mamba2_scales(i, name, order.changed ? &order.grouping : nullptr);
  }
}

/// Only where activations are rounded: groups are for their scales, and 4 × 4 of them for each SSD
/// group instead of one are what the new order buys. It comes from x as measured behind the
/// convolution, where the scan reads it.
QuantizeJob::Mamba2Order QuantizeJob::mamba2_order(int64_t i, const LayerFormat& format) const {
  Mamba2Order out;
  out.changed = options_.group_heads && rounds_activations(format);
  if (!out.changed) return out;
  const std::string x = site(i, "x_conv_out:input");
  out.grouping = group_heads(statistic(x).channel_meanabs, config_.heads, config_.head_width,
                             config_.groups, x);
  const int64_t E = config_.inner, GN = config_.groups * config_.state;
  // in_proj's rows are z (E), x (E), B (G·N), C (G·N), dt (H); z gates the scan's output channel by
  // channel, so it moves with x. The convolution has x, B, C.
  out.in_proj = order_of_rows(config_.projected(), {{0, &out.grouping.channel_order},
                                                    {E, &out.grouping.channel_order},
                                                    {2 * E + 2 * GN, &out.grouping.head_order}});
  out.convolution = order_of_rows(E + 2 * GN, {{0, &out.grouping.channel_order}});
  return out;
}

/// in_proj. The norm's weight moves into the matrix, which a rotation of the stream requires: T
/// commutes with dividing by the root mean square, not with a factor a channel.
void QuantizeJob::mamba2_inputs(int64_t i, const std::string& mixer, const Mamba2Order& order,
                                const LayerFormat& format, const std::vector<float>& norm) {
  const std::string name = mixer + "in_proj";
  MatrixJob in(name, take(name + ".weight"), format,
               input_site(site(i, "in_proj:input"), scheme_.rotated_stream));
  in.hessian_sites = {site(i, "in_proj:input")};
  if (order.changed) in.outputs = order.in_proj;
  input_matrix(in, norm);
  matrix(std::move(in));
  if (weights_.contains(name + ".bias")) {
    keep(name + ".bias", order.rows(take(name + ".bias"), order.in_proj));
  }
}

/// Convolution and the scan's own parameters. dt_bias, A_log and D stay floats: three numbers a
/// head, of which dt_bias and A_log stand in exponents.
void QuantizeJob::mamba2_scan(const std::string& name, const Mamba2Order& order,
                              const LayerFormat& format) {
  convolution(name + "conv1d", order.rows(take(name + "conv1d.weight"), order.convolution), format);
  if (config_.conv_bias) {
    keep(name + "conv1d.bias", order.rows(take(name + "conv1d.bias"), order.convolution));
  }
  const std::vector<int32_t>&heads = order.grouping.head_order,
        &channels = order.grouping.channel_order;
  for (const char* head : {"dt_bias", "A_log"}) {
    keep(name + head, order.rows(take(name + head), heads));
  }
  keep(name + "D", order.rows(take(name + "D"), config_.D_per_channel ? channels : heads));
}

/// The gated norm and out_proj. The gated norm's weight moves into out_proj when out_proj's input
/// is rotated (as in mamba2_inputs), and in a model that is folded but not rotated at all.
void QuantizeJob::mamba2_outputs(int64_t i, const std::string& name, const Mamba2Order& order,
                                 const LayerFormat& format) {
  const std::vector<int32_t>& channels = order.grouping.channel_order;
  const bool has_norm = config_.gated_norm != MambaConfig::GatedNorm::none;
  const bool folded =
      has_norm && (scheme_.rotated_out_proj || (folded_ && !scheme_.rotated_stream));
  const Tensor as_measured = has_norm ? take(name + "norm.weight") : Tensor();
  const Tensor gated = has_norm ? order.rows(as_measured, channels) : Tensor();
  if (has_norm) keep_norm(name + "norm.weight", gated, folded);
  MatrixJob out(name + "out_proj", take(name + "out_proj.weight"), format,
                input_site(site(i, "out_proj:input"), scheme_.rotated_out_proj));
  out.hessian_sites = {site(i, "out_proj:input")};
  // A rotation mixes all channels, and what its output ranges over depends on their order: rotated
  // weights keep the order in which it was measured, and the model restores it.
  const bool reordered = order.changed && !scheme_.rotated_out_proj;
  if (reordered) out.order = channels;
  output_matrix(out, folded ? to_vector(reordered ? gated : as_measured) : std::vector<float>{});
  matrix(std::move(out));
  keep_bias(name + "out_proj", scheme_.rotated_stream);
}

void QuantizeJob::mamba2_scales(int64_t i, const std::string& name, const HeadGrouping* grouping) {
  const std::string scan = name + "selective_scan.", conv = name + "conv1d.";
  const auto one = [&](const std::string& to, const char* from) {
    scale(to, scales_.scale(site(i, from)));
  };
  std::span<const int32_t> order;
  if (grouping != nullptr) order = grouping->channel_order;
  conv_input_scales(conv + "x_input_scale", site(i, "x_conv_in:input"), order);
  conv_input_scales(conv + "B_input_scale", site(i, "B_conv_in:input"));
  conv_input_scales(conv + "C_input_scale", site(i, "C_conv_in:input"));
  one(scan + "z_scale", "z_act:input");
  one(scan + "dt_scale", "dt_act:input");
  if (grouping != nullptr) return grouped_scales(i, scan, *grouping);
  one(scan + "u_scale", "x_conv_out:input");
  one(scan + "B_scale", "B_conv_out:input");
  one(scan + "C_scale", "C_conv_out:input");
  state_scales(i, scan);
}

double QuantizeJob::grouped_range(const std::string& site, const Statistic& seen) {
  const double whole = scales_.range(site);  // also of a plan that lacks it, which is reported
  const Decision* planned = scales_.planned(site);
  const Decision own = grouped_decision(site, seen, planned, options_.group_percentile);
  const double kept = magnitude_of(own);
  constexpr const char* kRemark =
      "groups of heads follow their own largest values: what the plan clips of a whole site is not "
      "for them (--group-percentile A caps them)";
  const bool said = std::ranges::find(out_.remarks, kRemark) != out_.remarks.end();
  if (planned != nullptr && whole < kept && !said) remark(kRemark);
  scales_.decided(site, own);
  return kept;
}

void QuantizeJob::grouped_scales(int64_t i, const std::string& scan, const HeadGrouping& grouping) {
  const int64_t G = config_.groups, N = config_.state;
  if (scheme_.rotated_out_proj) {
    keep(scan + "x_channel_order", Tensor::of<int32_t>({config_.inner}, grouping.channel_order));
  }
  const auto channels = [&](const char* name) -> const std::vector<float>& {
    const Statistic& seen = statistic(site(i, name));
    if (seen.channel_absmax.empty()) {
      fail("statistics", "max |x| per channel at " + site(i, name),
           "none; collect again with this version, or with --per-channel");
    }
    return seen.channel_absmax;
  };
  const auto to_scales = [](const std::vector<float>& maxima, double planned, double clip) {
    std::vector<float> out;
    for (const float largest : maxima) {
      out.push_back(limited_scale(static_cast<double>(largest), planned, clip));
    }
    return out;
  };
  const std::string x = site(i, "x_conv_out:input");
  const auto u = to_scales(grouping.group_maxima(channels("x_conv_out:input")),
                           grouped_range(x, statistic(x)), 1);
  keep(scan + "u_scale", Tensor::of<float>({G, kHeadGroups, kChannelGroups}, u));
  for (const char* which : {"B", "C"}) {
    const std::string conv_out = fmt::format("{}_conv_out:input", which);
    const std::vector<float>& all = channels(conv_out.c_str());
    std::vector<float> maxima;
    for (int64_t g = 0; g < G; ++g) {
      const auto first = all.begin() + static_cast<std::ptrdiff_t>(g * N);
      maxima.push_back(*std::max_element(first, first + static_cast<std::ptrdiff_t>(N)));
    }
    const auto scales = to_scales(maxima, scales_.range(site(i, conv_out.c_str())), 1);
    keep(fmt::format("{}{}_scale", scan, which), Tensor::of<float>({G}, scales));
  }
  keep(scan + "x_head_group_range", Tensor::of<int32_t>({G, kHeadGroups}, grouping.head_ends));
  keep(scan + "x_dim_group_range",
       Tensor::of<int32_t>({G, kHeadGroups, kChannelGroups}, grouping.channel_ends));
  if (options_.state_scale == QuantizeOptions::StateScale::none) return;
  const Statistic* seen = state_statistic(i);
  if (seen == nullptr) fail("statistics", "max |h| per element of the state", "none");
  const auto states =
      to_scales(grouping.group_maxima(seen->element_absmax, N),
                grouped_range(site(i, "ssm_state_act:input"), *seen), options_.state_clip);
  keep(scan + "ssm_state_scale", Tensor::of<float>({G, kHeadGroups, kChannelGroups, N}, states));
}

}  // namespace scute
