#include "scute/experiments/run_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/experiments/fields.h"
#include "scute/experiments/score_json.h"
#include "scute/io/file.h"
#include "scute/language/quantize_options.h"
#include "scute/observe/distribution.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kLayer = "layer_";

/// The number in "layer_12.…"; empty for sites outside the layers.
std::optional<int64_t> layer_number(std::string_view site) {
  if (!site.starts_with(kLayer)) return std::nullopt;
  int64_t out = 0;
  for (const char c : site.substr(kLayer.size())) {
    if (c < '0' || c > '9') break;
    out = 10 * out + (c - '0');
  }
  return out;
}

/// Without the noise of the last bits: 99.95 percent is 0.9995.
double without_noise(double share) { return std::round(share * 1e12) / 1e12; }

Json finite_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(); }

/// What decide() took for the site: the states along the way where they were seen.
std::string measured_site(const StatisticsSet& statistics, const std::string& site) {
  constexpr std::string_view kState = "ssm_state_act:input";
  if (site.ends_with(kState)) {
    const std::string steps = site.substr(0, site.rfind(':')) + ":steps";
    const auto found = statistics.sites.find(steps);
    if (found != statistics.sites.end() && found->second.count > 0) return steps;
  }
  return site;
}

Json site_json(const std::string& measured, const Statistic& statistic, const Decision& d) {
  const Distribution distribution(statistic);
  const bool nominal = d.policy == "percentile" || d.policy == "quamba";
  Json out;
  out["before_percentile"] = range_json(d.before_lo, d.before_hi);
  out["after_percentile"] = range_json(d.lo, d.hi);
  out["percentile_alpha"] = nominal ? Json(without_noise(d.percentile / 100)) : Json();
  out["clipped_ratio"] = d.clipped;
  out["clipped_ratio_nominal"] = nominal ? Json(without_noise(1 - d.percentile / 100)) : Json();
  out["range_reduction"] = d.range_reduction;
  out["median"] = distribution.quantile(0.5);
  out["std"] = distribution.standard_deviation();
  out["count"] = static_cast<int64_t>(statistic.finite());
  out["policy"] = d.policy;
  out["sqnr_db"] = finite_or_null(d.sqnr);
  out["statistic"] = measured;
  return out;
}

void add_reorder(Json& site, const ReorderEffect& effect) {
  site["before_reorder"] = range_json(-effect.before, effect.before);
  site["after_reorder"] = range_json(-effect.after, effect.after);
  site["range_reduction_pct"] = 100 * effect.reduction;
}

Json perplexity_json(const PerplexityResult& result, const ScoreOptions& options) {
  Json out;
  out["perplexity"] = finite_or_null(result.perplexity);
  out["perplexity_stderr"] = finite_or_null(result.perplexity * result.standard_error);
  out["mean_nll"] = finite_or_null(result.mean_nll);
  out["mean_nll_stderr"] = finite_or_null(result.standard_error);
  out["n"] = static_cast<int64_t>(result.windows.size());
  out["predictions"] = result.predictions;
  out["window"] = options.windows.window;
  out["stride"] = options.windows.stride;
  out["context"] = options.windows.context;
  out["stepwise"] = options.windows.feed == Feed::one_by_one;
  if (options.input.special_tokens) out["special_tokens"] = true;
  out["file"] = options.perplexity;
  return out;
}

Json last_word_json(const LastWordResult& result, const ScoreOptions& options) {
  Json out;
  out["accuracy"] = result.accuracy;
  out["accuracy_stderr"] = finite_or_null(result.accuracy_error);
  if (const auto bound = share_bound(result.accuracy, std::ssize(result.items))) {
    out["accuracy_bound"] = *bound;
  }
  out["perplexity"] = finite_or_null(result.perplexity);
  out["perplexity_stderr"] = finite_or_null(result.perplexity_error);
  out["hits"] = result.hits;
  out["n"] = static_cast<int64_t>(result.items.size());
  out["max_context"] = options.max_context;
  if (options.input.special_tokens) out["special_tokens"] = true;
  out["file"] = options.last_word;
  return out;
}

}  // namespace

