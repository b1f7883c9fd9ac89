#include "scute/cobra/percentile_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <limits>

#include "scute/base/error.h"
#include "scute/base/names.h"

namespace scute {
namespace {

struct Alias {
  std::string_view name, bucket;
};
/// Names seen in configurations and module paths, each of which can mean one bucket only.
/// "backbone", "decoder", "vision" or "proj" could mean several and are not here.
constexpr std::array<Alias, 20> kAliases{{{"siglip", "vision.siglip"},
                                          {"vision_siglip", "vision.siglip"},
                                          {"siglip_featurizer", "vision.siglip"},
                                          {"vision_tower.siglip", "vision.siglip"},
                                          {"dino", "vision.dino"},
                                          {"dinov2", "vision.dino"},
                                          {"vision_dino", "vision.dino"},
                                          {"vision.dinov2", "vision.dino"},
                                          {"dino_featurizer", "vision.dino"},
                                          {"vision_tower.dino", "vision.dino"},
                                          {"language", "llm"},
                                          {"language_model", "llm"},
                                          {"llm_backbone", "llm"},
                                          {"mamba", "llm"},
                                          {"llm.embedding", "llm"},
                                          {"embedding:output", "llm"},
                                          {"mm_projector", "projector"},
                                          {"mm.projector", "projector"},
                                          {"projector.out", "projector"},
                                          {"projector:output", "projector"}}};

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  });
  return out;
}

std::string trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(kBlank) - first + 1));
}

std::vector<std::string> normalized(const std::vector<std::string>& names) {
  std::vector<std::string> out;
  for (const std::string& name : names) {
    std::string bucket = normalize_target(name);
    if (std::ranges::find(out, bucket) == out.end()) out.push_back(std::move(bucket));
  }
  return out.empty() ? bucket_names() : out;
}

/// "; did you mean …?": the bucket that the nearest of all names means.
std::string nearest_bucket(const std::string& plain) {
  std::vector<std::string> known = bucket_names();
  for (const Alias& alias : kAliases) known.emplace_back(alias.name);
  const std::vector<std::string> nearest = closest_names(plain, known, 1);
  if (nearest.empty()) return "";
  return fmt::format("; did you mean {}?", normalize_target(nearest.front()));
}

using Where = std::string_view;

int64_t whole(const Json& json, int64_t least, Where where) {
  const int64_t value = json.as_int(where);
  if (value < least) {
    fail(where, fmt::format("a whole number of at least {}", least), fmt::to_string(value));
  }
  return value;
}

double percentile(const Json& json, Where where) {
  const double value = json.as_double(where);
  // Below the median nothing is clipped as meant; 0.999 is somebody's share.
  if (!(value >= 50 && value <= 100)) {
    fail(where, "a percentile from 50 to 100", fmt::to_string(value));
  }
  return value;
}

std::vector<std::string> targets(const Json& json, Where where) {
  std::vector<std::string> names;
  try {
    if (json.is_string()) return parse_targets(json.as_string(where));
    if (!json.is_array()) fail(where, "a list of buckets, or their names with commas", "another");
    for (const Json& name : json.as_array(where)) names.push_back(name.as_string(where));
    return normalized(names);
  } catch (const Error& error) {
    const std::string_view what = error.what();
    if (what.starts_with(where)) throw;
    throw Error(fmt::format("{}: {}", where, what));
  }
}

void check_device(const Json& json, Where where) {
  const std::string& device = json.as_string(where);
  if (lower(device) == "cpu") return;
  fail(where, "cpu",
       fmt::format("\"{}\"; scute runs on CPUs and needs no GPU: write cpu, or leave "
                   "the device out",
                   device));
}

/// How the text of an environment variable becomes a value.
enum class Kind { flag, text, whole, real };

struct Field {
  std::string_view key;
  Kind kind;
  bool nullable;  ///< JSON's null (and an empty text) leave it as it was
  void (*set)(PercentileOptions&, const Json&, Where);
};

using O = PercentileOptions;
constexpr std::array<Field, 15> kFields{
    {{"enabled", Kind::flag, false, [](O& o, const Json& j, Where w) { o.enabled = j.as_bool(w); }},
     {"targets", Kind::text, true, [](O& o, const Json& j, Where w) { o.targets = targets(j, w); }},
     {"images", Kind::text, true, [](O& o, const Json& j, Where w) { o.images = j.as_string(w); }},
     {"stats_out", Kind::text, false,
      [](O& o, const Json& j, Where w) { o.stats_out = j.as_string(w); }},
     {"overrides_json", Kind::text, true,
      [](O& o, const Json& j, Where w) { o.overrides_json = j.as_string(w); }},
     {"batches", Kind::whole, false,
      [](O& o, const Json& j, Where w) { o.batches = whole(j, 1, w); }},
     {"batch_size", Kind::whole, false,
      [](O& o, const Json& j, Where w) { o.batch_size = whole(j, 1, w); }},
     {"text_len", Kind::whole, false,
      [](O& o, const Json& j, Where w) { o.text_len = whole(j, 1, w); }},
     {"img_size", Kind::whole, true,
      [](O& o, const Json& j, Where w) { o.img_size = whole(j, 1, w); }},
     {"percentile_override", Kind::real, true,
      [](O& o, const Json& j, Where w) { o.percentile_override = percentile(j, w); }},
     {"prompts", Kind::text, true,
      [](O& o, const Json& j, Where w) { o.prompts = j.as_string(w); }},
     {"random_text", Kind::flag, false,
      [](O& o, const Json& j, Where w) { o.random_text = j.as_bool(w); }},
     {"max_samples_per_batch", Kind::whole, false,
      [](O& o, const Json& j, Where w) { o.max_samples_per_batch = whole(j, 0, w); }},
     {"seed", Kind::whole, false,
      [](O& o, const Json& j, Where w) { o.seed = static_cast<uint64_t>(whole(j, 0, w)); }},
     {"device", Kind::text, true, [](O&, const Json& j, Where w) { check_device(j, w); }}}};

