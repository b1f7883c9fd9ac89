// What the percentile pipeline of a vision-language model is asked to do: file, then environment,
// then flags.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scute/base/json.h"
#include "scute/decide/buckets.h"

namespace scute {

/// What the percentile pipeline is asked for, in a file, the environment or flags.
struct PercentileOptions {
  bool enabled = true;  ///< false: a configuration that switches the pipeline off
  std::vector<std::string> targets = bucket_names();
  std::string images;  ///< folder; empty: not given
  std::string stats_out = "outputs/percentile_stats.pt";
  std::string overrides_json;                      ///< also the decided ranges; empty: not given
  int64_t batches = 8, batch_size = 4;             ///< at least 1
  int64_t text_len = 16;                           ///< token ids a picture, at least 1
  std::optional<int64_t> img_size = {};            ///< must equal the model's; nothing: the model's
  std::optional<double> percentile_override = {};  ///< 50 … 100
  std::string prompts;                             ///< file; empty: not given
  bool random_text = true;                         ///< random ids where there are no prompts
  int64_t max_samples_per_batch = 0;               ///< values kept of a batch; 0: all
  uint64_t seed = 42;                              ///< of the random ids and of that choice

  bool operator==(const PercentileOptions&) const = default;
};

/// A canonical name from one that people write: case, '/' for '.' and a leading "vision_backbone."
/// do not matter, and siglip, siglip_featurizer, dino, dinov2, dino_featurizer, language, mamba,
/// mm_projector and the like mean the one bucket they can. Error naming the four and the nearest.
std::string normalize_target(std::string_view name);
/// Several, separated by commas; each once, in the order given; none: all four.
std::vector<std::string> parse_targets(std::string_view csv);

/// `base` with the members of a JSON object. Keys are the struct's, targets a list or
/// comma-separated, device only "cpu"; null and an empty string leave a text or an optional number
/// not given. Error naming `where` and the key: the nearest one for a key that does not exist, the
/// type or the range that was expected.
PercentileOptions percentile_options_from_json(const Json& json, std::string_view where,
                                               PercentileOptions base = {});
Json to_json(const PercentileOptions& options);

/// A variable's text, nothing when it is not set.
using Lookup = std::function<std::optional<std::string>(const std::string& name)>;
/// `base` with SCUTE_PCT_TARGETS (comma-separated), SCUTE_PCT_BATCHES and so on: the keys of the
/// file in capitals; empty ones count as not set. Flags are 1, true, yes, on or 0, false, no, off.
/// Error naming the variable. The library reads no environment: `lookup` does.
PercentileOptions apply_environment(PercentileOptions base, const Lookup& lookup);

}  // namespace scute