Json range_json(double lo, double hi) {
  Json out;
  out["min"] = lo;
  out["max"] = hi;
  out["range"] = hi - lo;
  return out;
}

bool LoggedSites::has(const std::string& site) const {
  if (!glob_match(sites, site)) return false;
  const std::optional<int64_t> layer = layer_number(site);
  return !layer || !layers || *layer < *layers;
}

Json activation_stats(const StatisticsSet& statistics, const Plan& plan, const LoggedSites& logged,
                      const std::vector<ReorderEffect>& reorder) {
  std::vector<std::string> names;
  for (const auto& [name, decision] : plan.sites) {
    if (logged.has(name)) names.push_back(name);
  }
  if (names.empty() && logged.layers.value_or(1) > 0) {
    std::vector<std::string> known;
    for (const auto& [name, decision] : plan.sites) known.push_back(name);
    fail("--log-sites", fmt::format("a measured site that matches \"{}\"", logged.sites),
         "none" + did_you_mean(logged.sites, known));
  }
  std::ranges::sort(names, natural_less);
  Json out = Json::object();
  for (const std::string& name : names) {
    const std::string measured = measured_site(statistics, name);
    Json site = site_json(measured, statistics.sites.at(measured), plan.sites.at(name));
    const auto effect = std::ranges::find(reorder, name, &ReorderEffect::site);
    if (effect != reorder.end()) add_reorder(site, *effect);
    out.append_member(name, std::move(site));
  }
  return out;
}

Json reorder_summary(const std::vector<ReorderEffect>& effects) {
  std::set<std::optional<int64_t>> layers;
  double sum = 0;
  for (const ReorderEffect& effect : effects) {
    layers.insert(layer_number(effect.site));
    sum += 100 * effect.reduction;
  }
  Json out;
  out["enabled"] = !effects.empty();
  out["avg_range_reduction"] =
      effects.empty() ? Json() : Json(sum / static_cast<double>(effects.size()));
  out["total_layers"] = static_cast<int64_t>(layers.size());
  return out;
}

Json results_json(const Scores& scores, const ScoreOptions& options, const ScoredFiles& sha256) {
  Json out = Json::object();
  if (scores.last_word) {
    out["accuracy"] = scores.last_word->accuracy;
    out["perplexity"] = finite_or_null(scores.last_word->perplexity);
    out["tasks"]["last_word"] = last_word_json(*scores.last_word, options);
    out["tasks"]["last_word"]["sha256"] = sha256.last_word;
  }
  if (scores.perplexity) {
    out["tasks"]["perplexity"] = perplexity_json(*scores.perplexity, options);
    out["tasks"]["perplexity"]["sha256"] = sha256.perplexity;
  }
  if (!scores.not_finite.empty()) out["not_finite"] = scores.not_finite;
  const Score score = named_score(scores, options, sha256);
  if (!score.empty()) out["metrics"] = metrics_json(score);
  return out;
}

Json folder_config(const std::string& folder, const std::string& kind, const std::string& compute,
                   const std::string& backend) {
  const std::string path = (fs::path(folder) / "recipe.json").string();
  std::error_code unreadable;
  const Json recipe =
      fs::exists(path, unreadable) ? Json::parse(read_text(path), path) : Json::object();
  const std::string format = text_field(recipe, {"options", "format"});
  const LayerFormat bits = format.empty() ? LayerFormat{16, 16} : LayerFormat::parse(format, path);
  Json out;
  out["model"] = folder;
  out["w_bits"] = bits.weight_bits;
  out["a_bits"] = bits.activation_bits;
  out["percentile_alpha"] = nullptr;
  out["group_heads"] = flag_field(recipe, {"options", "group_heads"});
  out["apply_gptq"] = flag_field(recipe, {"options", "gptq"});
  out["model_kind"] = kind;
  const Json* options = field(recipe, {"options"});
  if (options != nullptr && options->is_object()) {
    for (const auto& [name, value] : options->as_object(path)) {
      if (name != "gptq" && out.find(name) == nullptr) out[name] = value;
    }
  }
  out["compute"] = compute;
  out["backend"] = backend;
  return out;
}

}  // namespace scute
