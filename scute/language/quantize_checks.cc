// What a quantization is asked for and the model does not have, or no part of it reads.
#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"
#include "scute/language/quantize_job.h"

namespace scute {

bool QuantizeJob::has_part(PartKind kind) const {
  const bool shared = kind == PartKind::attention || kind == PartKind::feed_forward;
  if (shared && config_.shared.count > 0) return true;
  return std::ranges::any_of(config_.all_blocks(),
                             [kind](const BlockConfig& block) { return block.has(kind); });
}

bool QuantizeJob::any_part(PartKind kind, bool (*is)(const LayerFormat&)) const {
  for (int64_t layer = 0; layer < config_.layers; ++layer) {
    const std::vector<PartKind> kinds = config_.kinds_of_layer(layer);
    const bool there = std::ranges::find(kinds, kind) != kinds.end();
    if (there && is(options_.of_layer(layer).of(kind))) return true;
  }
  return false;
}

/// What would do nothing because no part is of the format that reads it. A list of layers is not
/// judged: a search tries one that rounds none.
void QuantizeJob::check_formats() const {
  if (!options_.hybrid.empty()) return;
  using Options = QuantizeOptions;
  const auto rounds = [](const LayerFormat& format) { return !format.is_float(); };
  const auto rounds_inputs = [](const LayerFormat& format) {
    return !format.is_float() && format.eight_bit_activations();
  };
  const auto refuse = [&](bool given, const char* flag, const char* what) {
    if (given) fail(flag, what, "none in " + model_.name);
  };
  const Options usual;
  const bool pure_formats = has_part(PartKind::mixer) && !options_.mixers;
  if (!pure_formats && !any_part(PartKind::mixer, rounds_inputs)) {
    constexpr const char* kWhat = "Mamba mixers whose activations are rounded to 8 bits";
    refuse(options_.group_heads, "--group-heads", kWhat);
    refuse(options_.shared_scales, "--shared-scales", kWhat);
    refuse(options_.conv_scale != usual.conv_scale, "--conv-scale", kWhat);
    refuse(options_.state_scale != usual.state_scale, "--state-scale", kWhat);
    refuse(options_.state_rounding != usual.state_rounding, "--state-rounding", kWhat);
    refuse(options_.state_clip != usual.state_clip, "--state-clip", kWhat);
  }
  const auto any = [&](bool (*is)(const LayerFormat&)) {
    if ((options_.embedding || options_.head) && is(options_.format)) return true;
    return std::ranges::any_of(kAllKinds, [&](PartKind kind) { return any_part(kind, is); });
  };
  refuse(options_.gptq && !any(rounds), "--gptq", "matrices that are rounded");
  refuse(options_.per_tensor && !any(rounds), "--per-tensor", "matrices that are rounded");
  const bool all_own = std::ranges::all_of(
      kAllKinds, [this](PartKind kind) { return !has_part(kind) || options_.own(kind); });
  // Of other formats another entry of a list of bits may have such weights.
  if (!all_own) return;
  const auto eight = [](const LayerFormat& format) { return format.weight_bits == 8; };
  const auto four = [](const LayerFormat& format) { return format.weight_bits == 4; };
  // Convolutions have 8-bit weights beside 8-bit inputs.
  refuse(options_.per_tensor && !any(eight) && !any_part(PartKind::mixer, rounds_inputs),
         "--per-tensor", "matrices that are rounded to 8 bits");
  refuse(options_.group != usual.group && !any(four), "--group-size",
         "matrices that are rounded to 4 bits");
}

void QuantizeJob::check_kinds() const {
  const auto check = [&](const char* flag, bool given, PartKind kind, const char* what) {
    if (given && !has_part(kind)) {
      fail(flag, fmt::format("a model with {}", what), model_.name + ", which has none");
    }
  };
  check("--mixers", options_.mixers.has_value(), PartKind::mixer, "Mamba mixers");
  check("--attention", options_.attention.has_value(), PartKind::attention, "attention");
  check("--cache", options_.cache != CacheForm::f32, PartKind::attention, "attention");
  check("--feed-forwards", options_.feed_forwards.has_value(), PartKind::feed_forward,
        "feed-forwards");
  check("--experts", options_.experts.has_value(), PartKind::experts, "experts");
  check_formats();
}

}  // namespace scute
