#include "scute/recipe/statistics_io.h"

#include <fmt/format.h>

#include "scute/base/error.h"
#include "scute/io/safetensors.h"
#include "scute/io/torch_zip.h"

namespace scute {
namespace {

/// {site: {"min", "max", "numel", "percentiles": {…}, "bins", "counts"}, …, "meta": {…}}: what
/// tools of this field read. What they do not ask for (zeros, per-channel maxima, …) goes under
/// "meta", as the same tensors and JSON that the .safetensors holds, so that nothing is lost.
TorchValue to_torch(const StatisticsSet& set) {
  const auto text = [](std::string s) { return TorchValue{std::move(s)}; };
  TorchValue::Dict root;
  for (const auto& [name, statistic] : set.sites) {
    TorchValue::Dict percentiles;
    for (const auto& [key, value] : percentile_table(statistic)) {
      percentiles.emplace_back(key, TorchValue{value});
    }
    TorchValue::Dict site;
    site.emplace_back("min", TorchValue{static_cast<double>(statistic.min)});
    site.emplace_back("max", TorchValue{static_cast<double>(statistic.max)});
    site.emplace_back("numel", TorchValue{static_cast<int64_t>(statistic.count)});
    site.emplace_back("percentiles", TorchValue{std::move(percentiles)});
    root.emplace_back(name, TorchValue{std::move(site)});
  }
  TorchValue::Dict extra;
  for (NamedTensor& named : to_tensors(set)) {
    const size_t slash = named.name.rfind('/');
    const std::string site = named.name.substr(0, slash), kind = named.name.substr(slash + 1);
    for (auto& [name, value] : root) {
      if (name == site)
        std::get<TorchValue::Dict>(value.value).emplace_back(kind, TorchValue{named.tensor});
    }
  }
  for (const auto& [key, value] : to_metadata(set)) extra.emplace_back(key, text(value));
  root.emplace_back("meta", TorchValue{std::move(extra)});
  return {std::move(root)};
}

StatisticsSet from_torch(const TorchValue& root, const std::string& path) {
  const auto* sites = std::get_if<TorchValue::Dict>(&root.value);
  const TorchValue* meta = root.find("meta");
  const auto* entries = meta == nullptr ? nullptr : std::get_if<TorchValue::Dict>(&meta->value);
  if (sites == nullptr || entries == nullptr) {
    fail(path, "a statistics file that scute wrote (a dictionary with \"meta\")", "another one");
  }
  Metadata metadata;
  for (const auto& [key, value] : *entries) {
    if (const auto* words = std::get_if<std::string>(&value.value)) metadata[key] = *words;
  }
  std::vector<NamedTensor> tensors;
  for (const auto& [name, value] : *sites) {
    const auto* site = std::get_if<TorchValue::Dict>(&value.value);
    if (name == "meta" || site == nullptr) continue;
    for (const auto& [kind, item] : *site) {
      if (const auto* tensor = std::get_if<Tensor>(&item.value)) {
        tensors.push_back({name + "/" + kind, *tensor});
      }
    }
  }
  return from_tensors(std::move(tensors), std::move(metadata), path);
}

}  // namespace

void write_statistics(const std::string& path, const StatisticsSet& statistics) {
  if (path.ends_with(".safetensors")) {
    write_safetensors(path, to_tensors(statistics), to_metadata(statistics));
  } else if (path.ends_with(".pt")) {
    write_torch(path, to_torch(statistics));
  } else {
    fail(path, "a name ending in .safetensors or .pt", "another ending");
  }
}

StatisticsSet read_statistics(const std::string& path) {
  if (path.ends_with(".pt")) return from_torch(read_torch(path), path);
  if (!path.ends_with(".safetensors")) {
    fail(path, "a statistics file, .safetensors or .pt, as scute collect writes it",
         "another ending");
  }
  SafetensorsFile file = read_safetensors(path);
  return from_tensors(std::move(file.tensors), std::move(file.metadata), path);
}

StatisticsSet merge_statistics(const std::vector<std::string>& paths) {
  if (paths.empty()) fail("merge", "at least one statistics file", "none");
  StatisticsSet all = read_statistics(paths.front());
  for (size_t i = 1; i < paths.size(); ++i) {
    const StatisticsSet next = read_statistics(paths[i]);
    try {
      merge(all, next);
    } catch (const Error& error) {
      throw Error(fmt::format("{} and {}: {}", paths.front(), paths[i], error.what()));
    }
  }
  return all;
}

}  // namespace scute
