#include "scute/language/reorder.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "scute/base/error.h"
#include "scute/quantize/grouping.h"
#include "scute/recipe/ranges.h"

namespace scute {
namespace {

/// `values`: max |x| of every channel (or channel and state column).
ReorderEffect effect_of(std::string site, const HeadGrouping& grouping,
                        const std::vector<float>& values, int64_t per_channel, const Plan& plan) {
  const auto planned = plan.sites.find(site);
  const double most = planned == plan.sites.end() ? std::numeric_limits<double>::infinity()
                                                  : magnitude_of(planned->second);
  ReorderEffect out{.site = std::move(site)};
  for (const float value : values) out.before = std::max(out.before, static_cast<double>(value));
  out.before = std::min(out.before, most);
  const auto ranges = grouping.spread(grouping.group_maxima(values, per_channel), per_channel);
  for (const float range : ranges) out.after += std::min(static_cast<double>(range), most);
  out.after /= static_cast<double>(ranges.size());
  out.reduction = out.before > 0 ? 1 - out.after / out.before : 0;
  return out;
}

}  // namespace

Decision grouped_decision(const std::string& site, const Statistic& seen, const Decision* planned,
                          std::optional<double> percentile) {
  if (planned != nullptr && planned->policy.empty()) return *planned;
  Policy policy = Policy::parse(percentile ? "percentile" : "minmax");
  if (percentile) policy.alpha = *percentile;
  Decision out = decide(policy, site, seen, GridSpec{});
  out.because = percentile ? "each group of channels has a scale from its own largest magnitude, "
                             "at most this percentile of the whole site (--group-percentile)"
                           : "each group of channels has a scale from its own largest magnitude";
  return out;
}

Plan grouped_plan(Plan plan, const ModelDescription& model, const StatisticsSet& statistics,
                  std::optional<double> percentile) {
  for (int64_t i = 0; i < model.config.layers; ++i) {
    const auto decide_again = [&](const std::string& site, const std::string& measured) {
      const auto seen = statistics.sites.find(measured);
      if (seen == statistics.sites.end() || seen->second.finite() == 0) return false;
      const auto planned = plan.sites.find(site);
      const Decision* given = planned == plan.sites.end() ? nullptr : &planned->second;
      plan.sites[site] = grouped_decision(site, seen->second, given, percentile);
      return true;
    };
    const std::string layer = fmt::format("layer_{}.", i), state = layer + "ssm_state_act:";
    decide_again(layer + "x_conv_out:input", layer + "x_conv_out:input");
    if (!decide_again(state + "input", state + "steps")) {
      decide_again(state + "input", state + "input");
    }
  }
  return plan;
}

std::vector<ReorderEffect> reorder_effect(const ModelDescription& model,
                                          const StatisticsSet& statistics, const Plan& plan) {
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
    out.push_back(effect_of(x, grouping, statistic.channel_absmax, 1, plan));
    for (const char* which : {"steps", "input"}) {
      const auto state = statistics.sites.find(fmt::format("layer_{}.ssm_state_act:{}", i, which));
      if (state == statistics.sites.end() ||
          state->second.element_absmax.size() != channels * static_cast<size_t>(config.state)) {
        continue;
      }
      out.push_back(effect_of(fmt::format("layer_{}.ssm_state_act:input", i), grouping,
                              state->second.element_absmax, config.state, plan));
      break;
    }
  }
  return out;
}

}  // namespace scute
