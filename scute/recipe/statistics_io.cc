#include "scute/recipe/statistics_io.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "scute/base/error.h"
#include "scute/decide/buckets.h"
#include "scute/io/sealed_tensors.h"
#include "scute/io/torch_zip.h"
#include "scute/recipe/part.h"

namespace scute {
namespace {

constexpr const char* kMeta = "meta";
constexpr const char* kInner = "inner_sites";

/// What tools of this field read of a site: {"min", "max", "numel", "percentiles": {…}, "bins",
/// "counts", …}.
TorchValue::Dict site_dict(const Statistic& statistic) {
  TorchValue::Dict percentiles, site;
  for (const auto& [key, value] : percentile_table(statistic)) {
    percentiles.emplace_back(key, TorchValue{value});
  }
  site.emplace_back("min", TorchValue{static_cast<double>(statistic.min)});
  site.emplace_back("max", TorchValue{static_cast<double>(statistic.max)});
  site.emplace_back("numel", TorchValue{static_cast<int64_t>(statistic.count)});
  site.emplace_back("percentiles", TorchValue{std::move(percentiles)});
  return site;
}

/// {site: …, "meta": {…}}. What other tools do not ask for (zeros, per-channel maxima, …) goes
/// under "meta", as the same tensors and JSON that the .safetensors holds, so that nothing is lost.
/// Where buckets were measured they alone are top-level keys: such tools take every name with
/// "dino" in it for the bucket, so the towers' inner sites would overwrite it. They are in meta.
TorchValue to_torch(const StatisticsSet& set) {
  std::map<std::string, TorchValue::Dict> sites;
  for (const auto& [name, statistic] : set.sites) sites.emplace(name, site_dict(statistic));
  for (NamedTensor& named : to_tensors(set)) {
    const size_t slash = named.name.rfind('/');
    sites.at(named.name.substr(0, slash))
        .emplace_back(named.name.substr(slash + 1), TorchValue{std::move(named.tensor)});
  }
  const bool buckets =
      std::ranges::any_of(sites, [](const auto& site) { return is_bucket(site.first); });
  TorchValue::Dict root, inner, meta;
  for (auto& [name, site] : sites) {
    (buckets && !is_bucket(name) ? inner : root).emplace_back(name, TorchValue{std::move(site)});
  }
  for (const auto& [key, value] : to_metadata(set)) meta.emplace_back(key, TorchValue{value});
  if (!inner.empty()) meta.emplace_back(kInner, TorchValue{std::move(inner)});
  root.emplace_back(kMeta, TorchValue{std::move(meta)});
  return {std::move(root)};
}

void add_tensors(const TorchValue::Dict& sites, std::vector<NamedTensor>& out) {
  for (const auto& [name, value] : sites) {
    const auto* site = std::get_if<TorchValue::Dict>(&value.value);
    if (name == kMeta || site == nullptr) continue;
    for (const auto& [kind, item] : *site) {
      if (const auto* tensor = std::get_if<Tensor>(&item.value)) {
        out.push_back({name + "/" + kind, *tensor});
      }
    }
  }
}

StatisticsSet from_torch(const TorchValue& root, const std::string& path) {
  const auto* sites = std::get_if<TorchValue::Dict>(&root.value);
  const TorchValue* meta = root.find(kMeta);
  const auto* entries = meta == nullptr ? nullptr : std::get_if<TorchValue::Dict>(&meta->value);
  if (sites == nullptr || entries == nullptr || meta->find("format") == nullptr) {
    fail(path, "a statistics file that scute wrote (a dictionary with \"meta\")",
         "another one; where it holds percentiles without counts, scute decide alone reads it");
  }
  Metadata metadata;
  std::vector<NamedTensor> tensors;
  add_tensors(*sites, tensors);
  for (const auto& [key, value] : *entries) {
    if (const auto* words = std::get_if<std::string>(&value.value)) metadata[key] = *words;
    const auto* inner = std::get_if<TorchValue::Dict>(&value.value);
    if (key == kInner && inner != nullptr) add_tensors(*inner, tensors);
  }
  return from_tensors(std::move(tensors), std::move(metadata), path);
}

}  // namespace

void write_statistics(const std::string& path, const StatisticsSet& statistics) {
  if (path.ends_with(".safetensors")) {
    const auto write = part_of(statistics, path) ? write_sealed_tensors : write_safetensors;
    write(path, to_tensors(statistics), to_metadata(statistics));
  } else if (path.ends_with(".pt")) {
    write_torch(path, to_torch(statistics));
  } else {
    fail(path, "a name ending in .safetensors or .pt", "another ending");
  }
}

StatisticsSet read_statistics(const InputFile& input) {
  const std::string& path = input.path();
  if (path.ends_with(".pt")) return from_torch(read_torch(input), path);
  if (!path.ends_with(".safetensors")) {
    fail(path, "a statistics file, .safetensors or .pt, as scute collect writes it",
         "another ending");
  }
  SafetensorsFile file = read_safetensors(input);
  const bool sealed = file.metadata.contains(kContentHash);
  if (sealed) check_sealed_tensors(file, path);
  StatisticsSet out = from_tensors(std::move(file.tensors), std::move(file.metadata), path);
  if (!sealed && part_of(out, path)) {
    fail(path, "a part with the hash of its content", "none; measure it again with this scute");
  }
  return out;
}

StatisticsSet read_statistics(const std::string& path) { return read_statistics(InputFile(path)); }

StatisticsSet merge_statistics(const std::vector<std::string>& paths) {
  if (paths.empty()) fail("merge", "at least one statistics file", "none");
  const auto read = [](const std::string& path) {
    StatisticsSet out = read_statistics(path);
    refuse_part(out, path);
    return out;
  };
  StatisticsSet all = read(paths.front());
  for (size_t i = 1; i < paths.size(); ++i) {
    const StatisticsSet next = read(paths[i]);
    try {
      merge(all, next);
    } catch (const Error& error) {
      throw Error(fmt::format("{} and {}: {}", paths.front(), paths[i], error.what()));
    }
  }
  return all;
}

void require_finite(const SiteList& sites, const StatisticsSet& statistics) {
  std::string first;
  int64_t others = -1;
  for (const Site& site : sites.sites()) {
    const auto found = statistics.sites.find(site.name);
    if (found == statistics.sites.end()) continue;
    const Statistic& seen = found->second;
    if (seen.nans + seen.infs == 0) continue;
    if (++others > 0) continue;
    first = fmt::format("{} NaN and {} infinite of {} first at {}", seen.nans, seen.infs,
                        seen.count, site.name);
  }
  if (first.empty()) return;
  fail("statistics", "finite values at every site",
       others == 0 ? first : fmt::format("{}, and at {} other sites", first, others));
}

}  // namespace scute
