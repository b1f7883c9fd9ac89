#include "scute/language/reorder.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"
#include "scute/quantize/grouping.h"

namespace scute {
namespace {

/// `values`: max |x| of every channel (or channel and state column).
ReorderEffect effect_of(std::string site, const HeadGrouping& grouping,
                        const std::vector<float>& values, int64_t per_channel) {
  ReorderEffect out{.site = std::move(site)};
  for (const float value : values) out.before = std::max(out.before, static_cast<double>(value));
  const auto ranges = grouping.spread(grouping.group_maxima(values, per_channel), per_channel);
  for (const float range : ranges) out.after += static_cast<double>(range);
  out.after /= static_cast<double>(ranges.size());
  out.reduction = out.before > 0 ? 1 - out.after / out.before : 0;
  return out;
}

}  // namespace

std::vector<ReorderEffect> reorder_effect(const ModelDescription& model,
                                          const StatisticsSet& statistics) {
  const MambaConfig& config = model.config;
  if (config.mixer != MixerKind::mamba2) {
    fail(model.path, "a Mamba-2 model, whose heads can be grouped", "another");
  }
  std::vector<ReorderEffect> out;
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string x = fmt::format("layer_{}.x_conv_out:input", i);
    const auto seen = statistics.sites.find(x);
    if (seen == statistics.sites.end()) fail("statistics", "the site " + x, "none");
    const Statistic& statistic = seen->second;
    const auto channels = static_cast<size_t>(config.inner);
    if (statistic.channel_absmax.size() != channels ||
        statistic.channel_meanabs.size() != channels) {
      fail("statistics", fmt::format("magnitudes of {} channels at {}", channels, x),
           "others; collect again with this version");
    }
    const HeadGrouping grouping =
        group_heads(statistic.channel_meanabs, config.heads, config.head_width, config.groups, x);
    out.push_back(effect_of(x, grouping, statistic.channel_absmax, 1));
    for (const char* which : {"steps", "input"}) {
      const auto state = statistics.sites.find(fmt::format("layer_{}.ssm_state_act:{}", i, which));
      if (state == statistics.sites.end() ||
          state->second.element_absmax.size() != channels * static_cast<size_t>(config.state)) {
        continue;
      }
      out.push_back(effect_of(fmt::format("layer_{}.ssm_state_act:input", i), grouping,
                              state->second.element_absmax, config.state));
      break;
    }
  }
  return out;
}

}  // namespace scute
