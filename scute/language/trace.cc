#include "scute/language/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "scute/base/portable_math.h"
#include "scute/observe/distribution.h"

namespace scute {
namespace {

constexpr double kLargestCode = 127;
constexpr std::string_view kStateInput = ".ssm_state_act:input", kSteps = ".ssm_state_act:steps";

/// What plans decide `site` from: the states along the way before those at the end of windows.
std::string statistic_of_site(const LowBitFiles& files, const std::string& site) {
  const auto seen = [&](const std::string& name) {
    const auto found = files.statistics->sites.find(name);
    return found != files.statistics->sites.end() && found->second.finite() > 0;
  };
  if (!files.statistics) return "";
  if (site.ends_with(kStateInput)) {
    const std::string steps =
        site.substr(0, site.size() - kStateInput.size()) + std::string(kSteps);
    if (seen(steps)) return steps;
  }
  return seen(site) ? site : "";
}

void add_remark(std::string& remark, std::string_view text) {
  if (!remark.empty()) remark += "; ";
  remark += text;
}

/// Collects the scales of one site.
class RangeTracer {
 public:
  RangeTracer(const LowBitFiles& files, const std::string& site) : files_(files) {
    out_.site = site;
    if (files.plan) {
      const auto found = files.plan->sites.find(site);
      if (found != files.plan->sites.end()) decision_ = &found->second;
    }
  }

  void add(const std::vector<float>& values) {
    largest_ = std::max(largest_, static_cast<double>(std::ranges::max(values)));
    several_ = several_ || values.size() > 1;
    if (decision_ == nullptr) return;
    const float planned = planned_scale(files_, out_.site, *decision_);
    if (agrees(values, planned)) return;
    if (!out_.edited) add_remark(out_.remark, fmt::format("edited: the plan asks for {}", planned));
    out_.edited = true;
  }

  /// Of a site that has no scale, but keeps its values within lo .. hi.
  TracedRange clip(float lo, float hi) {
    if (decision_ != nullptr && !is_clip_of(*decision_, lo, hi)) {
      out_.edited = true;
      add_remark(out_.remark,
                 fmt::format("edited: the plan asks for {} .. {}", decision_->lo, decision_->hi));
    }
    keep_plan();
    if (decision_ == nullptr || out_.edited) {
      out_.lo = static_cast<double>(lo);
      out_.hi = static_cast<double>(hi);
    }
    measure();
    out_.sqnr.reset();
    return std::move(out_);
  }

  TracedRange finish() {
    out_.hi = kLargestCode * largest_;
    out_.lo = -out_.hi;
    keep_plan();
    measure();
    if (several_ && out_.measured == "statistics.safetensors") {
      add_remark(out_.remark, "several scales: clipped and SQNR are those of the largest alone");
    }
    return std::move(out_);
  }

 private:
  void keep_plan() {
    if (decision_ == nullptr) return;
    out_.policy = decision_->policy;
    out_.because = decision_->because;
    if (!decision_->remark.empty()) add_remark(out_.remark, "plan.json: " + decision_->remark);
    if (out_.edited) return;
    const double share = out_.site.ends_with(kStateInput) ? files_.state_clip : 1;
    out_.lo = share * decision_->lo;
    out_.hi = share * decision_->hi;
  }

  void measure() {
    out_.statistic = statistic_of_site(files_, out_.site);
    if (!out_.statistic.empty()) return measure(files_.statistics->sites.at(out_.statistic));
    if (decision_ == nullptr) return;
    out_.measured = "plan.json";
    out_.seen = {decision_->before_lo, decision_->before_hi};
    if (out_.edited) return;  // the plan speaks of another range
    // NaN: the plan was made without counts.
    if (!std::isnan(decision_->clipped)) out_.clipped = decision_->clipped;
    if (!std::isnan(decision_->sqnr)) out_.sqnr = decision_->sqnr;
  }

  void measure(const Statistic& statistic) {
    const Distribution distribution(statistic);
    out_.measured = "statistics.safetensors";
    out_.seen = {distribution.min(), distribution.max()};
    constexpr auto kMost = static_cast<double>(std::numeric_limits<float>::max());
    if (!(std::abs(out_.lo) <= kMost && std::abs(out_.hi) <= kMost && out_.lo <= out_.hi)) return;
    // A range read back from a float scale may lie one rounding, 2^-24, inside the one meant.
    constexpr double kRounding = 1 + 0x1p-23;
    out_.clipped = distribution.outside(kRounding * out_.lo, kRounding * out_.hi);
    const double signal = distribution.mean_square();
    const double noise = expected_error(distribution, out_.lo, out_.hi, GridSpec{});
    out_.sqnr =
        noise > 0 ? 10 * portable::log10(signal / noise) : std::numeric_limits<double>::infinity();
  }

