#include "scute/observe/composite.h"

#include <algorithm>
#include <utility>

namespace scute {
namespace {

std::map<int, std::string> names_by_index(const std::vector<Site>& sites) {
  std::map<int, std::string> names;
  for (const Site& site : sites) names.emplace(site.index, site.name);
  return names;
}

bool is_composite(const Site& site, const std::map<int, std::string>& names) {
  return !site.parts.empty() &&
         std::ranges::all_of(site.parts, [&](int part) { return names.contains(part); });
}

/// Counts, extremes and zeros add up; channels stand side by side.
Statistic joined(const std::vector<const Statistic*>& parts) {
  Statistic all(parts.front()->histogram.fine());
  std::vector<float> channels;
  bool every = true;  // some sites keep their channels always, others only when asked to
  for (const Statistic* part : parts) {
    Statistic values = *part;
    every = every && !values.channel_absmax.empty();
    channels.insert(channels.end(), values.channel_absmax.begin(), values.channel_absmax.end());
    values.channel_absmax.clear();
    values.channel_meanabs.clear();
    all.merge(values);
  }
  all.samples = parts.front()->samples;
  if (every) all.channel_absmax = std::move(channels);
  return all;
}

}  // namespace

std::vector<Site> without_composites(const std::vector<Site>& sites) {
  const auto names = names_by_index(sites);
  std::vector<Site> out = sites;
  std::erase_if(out, [&](const Site& site) { return is_composite(site, names); });
  return out;
}

void add_composites(const std::vector<Site>& sites, std::map<std::string, Statistic>& statistics) {
  const auto names = names_by_index(sites);
  for (const Site& site : sites) {
    if (!is_composite(site, names)) continue;
    std::vector<const Statistic*> parts;
    for (const int part : site.parts) {
      const auto found = statistics.find(names.at(part));
      if (found != statistics.end()) parts.push_back(&found->second);
    }
    if (parts.size() == site.parts.size()) statistics.emplace(site.name, joined(parts));
  }
}

}  // namespace scute
