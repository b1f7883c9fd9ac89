#include "scute/language/random_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/language/model_folder.h"
#include "scute/language/published_configs.h"

namespace scute {
namespace {

struct Size {
  std::string_view name;
  MixerKind mixer;
  int64_t layers, width, vocabulary;
};
constexpr std::array<Size, 12> kSizes{{
    {"mamba-tiny", MixerKind::mamba1, 2, 64, 256},
    {"mamba-130m", MixerKind::mamba1, 24, 768, 50280},
    {"mamba-370m", MixerKind::mamba1, 48, 1024, 50280},
    {"mamba-790m", MixerKind::mamba1, 48, 1536, 50280},
    {"mamba-1.4b", MixerKind::mamba1, 48, 2048, 50280},
    {"mamba-2.8b", MixerKind::mamba1, 64, 2560, 50280},
    {"mamba2-tiny", MixerKind::mamba2, 2, 64, 256},
    {"mamba2-130m", MixerKind::mamba2, 24, 768, 50288},
    {"mamba2-370m", MixerKind::mamba2, 48, 1024, 50288},
    {"mamba2-780m", MixerKind::mamba2, 48, 1536, 50288},
    {"mamba2-1.3b", MixerKind::mamba2, 48, 2048, 50288},
    {"mamba2-2.7b", MixerKind::mamba2, 64, 2560, 50288},
}};

const PublishedConfig* find_published(std::string_view name) {
  const auto all = published_configs();
  const auto found = std::ranges::find(all, name, &PublishedConfig::name);
  return found == all.end() ? nullptr : &*found;
}

ModelDescription published_description(std::string_view name) {
  return describe_config(Json::parse(find_published(name)->json, name), std::string(name));
}

}  // namespace

std::string assumed_in(std::string_view size) {
  const PublishedConfig* found = find_published(size);
  return found == nullptr ? "" : std::string(found->assumed);
}

std::vector<std::string> named_sizes() {
  std::vector<std::string> out;
  for (const Size& size : kSizes) out.emplace_back(size.name);
  for (const PublishedConfig& one : published_configs()) out.emplace_back(one.name);
  return out;
}

MambaConfig named_config(std::string_view name) {
  for (const Size& size : kSizes) {
    if (size.name != name) continue;
    MambaConfig c;
    c.mixer = size.mixer;
    c.layers = size.layers;
    c.width = size.width;
    c.vocabulary = size.vocabulary;
    c.inner = 2 * size.width;
    c.dt_rank = (size.width + 15) / 16;
    if (size.mixer == MixerKind::mamba2) {
      c.state = 128;
      c.heads = c.inner / c.head_width;
    }
    return c;
  }
  if (find_published(name) != nullptr) return published_description(name).config;
  fail("--random", fmt::format("one of {}", joined(named_sizes(), ", ")),
       fmt::format("\"{}\"{}", name, did_you_mean(name, named_sizes())));
}

ModelDescription random_description(std::string_view size, uint64_t seed) {
  ModelDescription out;
  if (find_published(size) != nullptr) {
    out = published_description(size);
  } else {
    out.config = named_config(size);
    out.dialect = "state-spaces";
  }
  out.name = "random " + std::string(size);
  out.embedded = std::make_shared<const ModelDescription::Embedded>(
      ModelDescription::Embedded{random_weights(out.config, seed), ""});
  return out;
}

}  // namespace scute