  const LowBitFiles& files_;
  const Decision* decision_ = nullptr;
  TracedRange out_;
  double largest_ = 0;
  bool several_ = false;
};

/// "; policy auto" and the like, of members that a meta object has.
std::string members(const Json& meta, std::initializer_list<std::string_view> keys) {
  std::string out;
  for (const std::string_view key : keys) {
    const Json* value = meta.find(key);
    if (value == nullptr) continue;
    out += fmt::format("; {} {}", key, value->is_string() ? value->as_string("") : value->dump());
  }
  return out;
}

std::string statistics_note(const LowBitFiles& files) {
  if (files.statistics) {
    return "statistic: statistics.safetensors" +
           members(files.statistics->meta, {"samples", "tokens"});
  }
  if (files.foreign_statistics) {
    return "statistic: statistics.safetensors is of another model than recipe.json names: not used";
  }
  return fmt::format(
      "statistic: not recorded (no statistics.safetensors); range before, clipped and SQNR {}",
      files.plan ? "are what the plan says" : "cannot be known");
}

TracedLayer trace_layer(const LowBitFiles& files, int64_t layer) {
  std::vector<StoredScale> scales;
  for (const StoredScale& scale : files.scales) {
    if (scale.layer == layer) scales.push_back(scale);
  }
  TracedLayer out = trace_group(files, scales);
  out.layer = layer;
  const auto place = static_cast<size_t>(layer);
  if (layer >= 0 && place < files.formats.size()) out.format = files.formats[place];
  return out;
}

}  // namespace

std::string TracedLayer::name() const {
  if (!part.empty()) return part;
  return layer == kHeadLayer ? "lm_head" : fmt::format("{}", layer);
}

TracedLayer trace_group(const LowBitFiles& files, const std::vector<StoredScale>& scales) {
  TracedLayer out;
  std::vector<RangeTracer> tracers;
  std::vector<std::string> sites;
  for (const StoredScale& stored : scales) {
    const std::vector<float> values = scale_values(files, stored.tensor);
    out.scales.push_back({stored, files.tensors.at(stored.tensor).shape(), std::ranges::min(values),
                          std::ranges::max(values)});
    if (stored.site.empty()) continue;
    const auto at = std::ranges::find(sites, stored.site) - sites.begin();
    if (at == std::ssize(sites)) {
      sites.push_back(stored.site);
      tracers.emplace_back(files, stored.site);
    }
    tracers[static_cast<size_t>(at)].add(values);
  }
  for (RangeTracer& tracer : tracers) out.ranges.push_back(tracer.finish());
  return out;
}

TracedRange trace_clip(const LowBitFiles& files, const std::string& site) {
  const auto [lo, hi] = files.clips.at(site);
  return RangeTracer(files, site).clip(lo, hi);
}

std::vector<std::string> record_notes(const LowBitFiles& files) {
  std::vector<std::string> out;
  if (!files.has_scheme) {
    out.emplace_back(
        "rotation and state rounding: not recorded (no \"scute\" object in config.json)");
  }
  if (files.recipe.is_null()) {
    out.emplace_back("model, options and edits: not recorded (no recipe.json)");
  }
  if (files.scales.empty()) {
    out.emplace_back("no activation is rounded: weights alone are quantized");
    if (files.clips.empty()) return out;
  }
  out.push_back(files.plan ? "policy: plan.json" + members(files.plan->meta, {"policy"})
                           : "policy: not recorded (no plan.json)");
  out.push_back(statistics_note(files));
  return out;
}

int64_t recorded_edits(const LowBitFiles& files) {
  const Json* edits = files.recipe.find("edits");
  if (edits == nullptr || !edits->is_array()) return 0;
  return static_cast<int64_t>(edits->as_array("recipe.json").size());
}

std::vector<StoredScale> Trace::stored() const {
  std::vector<StoredScale> out;
  for (const TracedLayer& layer : layers) {
    for (const TracedScale& scale : layer.scales) out.push_back(scale.stored);
  }
  return out;
}

Trace trace_scales(const std::string& folder) {
  const LowBitFiles files = read_low_bit_files(folder);
  Trace out;
  out.path = folder;
  out.mixer = files.mixer;
  out.chains = files.chains;
  for (int64_t i = 0; i < files.layers; ++i) out.layers.push_back(trace_layer(files, i));
  TracedLayer head = trace_layer(files, kHeadLayer);
  if (!head.scales.empty()) out.layers.push_back(std::move(head));
  out.notes = record_notes(files);
  out.edits = recorded_edits(files);
  return out;
}

}  // namespace scute
