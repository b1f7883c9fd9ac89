#include "scute/language/quantize_options.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"
#include "scute/base/names.h"
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

std::string_view name_of(PartKind kind) {
  constexpr std::string_view kNames[] = {"mixer", "attention", "feed-forward", "experts"};
  return kNames[static_cast<size_t>(kind)];
}

std::string LayerFormats::text() const {
  std::string out = mixer.name();
  for (const PartKind kind : {PartKind::attention, PartKind::feed_forward, PartKind::experts}) {
    if (!(of(kind) == mixer)) out += fmt::format(", {} {}", name_of(kind), of(kind).name());
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

LayerFormats LayerFormats::parse(std::string_view text, const std::vector<PartKind>& kinds,
                                 const std::string& where) {
  if (text.find('=') == std::string_view::npos) return all(LayerFormat::parse(text, where));
  std::vector<std::string> names;
  for (const PartKind kind : kinds) names.emplace_back(name_of(kind));
  const auto refuse = [&] {
    fail(where, fmt::format("a format, or one of each part: {}=W8A8", joined(names, "=W8A8+")),
         fmt::format("\"{}\"", text));
  };
  if (text.ends_with('+')) refuse();
  LayerFormats out = all(kFloatFormat);
  std::vector<PartKind> left = kinds;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t end = std::min(rest.find('+'), rest.size());
    const std::string_view one = rest.substr(0, end);
    rest = rest.substr(std::min(end + 1, rest.size()));
    const size_t equals = one.find('=');
    const auto kind =
        std::ranges::find(left, one.substr(0, equals), [](PartKind k) { return name_of(k); });
    if (equals == std::string_view::npos || kind == left.end()) refuse();
    out.of(*kind) = LayerFormat::parse(one.substr(equals + 1), where);
    left.erase(kind);
  }
  if (!left.empty()) refuse();
  return out;
}

const std::optional<LayerFormat>& QuantizeOptions::own(PartKind kind) const {
  switch (kind) {
    case PartKind::mixer:
      return mixers;
    case PartKind::attention:
      return attention;
    case PartKind::feed_forward:
      return feed_forwards;
    case PartKind::experts:
      break;
  }
  return experts;
}

LayerFormats QuantizeOptions::of_layer(int64_t layer) const {
  const LayerFormats usual =
      hybrid.empty() ? LayerFormats::all(format) : hybrid[static_cast<size_t>(layer)];
  return {mixers.value_or(usual.mixer), attention.value_or(usual.attention),
          feed_forwards.value_or(usual.feed_forward), experts.value_or(usual.experts)};
}

namespace {

/// Whether formats are of parts, not of whole layers.
bool names_parts(const Json& entry) {
  return !entry.is_string() || entry.as_string("").find('=') != std::string::npos;
}

void check_shared_blocks(const std::string& file, const MambaConfig& config, const Json& list,
                         const std::vector<LayerFormats>& formats) {
  for (int64_t number = 0; number < config.shared.count; ++number) {
    const std::vector<int64_t> users = config.shared_users(number);
    for (const int64_t user : users) {
      const auto i = static_cast<size_t>(user), first = static_cast<size_t>(users.front());
      if (!names_parts(list.as_array(file)[i])) continue;
      if (formats[i].attention == formats[first].attention) continue;
      fail(fmt::format("{}: layer {}", file, i),
           fmt::format("attention={}, that of layer {}, whose block it shares",
                       formats[first].attention.name(), first),
           formats[i].attention.name());
    }
  }
}

}  // namespace

std::vector<LayerFormats> read_hybrid(const std::string& file, const MambaConfig& config) {
  constexpr int64_t kLimit = 1 << 20;
  const Json json = Json::parse(read_text(file, kLimit), file);
  const auto count = static_cast<int64_t>(json.as_array(file).size());
  if (count != config.layers) {
    fail(file, fmt::format("one format for each of {} layers", config.layers),
         fmt::format("{}", count));
  }
  std::vector<LayerFormats> out;
  for (const Json& entry : json.as_array(file)) {
    const std::string where = fmt::format("{}: layer {}", file, out.size());
    const std::vector<PartKind> kinds = config.kinds_of_layer(std::ssize(out));
    out.push_back(entry.is_object() ? LayerFormats::from_json(entry, where)
                                    : LayerFormats::parse(entry.as_string(where), kinds, where));
  }
  check_shared_blocks(file, config, json, out);
  return out;
}

Json QuantizeOptions::to_json() const {
  constexpr const char* kStateScales[] = {"tensor", "channel", "none"};
  Json out = Json::object();
  out["format"] = format.name();
  if (!hybrid.empty()) {
    out["hybrid"] = Json::array();
    for (const LayerFormats& layer : hybrid) out["hybrid"].push_back(layer.to_json());
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
