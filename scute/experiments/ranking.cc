#include "scute/experiments/ranking.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <span>

#include "scute/experiments/fields.h"
#include "scute/experiments/score_json.h"

namespace scute {
namespace {

std::string model_of(const LogEntry& entry) {
  const std::string hash = text_field(entry.hashes, {"model"});
  return hash.empty() ? text_field(entry.config, {"model"}) : hash;
}

bool is_float(const LogEntry& entry) {
  return number_field(entry.config, {"w_bits"}) == 16 &&
         number_field(entry.config, {"a_bits"}) == 16;
}

/// The result, such that smaller is better.
std::optional<double> loss_of(const RankedExperiment& ranked, const std::string& metric) {
  for (const MetricScore& one : ranked.score) {
    if (one.metric.name != metric) continue;
    return one.metric.direction == MetricDirection::lower ? one.mean : -one.mean;
  }
  return std::nullopt;
}

void compare_with_best(Ranking& ranking) {
  std::map<std::string, std::vector<Difference*>> questions;
  for (size_t i = 1; i < ranking.experiments.size(); ++i) {
    RankedExperiment& ranked = ranking.experiments[i];
    ranked.against_best = compare_scores(ranking.experiments.front().score, ranked.score);
    for (Difference& difference : ranked.against_best) {
      questions[difference.metric.name].push_back(&difference);
    }
  }
  for (auto& [metric, differences] : questions) adjust_for_many(differences);
}

void order(Ranking& ranking) {
  // Those that are not finite come last, and are no reason not to order the others.
  auto& all_of_them = ranking.experiments;
  const auto end = std::stable_partition(  // Clang 14 has no ranges::stable_partition
      all_of_them.begin(), all_of_them.end(),
      [](const RankedExperiment& ranked) { return !is_not_finite(ranked.entry->results); });
  const std::span finite(all_of_them.begin(), end);
  if (finite.empty()) return;
  const Score first = finite.front().score;
  for (const MetricScore& one : first) {
    const std::string metric = one.metric.name;
    const bool all = std::ranges::all_of(finite, [&](const RankedExperiment& ranked) {
      return loss_of(ranked, metric).has_value();
    });
    if (!all) continue;
    ranking.metric = metric;
    std::ranges::stable_sort(finite, {}, [&](const RankedExperiment& ranked) {
      return std::pair(is_float(*ranked.entry), *loss_of(ranked, metric));
    });
    return compare_with_best(ranking);
  }
}

}  // namespace

std::vector<Ranking> rank_experiments(const std::vector<const LogEntry*>& entries,
                                      const std::string& folder) {
  std::vector<Ranking> out;
  std::map<std::string, size_t> places;
  for (const LogEntry* entry : entries) {
    const auto [place, first] = places.emplace(model_of(*entry), out.size());
    if (first) {
      Ranking ranking;
      ranking.model = text_field(entry->config, {"model"});
      out.push_back(std::move(ranking));
    }
    RankedExperiment& added = out[place->second].experiments.emplace_back();
    added.entry = entry;
    added.score = score_with_items(*entry, folder);
  }
  for (Ranking& ranking : out) order(ranking);
  return out;
}

std::string setting_text(const LogEntry& entry) {
  const Json& config = entry.config;
  const auto bits = [&config](const char* name) {
    return static_cast<int64_t>(number_field(config, {name}).value_or(0));
  };
  if (is_float(entry)) return "float";
  std::string out = fmt::format("W{}A{}", bits("w_bits"), bits("a_bits"));
  if (flag_field(config, {"apply_gptq"})) out += " gptq";
  if (flag_field(config, {"group_heads"})) out += " grouped";
  const auto groups = number_field(config, {"group_percentile"});
  if (groups) out += fmt::format(" {}", *groups);
  const std::string policy = text_field(config, {"policy"});
  if (!policy.empty()) out += " " + policy;
  const auto alpha = number_field(config, {"percentile_alpha"});
  if (alpha) out += *alpha == 1 ? " 1.0" : fmt::format(" {}", *alpha);
  return out;
}

}  // namespace scute
