#include "scute/experiments/score_json.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "scute/base/error.h"
#include "scute/experiments/fields.h"
#include "scute/experiments/old_results.h"
#include "scute/io/file.h"

namespace scute {
namespace {

constexpr std::array<std::pair<MetricForm, std::string_view>, 4> kForms{
    {{MetricForm::perplexity, "perplexity"},
     {MetricForm::ratio, "ratio"},
     {MetricForm::mean, "mean"},
     {MetricForm::share, "share"}}};

Json finite_number(double x) { return std::isfinite(x) ? Json(x) : Json(); }

/// Members of MetricWords by their names; empty ones are not written.
template <class Words, class Visit>
void visit_words(Words& words, Visit visit) {
  visit("label", words.label);
  visit("brief", words.brief);
  visit("heading", words.heading);
  visit("mark", words.mark);
  visit("about", words.about);
  visit("items", words.items);
  visit("group", words.group);
}

Json place_json(const ItemPlace& place) {
  if (place.value.empty()) return {};
  Json out;
  if (!place.kind.empty()) out["kind"] = place.kind;
  out["value"] = Json::array();
  for (const std::string& key : place.value) out["value"].push_back(key);
  out["name"] = place.name;
  if (!place.weight.empty()) out["weight"] = place.weight;
  return out;
}

Json protocol_json(const std::vector<ProtocolFact>& protocol) {
  Json out = Json::array();
  for (const ProtocolFact& fact : protocol) {
    Json one;
    one["key"] = fact.key;
    one["value"] = fact.value;
    if (!fact.because.empty()) one["because"] = fact.because;
    out.push_back(std::move(one));
  }
  return out;
}

ItemPlace read_place(const Json& json) {
  ItemPlace out;
  const Json* path = field(json, {"items_in", "value"});
  if (path == nullptr || !path->is_array()) return out;
  for (const Json& key : path->as_array("")) {
    if (!key.is_string()) return {};
    out.value.push_back(key.as_string(""));
  }
  out.kind = text_field(json, {"items_in", "kind"});
  out.name = text_field(json, {"items_in", "name"});
  out.weight = text_field(json, {"items_in", "weight"});
  return out;
}

std::vector<ProtocolFact> read_protocol(const Json& json) {
  std::vector<ProtocolFact> out;
  const Json* facts = json.find("protocol");
  if (facts == nullptr || !facts->is_array()) return out;
  for (const Json& fact : facts->as_array("")) {
    const Json* value = fact.find("value");
    out.push_back({text_field(fact, {"key"}), value == nullptr ? Json() : *value,
                   text_field(fact, {"because"})});
  }
  return out;
}

/// False for what is no metric with a number.
bool read_metric(const Json& json, MetricScore& out) {
  Metric& metric = out.metric;
  metric.name = text_field(json, {"metric"});
  const auto mean = number_field(json, {"mean"});
  if (metric.name.empty() || !mean) return false;
  out.mean = *mean;
  out.standard_error =
      number_field(json, {"standard_error"}).value_or(std::numeric_limits<double>::quiet_NaN());
  const double count = number_field(json, {"items"}).value_or(0);
  out.count = count >= 1 && count <= 0x1p53 ? static_cast<int64_t>(count) : 0;
  metric.unit = text_field(json, {"unit"});
  metric.direction = text_field(json, {"direction"}) == "higher" ? MetricDirection::higher
                                                                 : MetricDirection::lower;
  const std::string form = text_field(json, {"form"});
  for (const auto& [value, name] : kForms) {
    if (name == form) metric.form = value;
  }
  visit_words(metric.words, [&](std::string_view key, std::string& word) {
    word = text_field(json, {"words", key});
  });
  if (metric.words.label.empty()) metric.words.label = metric.name;
  if (metric.words.items.empty()) metric.words.items = "items";
  metric.place = read_place(json);
  out.protocol = read_protocol(json);
  forget_false_error(out);
  return true;
}

/// A finite number; of a share a truth, as 1 or 0.
double value_at(const Json& item, const std::vector<std::string>& path, bool truth,
                const std::string& where) {
  const Json* at = &item;
  for (const std::string& key : path) at = &at->at(key, where);
  if (truth) return at->as_bool(where) ? 1 : 0;
  const double value = at->as_double(where);
  if (!std::isfinite(value)) {
    fail(where, fmt::format("a finite {}", path.back()), "another number");
  }
  return value;
}

ScoredItem item_of(const Json& item, const Metric& metric, const std::string& where) {
  const ItemPlace& place = metric.place;
  ScoredItem out;
  if (!place.name.empty()) {
    const Json& name = item.at(place.name, where);
    out.name = name.is_string() ? name.as_string(where) : name.dump();
  }
  out.value = value_at(item, place.value, metric.form == MetricForm::share, where);
  if (!place.weight.empty()) out.weight = value_at(item, {place.weight}, false, where);
  if (!(out.weight > 0)) {
    fail(where, fmt::format("{} above 0", place.weight), fmt::format("{}", out.weight));
  }
  return out;
}

void add_item(const Json& item, const std::string& where, Score& score) {
  const std::string kind = text_field(item, {"kind"});
  bool known = false;
  for (MetricScore& one : score) {
    if (one.metric.place.value.empty() || one.metric.place.kind != kind) continue;
    one.items.push_back(item_of(item, one.metric, where));
    known = true;
  }
  if (!known) fail(where, "an item of a metric of the record", fmt::format("kind \"{}\"", kind));
}

}  // namespace

Json metrics_json(const Score& score) {
  Json out = Json::array();
  for (const MetricScore& one : score) {
    const Metric& metric = one.metric;
    Json json;
    json["metric"] = metric.name;
    json["unit"] = metric.unit;
    json["direction"] = metric.direction == MetricDirection::higher ? "higher" : "lower";
    for (const auto& [form, name] : kForms) {
      if (form == metric.form) json["form"] = name;
    }
    json["mean"] = finite_number(one.mean);
    json["standard_error"] = finite_number(one.standard_error);
    if (const auto bound = share_bound(one)) json["bound"] = *bound;
    json["items"] = one.count;
    json["protocol"] = protocol_json(one.protocol);
    json["items_in"] = place_json(metric.place);
    visit_words(metric.words, [&](std::string_view key, const std::string& word) {
      if (!word.empty()) json["words"][key] = word;
    });
    out.push_back(std::move(json));
  }
  return out;
}

Score read_score(const LogEntry& entry) { return read_score(entry.results, entry.hashes); }

Score read_score(const Json& results, const Json& hashes) {
  const Json* metrics = field(results, {"metrics"});
  if (metrics == nullptr || !metrics->is_array()) return old_score(results, hashes);
  Score out;
  for (const Json& json : metrics->as_array("")) {
    MetricScore one;
    if (read_metric(json, one)) out.push_back(std::move(one));
  }
  return out;
}

bool is_not_finite(const Json& results) {
  if (field(results, {"not_finite"}) != nullptr) return true;
  const Json* metrics = field(results, {"metrics"});
  if (metrics == nullptr || !metrics->is_array()) return false;
  return std::ranges::any_of(metrics->as_array(""), [](const Json& json) {
    return !text_field(json, {"metric"}).empty() && !number_field(json, {"mean"});
  });
}

void read_items(const std::string& path, Score& score) {
  constexpr int64_t kLimit = int64_t{1} << 28;  // a million items of 100 bytes, and more
  const std::string text = read_text(path, kLimit);
  int64_t line = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string where = fmt::format("{}:{}", path, ++line);
    add_item(Json::parse(std::string_view(text).substr(begin, end - begin), where), where, score);
    begin = end + 1;
  }
}

}  // namespace scute
