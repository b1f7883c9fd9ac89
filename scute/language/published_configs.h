// The configs of released hybrids and 7B models, in their own words: what `--random NAME` builds.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace scute {

struct PublishedConfig {
  std::string_view name;
  std::string json;          ///< config.json, as far as it decides shapes and numbers
  std::string_view assumed;  ///< what in it was not seen published; empty: nothing
};

/// All of them.
std::span<const PublishedConfig> published_configs();

}  // namespace scute
