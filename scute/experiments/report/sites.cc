// The report's statistics: bins to draw, and what each policy makes of a site.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include "scute/base/portable_math.h"
#include "scute/decide/buckets.h"
#include "scute/decide/plan.h"
#include "scute/experiments/report/data.h"

namespace scute {
namespace {

constexpr size_t kSiteBins = 112;
constexpr int kBits[] = {4, 8, 16};

/// What a page needs of one site.
struct SiteData {
  Json json;
  double noise[3] = {0, 0, 0};  ///< noise over signal of auto, by kBits
};

double noise_of(double decibels) {
  return std::isinf(decibels) ? 0 : portable::pow(10, -decibels / 10);
}

Json counts_json(const std::vector<uint64_t>& counts) {
  Json out = Json::array();
  for (const uint64_t count : counts) out.push_back(static_cast<int64_t>(count));
  return out;
}

/// [lo, hi, clipped, SQNR at 4, 8, 16 bits] of one policy; the range is the one for 8 bits.
Json policy_row(const Decision (&decisions)[3]) {
  const Decision& shown = decisions[1];
  Json row = Json::array();
  row.push_back(shown.lo);
  row.push_back(shown.hi);
  row.push_back(number(shown.clipped, 4));
  for (const Decision& decision : decisions) row.push_back(number(decision.sqnr, 4));
  return row;
}

/// The policies' rows; what is returned are their sentences.
Json add_decisions(const std::string& name, const Statistic& statistic, SiteData& out) {
  const Decider decider(name, statistic, true);
  Json sentences = Json::array();
  for (const std::string& policy : report_policies()) {
    Decision decisions[3];
    for (size_t i = 0; i < 3; ++i) {
      decisions[i] = decider(Policy::parse(policy), {.bits = kBits[i]});
    }
    out.json["policies"].push_back(policy_row(decisions));
    sentences.push_back(decisions[1].because);
    if (policy != "auto") continue;
    out.json["because"] = decisions[1].because;
    for (size_t i = 0; i < 3; ++i) out.noise[i] = noise_of(decisions[i].sqnr);
  }
  return sentences;
}

SiteData site_data(const std::string& name, const Statistic& statistic,
                   const std::vector<ReportPlan>& plans) {
  SiteData out;
  Json& json = out.json;
  const SiteName place = split_site(name);
  json["name"] = name;
  json["layer"] = place.layer < 0 ? Json() : Json(place.layer);
  json["op"] = place.op;
  json["count"] = static_cast<int64_t>(statistic.count);
  json["zeros"] = static_cast<int64_t>(statistic.zeros);
  json["nans"] = static_cast<int64_t>(statistic.nans);
  json["infs"] = static_cast<int64_t>(statistic.infs);
  if (is_bucket(name)) json["bucket"] = Json::object();
  if (statistic.finite() == 0) return out;
  const Distribution distribution(statistic);
  json["min"] = distribution.min();
  json["max"] = distribution.max();
  json["mean"] = number(distribution.mean(), 5);
  json["std"] = number(distribution.standard_deviation(), 5);
  const LinearBins linear = linear_bins(distribution);
  json["linear"] = Json::Array{linear.lo, linear.hi, counts_json(linear.counts)};
  const OctaveBins octaves = octave_bins(distribution);
  json["log2"] = Json::Array{octaves.first, octaves.step, static_cast<int64_t>(octaves.zeros),
                             counts_json(octaves.counts)};
  Json because = add_decisions(name, statistic, out);
  if (is_bucket(name)) json["bucket"] = bucket_data(distribution, std::move(because));
  for (const ReportPlan& plan : plans) {
    json["plans"].push_back(plan_row(plan.plan, name, distribution));
  }
  return out;
}

/// Whether a site counts in its layer's sum: inputs only, each tensor once: rotated ones instead of
/// their plain twins and states of all steps instead of the last.
bool counts_in_layer(const std::string& name, const std::set<std::string>& names) {
  if (name.ends_with(":input")) {
    const std::string stem = name.substr(0, name.size() - 6);
    return !names.contains(name + "@rotated") && !names.contains(stem + ":steps");
  }
  return name.ends_with(":input@rotated") || name.ends_with(":steps");
}

/// A layer of one of the model's stacks: a vision-language model has a layer 0 in each tower, too.
struct LayerName {
  std::string stack;  ///< "vision.dino"; "" in models of one stack
  int64_t layer = -1;
  auto operator<=>(const LayerName&) const = default;
};
LayerName layer_of(const std::string& site) {
  const int64_t layer = split_site(site).layer;
  const size_t at = site.find(".blocks.");
  return {at == std::string::npos ? std::string() : site.substr(0, at), layer};
}

/// [[layer, sites, noise at 4, 8, 16 bits], …]; a tower's layer is named, "vision.dino 0".
Json sensitivity(const std::vector<std::string>& order, const std::vector<SiteData>& sites) {
  struct Sum {
    int64_t sites = 0;
    double noise[3] = {0, 0, 0};
  };
  const std::set<std::string> names(order.begin(), order.end());
  std::map<LayerName, Sum> layers;
  for (size_t i = 0; i < order.size(); ++i) {
    const LayerName layer = layer_of(order[i]);
    if (layer.layer < 0 || !counts_in_layer(order[i], names)) continue;
    Sum& sum = layers[layer];
    ++sum.sites;
    for (size_t b = 0; b < 3; ++b) sum.noise[b] += sites[i].noise[b];
  }
  Json out = Json::array();
  for (const auto& [name, sum] : layers) {
    const auto& [stack, layer] = name;
    Json row = Json::Array{stack.empty() ? Json(layer) : Json(fmt::format("{} {}", stack, layer)),
                           sum.sites};
    for (const double noise : sum.noise) row.push_back(number(noise, 4));
    out.push_back(std::move(row));
  }
  return out;
}

}  // namespace

const std::vector<std::string>& report_policies() {
  static const std::vector<std::string> names{
      "auto", "minmax", "percentile:0.9995", "quamba", "tail", "mse", "entropy"};
  return names;
}

LinearBins linear_bins(const Distribution& distribution) {
  LinearBins out{distribution.min(), distribution.max(), {}};
  const double width = (out.hi - out.lo) / static_cast<double>(kSiteBins);
  out.counts.assign(width > 0 ? kSiteBins : 1, 0);
  for (const Distribution::Point& point : distribution.points()) {
    const double place = width > 0 ? std::max(0.0, (point.value - out.lo) / width) : 0;
    out.counts[std::min(out.counts.size() - 1, static_cast<size_t>(place))] += point.count;
  }
  return out;
}

OctaveBins octave_bins(const Distribution& distribution) {
  OctaveBins out;
  const auto& points = distribution.magnitudes();
  auto begin = points.begin();
  for (; begin != points.end() && begin->value <= 0; ++begin) out.zeros += begin->count;
  if (begin == points.end()) return out;
  const double low = std::log2(begin->value), high = std::log2(points.back().value);
  const auto bin_of = [&out](double octave) { return std::floor(octave / out.step); };
  while (bin_of(high) - bin_of(low) + 1 > static_cast<double>(kSiteBins)) out.step *= 2;
  const double first = bin_of(low);
  out.first = first * out.step;
  out.counts.assign(static_cast<size_t>(bin_of(high) - first) + 1, 0);
  for (auto point = begin; point != points.end(); ++point) {
    out.counts[static_cast<size_t>(bin_of(std::log2(point->value)) - first)] += point->count;
  }
  return out;
}

SiteName split_site(std::string_view site) {
  for (const std::string_view mark : {std::string_view("layer_"), std::string_view("blocks.")}) {
    const size_t at = site.find(mark);
    if (at == std::string_view::npos || (at > 0 && site[at - 1] != '.')) continue;
    const std::string_view rest = site.substr(at + mark.size());
    int64_t layer = -1;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
    const auto digits = static_cast<size_t>(end - rest.data());
    if (error != std::errc() || layer < 0 || digits >= rest.size() || *end != '.') continue;
    const std::string before(site.substr(0, mark == "layer_" ? at : at + mark.size()));
    return {layer, before + std::string(rest.substr(digits + 1))};
  }
  return {-1, std::string(site)};
}

Json number(double value, int digits) {
  if (!std::isfinite(value)) return {};
  if (value == std::floor(value) && std::abs(value) < 1e6) return static_cast<int64_t>(value);
  const std::string text = fmt::format("{:.{}g}", value, digits);
  double out = value;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

Json finite(const Json& json) {
  if (json.is_array()) {
    Json out = Json::array();
    for (const Json& item : json.as_array("")) out.push_back(finite(item));
    return out;
  }
  if (json.is_object()) {
    Json out = Json::object();
    for (const auto& [key, value] : json.as_object("")) out.append_member(key, finite(value));
    return out;
  }
  return json.is_number() && !std::isfinite(json.as_double("")) ? Json() : json;
}

Json statistics_data(const ReportStatistics& statistics, const std::vector<ReportPlan>& plans,
                     const Threads& threads) {
  std::vector<std::string> order;
  for (const auto& [name, statistic] : statistics.set.sites) order.push_back(name);
  std::sort(order.begin(), order.end(), shown_before);
  std::vector<SiteData> sites(order.size());
  threads.for_each(static_cast<int64_t>(order.size()), [&](int64_t i, int) {
    const auto at = static_cast<size_t>(i);
    sites[at] = site_data(order[at], statistics.set.sites.at(order[at]), plans);
  });
  Json out;
  out["name"] = statistics.name;
  out["meta"] = origin(statistics.set.meta);
  for (const std::string& policy : report_policies()) out["policies"].push_back(policy);
  for (const double p : bucket_percentiles()) out["percentiles"].push_back(number(p));
  out["sensitivity"] = sensitivity(order, sites);
  out["sites"] = Json::array();
  for (SiteData& site : sites) out["sites"].push_back(std::move(site.json));
  return out;
}

}  // namespace scute
