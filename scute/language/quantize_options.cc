#include "scute/language/quantize_options.h"

#include <fmt/format.h>

#include "scute/base/error.h"
#include "scute/io/file.h"

namespace scute {

LayerFormat LayerFormat::parse(std::string_view name, std::string_view where) {
  if (name == "W8A8") return {8, 8};
  if (name == "W4A8") return {4, 8};
  if (name == "W4A16") return {4, 16};
  if (name == "W8A16") return {8, 16};
  if (name == "FP") return {16, 16};
  fail(where, "W8A8, W4A8, W8A16, W4A16 or FP", fmt::format("\"{}\"", name));
}

std::string LayerFormat::name() const {
  return is_float() ? "FP" : fmt::format("W{}A{}", weight_bits, activation_bits);
}

CacheForm parse_cache(std::string_view name, std::string_view where) {
  for (const CacheForm form : {CacheForm::f32, CacheForm::bf16, CacheForm::int8}) {
    if (name == name_of(form)) return form;
  }
  fail(where, "f32, bf16 or int8", fmt::format("\"{}\"", name));
}

std::string_view name_of(CacheForm form) {
  return form == CacheForm::f32 ? "f32" : form == CacheForm::bf16 ? "bf16" : "int8";
}

namespace {

constexpr LayerFormat LayerFormats::*kOfKinds[] = {&LayerFormats::mixer, &LayerFormats::attention,
                                                   &LayerFormats::feed_forward,
                                                   &LayerFormats::experts};

}  // namespace

const LayerFormat& LayerFormats::of(PartKind kind) const {
  return this->*kOfKinds[static_cast<size_t>(kind)];
}

LayerFormat& LayerFormats::of(PartKind kind) { return this->*kOfKinds[static_cast<size_t>(kind)]; }

std::string LayerFormats::text() const {
  std::string out = mixer.name();
  for (const auto& [name, format] :
       {std::pair("attention", attention), std::pair("feed-forward", feed_forward),
        std::pair("experts", experts)}) {
    if (!(format == mixer)) out += fmt::format(", {} {}", name, format.name());
  }
  return out;
}

Json LayerFormats::to_json() const {
  if (*this == all(mixer)) return mixer.name();
  Json out;
  out["mixer"] = mixer.name();
  out["attention"] = attention.name();
  out["feed_forward"] = feed_forward.name();
  out["experts"] = experts.name();
  return out;
}

LayerFormats LayerFormats::from_json(const Json& json, const std::string& where) {
  if (json.is_string()) return all(LayerFormat::parse(json.as_string(where), where));
  const auto one = [&](const char* key) {
    const std::string at = fmt::format("{}: {}", where, key);
    return LayerFormat::parse(json.at(key, where).as_string(at), at);
  };
  return {one("mixer"), one("attention"), one("feed_forward"), one("experts")};
}

LayerFormats QuantizeOptions::of_layer(int64_t layer) const {
  const LayerFormat& usual = hybrid.empty() ? format : hybrid[static_cast<size_t>(layer)];
  return {mixers.value_or(usual), attention.value_or(usual), feed_forwards.value_or(usual),
          experts.value_or(usual)};
}

std::vector<LayerFormat> read_hybrid(const std::string& file, int64_t layers) {
  constexpr int64_t kLimit = 1 << 20;
  const Json json = Json::parse(read_text(file, kLimit), file);
  std::vector<LayerFormat> out;
  for (const Json& name : json.as_array(file)) {
    const std::string where = fmt::format("{}: layer {}", file, out.size());
    out.push_back(LayerFormat::parse(name.as_string(where), where));
  }
  if (static_cast<int64_t>(out.size()) != layers) {
    fail(file, fmt::format("one format for each of {} layers", layers),
         fmt::format("{}", out.size()));
  }
  return out;
}

Json QuantizeOptions::to_json() const {
  constexpr const char* kStateScales[] = {"tensor", "channel", "none"};
  Json out = Json::object();
  out["format"] = format.name();
  if (!hybrid.empty()) {
    out["hybrid"] = Json::array();
    for (const LayerFormat& layer : hybrid) out["hybrid"].push_back(layer.name());
  }
  for (const auto& [key, own] :
       {std::pair("mixers", mixers), std::pair("attention", attention),
        std::pair("feed_forwards", feed_forwards), std::pair("experts", experts)}) {
    if (own) out[key] = own->name();
  }
  out["gptq"] = gptq;
  out["hadamard"] = hadamard;
  out["fold"] = fold;
  out["group_heads"] = group_heads;
  if (group_percentile) out["group_percentile"] = *group_percentile;
  out["quantize_embedding"] = embedding;
  out["quantize_lm_head"] = head;
  out["group_size"] = group;
  out["per_tensor"] = per_tensor;
  out["shared_scales"] = shared_scales;
  out["conv_scale"] = conv_scale == ConvScale::channel ? "channel" : "tensor";
  out["state_scale"] = kStateScales[static_cast<size_t>(state_scale)];
  out["state_rounding"] =
      state_rounding == Scheme::StateRounding::nearest ? "nearest" : "stochastic";
  out["state_clip"] = state_clip;
  out["seed"] = static_cast<int64_t>(seed);
  if (cache != CacheForm::f32) out["cache"] = name_of(cache);
  return out;
}

}  // namespace scute
