#include "scute/language/part_scale_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace scute {
namespace {

constexpr std::string_view kInputScale = ".input_scale";
constexpr std::string_view kExperts = "mlp.experts.";

using Reads = PartRow::Reads;

constexpr std::array<PartRow, 5> kShared{{
    {"shared.q_proj", "norm → q, k, v", "shared.q_proj:input"},
    {"shared.o_proj", "attention → o_proj", "shared.o_proj:input"},
    {"shared.gate_proj", "norm2 → gate, up", "shared.gate_proj:input"},
    {"shared.down_proj", "gate, up → down_proj", "shared.down_proj:input", Reads::activated},
    {"linear", "down_proj → linear", "shared.linear:input"},
}};

constexpr std::array<PartRow, 12> kOthers{{
    {"attention.q_proj", "norm → q_proj", "q_proj", Reads::stream},
    {"attention.k_proj", "norm → k_proj", "q_proj", Reads::stream},
    {"attention.v_proj", "norm → v_proj", "q_proj", Reads::stream},
    {"attention.o_proj", "attention → o_proj", "o_proj:input"},
    {"mlp.gate_proj", "norm → gate_proj", "", Reads::feed_forward},
    {"mlp.up_proj", "norm → up_proj", "", Reads::feed_forward},
    {"mlp.down_proj", "up_proj → down_proj", "down_proj:input", Reads::activated},
    {"mlp.latent_in", "norm → latent_in", "", Reads::feed_forward},
    {"mlp.latent_out", "experts → latent_out", "latent_out:input", Reads::latent},
    {"mlp.shared.gate_proj", "norm → gate_proj", "", Reads::feed_forward},
    {"mlp.shared.up_proj", "norm → up_proj", "", Reads::feed_forward},
    {"mlp.shared.down_proj", "up_proj → down_proj", "shared_experts.down_proj:input",
     Reads::activated},
}};
/// Experts come behind latent_in.
constexpr int64_t kExpertsRow = 7;

}  // namespace

PartScaleNames::PartScaleNames(const std::vector<std::string>& names, const ScaleOrigins& origins)
    : origins_(origins) {
  for (const std::string& name : names) {
    gated_ = gated_ || name.find(".gate_proj.") != std::string::npos;
    latent_ = latent_ || name.find(".mlp.latent_in.") != std::string::npos;
  }
}

std::string PartScaleNames::input_of(int64_t layer, std::string_view op) const {
  return fmt::format("layer_{}.{}:input{}", layer, op,
                     origins_.scheme.rotated_stream ? "@rotated" : "");
}

std::string PartScaleNames::feed_forward_input(int64_t layer) const {
  return input_of(layer, gated_ ? "gate_proj" : "up_proj");
}

std::string PartScaleNames::site_inside(int64_t layer, const PartRow& row) const {
  const Scheme& scheme = origins_.scheme;
  const bool rotated = (row.reads == Reads::activated && scheme.rotated_down_proj) ||
                       (row.reads == Reads::latent && scheme.rotated_latent);
  return fmt::format("layer_{}.{}{}", layer, row.site, rotated ? "@rotated" : "");
}

std::optional<PartScaleNames::Found> PartScaleNames::find_expert(int64_t layer,
                                                                 std::string_view tensor) const {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(tensor.data(), tensor.data() + tensor.size(), number);
  if (error != std::errc() || number < 0 || number >= kMostExperts) return std::nullopt;
  const std::string_view op = tensor.substr(static_cast<size_t>(end - tensor.data()));
  const auto found = [&](int64_t row, const char* step, std::string site) {
    // Gates and ups of all experts, then what is behind them.
    return Found{{kMixerPart + 1, row, number}, step, std::move(site)};
  };
  if (op == ".down_proj") {
    const char* twin = origins_.scheme.rotated_experts ? "@rotated" : "";
    std::string own = fmt::format("layer_{}.experts.{}.down_proj:input{}", layer, number, twin);
    if (origins_.experts && !origins_.experts->contains(own)) {
      own = fmt::format("layer_{}.experts.down_proj:input{}", layer, twin);
    }
    return found(kExpertsRow + 2, "expert → down_proj", std::move(own));
  }
  if (op != ".gate_proj" && op != ".up_proj") return std::nullopt;
  if (!latent_) return found(kExpertsRow + 1, "norm → expert", feed_forward_input(layer));
  return found(kExpertsRow + 1, "latent_in → expert",
               fmt::format("layer_{}.experts.up_proj:input{}", layer,
                           origins_.scheme.rotated_latent ? "@rotated" : ""));
}

std::optional<PartScaleNames::Found> PartScaleNames::find(int64_t layer,
                                                          std::string_view tensor) const {
  if (!tensor.ends_with(kInputScale)) return std::nullopt;
  tensor.remove_suffix(kInputScale.size());
  if (tensor.starts_with(kExperts)) return find_expert(layer, tensor.substr(kExperts.size()));
  const auto shared = std::ranges::find(kShared, tensor, &PartRow::tensor);
  if (shared != kShared.end()) {
    return Found{{kMixerPart - 1, shared - kShared.begin(), 0},
                 std::string(shared->step),
                 site_inside(layer, *shared)};
  }
  const auto row = std::ranges::find(kOthers, tensor, &PartRow::tensor);
  if (row == kOthers.end()) return std::nullopt;
  // Rows behind the experts' leave room for them.
  const int64_t place = row - kOthers.begin();
  const int64_t at = place <= kExpertsRow ? place : place + 2;
  std::string site = row->reads == Reads::stream         ? input_of(layer, row->site)
                     : row->reads == Reads::feed_forward ? feed_forward_input(layer)
                                                         : site_inside(layer, *row);
  return Found{{kMixerPart + 1, at, 0}, std::string(row->step), std::move(site)};
}

std::vector<PartChain> part_chains(const std::vector<std::string>& names) {
  constexpr std::string_view kPrefix = "backbone.layers.";
  bool shared = false, attention = false, experts = false, feed_forward = false, gated = false,
       latent = false;
  for (const std::string& name : names) {
    const auto holds = [&](std::string_view part) { return name.find(part) != std::string::npos; };
    const bool layer = name.starts_with(kPrefix);
    shared = shared || name.starts_with("backbone.shared.");
    attention = attention || (layer && holds(".attention."));
    experts = experts || holds(".mlp.experts.");
    feed_forward = feed_forward || (layer && holds(".mlp.down_proj."));
    gated = gated || holds(".gate_proj.");
    latent = latent || holds(".mlp.latent_in.");
  }
  const char* inner = gated ? "gate_proj, up_proj" : "up_proj";
  constexpr const char* kSharedInput = "q_proj, k_proj, v_proj";
  std::vector<PartChain> out;
  if (shared) {
    out.push_back(
        {"shared",
         {"norm", kSharedInput, "attention", "o_proj", "norm2", inner, "down_proj", "linear"}});
  }
  if (attention) out.push_back({"attention", {"norm", kSharedInput, "attention", "o_proj"}});
  if (feed_forward) out.push_back({"feed_forward", {"norm", inner, "down_proj"}});
  if (!experts) return out;
  if (latent) {
    out.push_back(
        {"experts", {"norm", "router, latent_in", inner, "experts.down_proj", "latent_out"}});
  } else {
    out.push_back({"experts", {"norm", "router", inner, "experts.down_proj"}});
  }
  return out;
}

}  // namespace scute
