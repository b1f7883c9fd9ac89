#include "scute/language/silent_experts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace scute {
namespace {

constexpr std::string_view kExperts = ".experts.", kInside = ".down_proj:input", kTwin = "@rotated";

}  // namespace

bool is_expert_site(std::string_view site) {
  if (site.ends_with(kTwin)) site.remove_suffix(kTwin.size());
  const size_t at = site.find(kExperts);
  if (at == site.npos || !site.ends_with(kInside)) return false;
  const size_t number = at + kExperts.size();
  return number < site.size() && site[number] >= '0' && site[number] <= '9';
}

std::vector<SilentExperts> silent_experts(const MambaConfig& config,
                                          const std::vector<std::string>& silent_sites) {
  const std::set<std::string> silent(silent_sites.begin(), silent_sites.end());
  std::vector<SilentExperts> out;
  for (const BlockConfig& block : config.all_blocks()) {
    if (!block.has(PartKind::experts)) continue;
    SilentExperts one{block.layer, {}, config.experts.count};
    for (int64_t e = 0; e < config.experts.count; ++e) {
      const std::string site = fmt::format("layer_{}{}{}{}", block.layer, kExperts, e, kInside);
      // A model that rotates these inputs has the twin alone.
      if (silent.contains(site) || silent.contains(site + std::string(kTwin))) {
        one.experts.push_back(e);
      }
    }
    if (!one.experts.empty()) out.push_back(std::move(one));
  }
  return out;
}

int64_t samples_to_reach(int64_t samples, int64_t silent) {
  // (1 − (1 − p)^m)^silent ≥ 0.99, solved for m.
  const double p = 1 / (static_cast<double>(samples) + 2);
  const double missed = -std::expm1(std::log(0.99) / static_cast<double>(silent));
  return static_cast<int64_t>(std::ceil(std::log(missed) / std::log1p(-p)));
}

std::string sentence_of(const SilentExperts& silent, int64_t samples) {
  constexpr size_t kNamed = 8;
  const std::vector<int64_t>& all = silent.experts;
  const std::vector<int64_t> named(
      all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(kNamed, all.size())));
  return fmt::format(
      "layer {}: {} of {} experts saw no token ({}{}); about {} more samples would "
      "reach them with 99 %",
      silent.layer, all.size(), silent.of, fmt::join(named, ", "), all.size() > kNamed ? ", …" : "",
      samples_to_reach(samples, static_cast<int64_t>(all.size())));
}

}  // namespace scute