std::vector<std::string> field_names() {
  std::vector<std::string> out;
  for (const Field& field : kFields) out.emplace_back(field.key);
  return out;
}

template <class T>
T number_of(std::string_view text, Where where, std::string_view expected) {
  T value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size()) {
    fail(where, expected, fmt::format("\"{}\"", text));
  }
  return value;
}

Json value_of(Kind kind, const std::string& text, Where where) {
  switch (kind) {
    case Kind::text:
      return text;
    case Kind::whole:
      return number_of<int64_t>(text, where, "a whole number");
    case Kind::real:
      return number_of<double>(text, where, "a number");
    case Kind::flag:
      break;
  }
  const std::string word = lower(text);
  for (const std::string_view yes : {"1", "true", "yes", "on"}) {
    if (word == yes) return true;
  }
  for (const std::string_view no : {"0", "false", "no", "off"}) {
    if (word == no) return false;
  }
  fail(where, "1, true, yes, on or 0, false, no, off", fmt::format("\"{}\"", text));
}

}  // namespace

std::string normalize_target(std::string_view name) {
  std::string plain = lower(trimmed(name));
  std::ranges::replace(plain, '/', '.');
  constexpr std::string_view kBackbone = "vision_backbone.";
  if (plain.starts_with(kBackbone)) plain.erase(0, kBackbone.size());
  if (is_bucket(plain)) return plain;
  for (const Alias& alias : kAliases) {
    if (alias.name == plain) return std::string(alias.bucket);
  }
  fail("bucket", joined(kBuckets, ", "), fmt::format("\"{}\"{}", name, nearest_bucket(plain)));
}

std::vector<std::string> parse_targets(std::string_view csv) {
  std::vector<std::string> names;
  for (size_t begin = 0; begin <= csv.size();) {
    const size_t end = std::min(csv.find(',', begin), csv.size());
    std::string name = trimmed(csv.substr(begin, end - begin));
    if (!name.empty()) names.push_back(std::move(name));
    begin = end + 1;
  }
  return normalized(names);
}

PercentileOptions percentile_options_from_json(const Json& json, std::string_view where,
                                               PercentileOptions base) {
  for (const auto& [key, value] : json.as_object(where)) {
    const auto* field = std::ranges::find(kFields, key, &Field::key);
    if (field == kFields.end()) {
      fail(where, fmt::format("known keys ({})", joined(field_names(), ", ")),
           fmt::format("\"{}\"{}", key, did_you_mean(key, field_names())));
    }
    const bool empty = value.is_string() && value.as_string(where).empty();
    if (field->nullable && (value.is_null() || empty)) continue;
    field->set(base, value, fmt::format("{}: {}", where, key));
  }
  return base;
}

Json to_json(const PercentileOptions& options) {
  Json out = Json::object();
  out["enabled"] = options.enabled;
  out["targets"] = Json::array();
  for (const std::string& target : options.targets) out["targets"].push_back(target);
  out["images"] = options.images;
  out["stats_out"] = options.stats_out;
  out["overrides_json"] = options.overrides_json;
  out["batches"] = options.batches;
  out["batch_size"] = options.batch_size;
  out["text_len"] = options.text_len;
  out["img_size"] = options.img_size ? Json(*options.img_size) : Json();
  out["percentile_override"] =
      options.percentile_override ? Json(*options.percentile_override) : Json();
  out["prompts"] = options.prompts;
  out["random_text"] = options.random_text;
  out["max_samples_per_batch"] = options.max_samples_per_batch;
  out["seed"] = static_cast<int64_t>(options.seed);
  return out;
}

PercentileOptions apply_environment(PercentileOptions base, const Lookup& lookup) {
  for (const Field& field : kFields) {
    std::string name = "SCUTE_PCT_";
    for (const char c : field.key) {
      name += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    const std::optional<std::string> text = lookup(name);
    if (!text || trimmed(*text).empty()) continue;
    field.set(base, value_of(field.kind, trimmed(*text), name), name);
  }
  return base;
}

}  // namespace scute
