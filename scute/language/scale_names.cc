#include "scute/language/scale_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

#include "scute/language/part_scale_names.h"

namespace scute {
namespace {

using Rotated = ScaleName::Rotated;

constexpr std::string_view kLayerNames = "backbone.layers.", kMixer = "mixer.";

constexpr std::array<ScaleName, 13> kMamba1{{
    {"norm → in_proj", "in_proj.input_scale", "in_proj:input", "in_proj:input", Rotated::stream},
    {"in_proj → conv1d", "conv1d.input_scale", "conv1d:input", "in_proj:output"},
    {"conv1d → x_proj", "conv1d.output_scale", "x_proj:input", "x_proj:input"},
    {"conv1d → x_proj", "x_proj.input_scale", "x_proj:input", "x_proj:input"},
    {"x_proj → scan", "dt_proj.input_scale", "dt_proj:input", "x_proj:output"},
    {"x_proj → scan", "selective_scan.dt_scale", "dt_proj:output", "dt_proj:output"},
    {"x_proj → scan", "selective_scan.B_scale", "B_act:input", "x_proj:output"},
    {"x_proj → scan", "selective_scan.C_scale", "C_act:input", "x_proj:output"},
    {"scan", "selective_scan.u_scale", "x_proj:input", "x_proj:input"},
    {"scan", "selective_scan.ssm_state_scale", "ssm_state_act:input", "ssm_state_act:input"},
    {"scan", "selective_scan.ssm_state_channel_scale", "ssm_state_act:input",
     "ssm_state_act:input"},
    {"scan → out_proj", "selective_scan.z_scale", "z_act:input", "in_proj:output"},
    {"scan → out_proj", "out_proj.input_scale", "out_proj:input", "out_proj:input",
     Rotated::out_proj},
}};

// Mamba-2 has no shared scales: its five parts of in_proj's output are always scaled apart.
constexpr std::array<ScaleName, 12> kMamba2{{
    {"norm → in_proj", "in_proj.input_scale", "in_proj:input", "in_proj:input", Rotated::stream},
    {"in_proj → conv1d", "conv1d.x_input_scale", "x_conv_in:input", "x_conv_in:input"},
    {"in_proj → conv1d", "conv1d.B_input_scale", "B_conv_in:input", "B_conv_in:input"},
    {"in_proj → conv1d", "conv1d.C_input_scale", "C_conv_in:input", "C_conv_in:input"},
    {"conv1d → scan", "selective_scan.u_scale", "x_conv_out:input", "x_conv_out:input"},
    {"conv1d → scan", "selective_scan.B_scale", "B_conv_out:input", "B_conv_out:input"},
    {"conv1d → scan", "selective_scan.C_scale", "C_conv_out:input", "C_conv_out:input"},
    {"scan", "selective_scan.dt_scale", "dt_act:input", "dt_act:input"},
    {"scan", "selective_scan.ssm_state_scale", "ssm_state_act:input", "ssm_state_act:input"},
    {"scan", "selective_scan.ssm_state_channel_scale", "ssm_state_act:input",
     "ssm_state_act:input"},
    {"scan → gated norm", "selective_scan.z_scale", "z_act:input", "z_act:input"},
    {"gated norm → out_proj", "out_proj.input_scale", "out_proj:input", "out_proj:input",
     Rotated::out_proj},
}};

constexpr std::array<std::string_view, 6> kChain1{"norm",   "in_proj", "conv1d",
                                                  "x_proj", "scan",    "out_proj"};
constexpr std::array<std::string_view, 6> kChain2{"norm", "in_proj",    "conv1d",
                                                  "scan", "gated norm", "out_proj"};

bool is_rotated(const ScaleName& name, const Scheme& scheme) {
  switch (name.rotated) {
    case Rotated::never:
      return false;
    case Rotated::stream:
      return scheme.rotated_stream;
    case Rotated::out_proj:
      return scheme.rotated_out_proj;
  }
  return false;
}

std::string site_of(const ScaleName& name, int64_t layer, const ScaleOrigins& origins) {
  return fmt::format("layer_{}.{}{}", layer, origins.shared_scales ? name.shared : name.site,
                     is_rotated(name, origins.scheme) ? "@rotated" : "");
}

/// What follows "backbone.layers.I.".
std::string_view behind_layer(std::string_view tensor) {
  return tensor.substr(tensor.find('.', kLayerNames.size()) + 1);
}

}  // namespace

std::span<const ScaleName> scale_names(MixerKind mixer) {
  if (mixer == MixerKind::mamba1) return kMamba1;
  return kMamba2;
}

std::span<const std::string_view> layer_chain(MixerKind mixer) {
  return mixer == MixerKind::mamba1 ? kChain1 : kChain2;
}

int64_t layer_of(std::string_view tensor) {
  if (!tensor.starts_with(kLayerNames)) return kHeadLayer;
  const std::string_view rest = tensor.substr(kLayerNames.size());
  int64_t layer = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
  constexpr int64_t kMost = 100'000;  // the deepest released models have 64
  const bool number = error == std::errc() && layer >= 0 && layer < kMost;
  return number && end != rest.data() + rest.size() && *end == '.' ? layer : kHeadLayer;
}

bool is_activation_scale(std::string_view tensor) {
  return tensor.ends_with("_scale") && !tensor.ends_with("weight_scale") &&
         !tensor.ends_with("weight_channel_scale");
}

std::vector<StoredScale> find_scales(const std::vector<std::string>& names, MixerKind mixer,
                                     const ScaleOrigins& origins) {
  // By layer, then in the order of use; unknown scales and the head come behind.
  const auto table = scale_names(mixer);
  const PartScaleNames parts(names, origins);
  std::map<std::pair<int64_t, ScalePlace>, std::vector<StoredScale>> found;
  for (const std::string& name : names) {
    const int64_t layer = layer_of(name);
    if (layer == kHeadLayer) {
      if (name != "lm_head.input_scale") continue;
      const char* site = origins.scheme.folded_head ? "lm_head:input@rotated" : "lm_head:input";
      found[{INT64_MAX, {}}].push_back({name, kHeadLayer, "norm → lm_head", site});
      continue;
    }
    const std::string_view tensor = behind_layer(name);
    if (auto other = parts.find(layer, tensor)) {
      found[{layer, other->place}].push_back(
          {name, layer, std::move(other->step), std::move(other->site)});
      continue;
    }
    const bool in_mixer = tensor.starts_with(kMixer);
    const auto row =
        std::ranges::find(table, in_mixer ? tensor.substr(kMixer.size()) : "", &ScaleName::tensor);
    if (row != table.end()) {
      found[{layer, {kMixerPart, row - table.begin(), 0}}].push_back(
          {name, layer, std::string(row->step), site_of(*row, layer, origins)});
    } else if (is_activation_scale(tensor)) {
      found[{layer, {kUnknownPart, 0, 0}}].push_back({name, layer, "not known", ""});
    }
  }
  std::vector<StoredScale> out;
  for (auto& [place, scales] : found) {
    for (StoredScale& scale : scales) out.push_back(std::move(scale));
  }
  return out;
}

}  // namespace scute
