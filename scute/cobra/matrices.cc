#include "scute/cobra/matrices.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"
#include "scute/base/names.h"

namespace scute {
namespace {

CobraMatrix matrix_of(const Site& site, const std::string& bucket, size_t part) {
  CobraMatrix out;
  out.name = site.name.substr(0, site.name.rfind(':'));
  out.bucket = bucket;
  out.tensor = out.name.starts_with("vision.") ? out.name.substr(bucket.size() + 1) : out.name;
  out.part = part;
  out.inputs = site.shape.back();
  return out;
}

}  // namespace

std::vector<CobraMatrix> cobra_matrices(const CobraConfig& config) {
  const CobraSites sites(config);
  std::vector<CobraMatrix> out;
  for (size_t i = 0; i < sites.towers.size(); ++i) {
    const auto add = [&](const Site& site) {
      out.push_back(matrix_of(site, config.towers[i].bucket, i));
    };
    add(sites.towers[i].patch_embed);
    for (const VisionSites::Block& block : sites.towers[i].blocks) {
      for (const Site* site : {&block.qkv, &block.proj, &block.fc1, &block.fc2}) add(*site);
    }
  }
  std::vector<Site> inputs = sites.projector.inputs;
  // The last one is the input of a convolution, which stays in floats.
  if (config.projector == ProjectorKind::fused_ldpnet) inputs.pop_back();
  for (const Site& site : inputs) {
    out.push_back(matrix_of(site, "projector", config.towers.size()));
    if (config.projector == ProjectorKind::linear) out.back().tensor = "projector";
  }
  return out;
}

std::vector<std::string> layer_matrices(const MambaConfig& config, int64_t index) {
  std::vector<std::string> out;
  const auto add = [&](const char* name) {
    out.push_back(fmt::format("layer_{}.{}", index, name));
  };
  add("in_proj");
  if (config.mixer == MixerKind::mamba1) {
    add("x_proj");
    add("dt_proj");
  }
  add("out_proj");
  return out;
}

std::vector<std::string> cobra_buckets(const CobraConfig& config) {
  std::vector<std::string> out;
  for (const VisionConfig& tower : config.towers) out.push_back(tower.bucket);
  out.emplace_back("projector");
  out.emplace_back("llm");
  return out;
}

MatrixFilter::MatrixFilter(const CobraConfig& config, std::vector<std::string> include,
                           std::vector<std::string> exclude)
    : include_(std::move(include)), exclude_(std::move(exclude)) {
  std::vector<std::string> names;
  for (const CobraMatrix& matrix : cobra_matrices(config)) names.push_back(matrix.name);
  for (int64_t i = 0; i < config.language.layers; ++i) {
    names.push_back(fmt::format("layer_{}", i));
    for (std::string& name : layer_matrices(config.language, i)) names.push_back(std::move(name));
  }
  const auto check = [&](const char* flag, const std::string& glob) {
    const bool used =
        std::ranges::any_of(names, [&](const std::string& name) { return glob_match(glob, name); });
    if (!used) {
      fail(flag, fmt::format("a matrix matching \"{}\"", glob), "none" + did_you_mean(glob, names));
    }
  };
  for (const std::string& glob : include_) check("--include", glob);
  for (const std::string& glob : exclude_) check("--exclude", glob);
}

bool MatrixFilter::chosen(std::string_view name) const {
  const auto any = [&](const std::vector<std::string>& globs) {
    return std::ranges::any_of(globs,
                               [&](const std::string& glob) { return glob_match(glob, name); });
  };
  return (include_.empty() || any(include_)) && !any(exclude_);
}

bool MatrixFilter::layer_chosen(const MambaConfig& config, int64_t index) const {
  const std::string layer = fmt::format("layer_{}", index);
  const std::vector<std::string> names = layer_matrices(config, index);
  const auto matched = [&](const std::vector<std::string>& globs) {
    const auto count = std::ranges::count_if(names, [&](const std::string& name) {
      return std::ranges::any_of(globs, [&](const std::string& glob) {
        return glob_match(glob, name) || glob_match(glob, layer);
      });
    });
    if (count != 0 && count != std::ssize(names)) {
      fail("--include and --exclude",
           fmt::format("all matrices of {}, which is rounded as a whole, or none", layer),
           fmt::format("{} of {}", count, names.size()));
    }
    return count != 0;
  };
  return (include_.empty() || matched(include_)) && !matched(exclude_);
}

int64_t group_for(int64_t inputs, int64_t wanted) {
  if (inputs <= wanted || inputs % wanted == 0) return std::min(inputs, wanted);
  const auto distance = [&](int64_t group) {
    const auto [less, more] = std::minmax(group, wanted);
    return static_cast<double>(more) / static_cast<double>(less);
  };
  constexpr int64_t kFurthest = 4;
  int64_t best = inputs;
  const int64_t most = std::min(inputs, wanted * kFurthest);
  for (int64_t group = std::max<int64_t>(1, wanted / kFurthest); group <= most; ++group) {
    if (inputs % group != 0) continue;
    if (best == inputs || distance(group) < distance(best)) best = group;
  }
  return best;
}

}  // namespace scute
