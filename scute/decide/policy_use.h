// Which options a policy reads, so that one that nothing reads is refused, not dropped.
#pragma once

#include <string_view>

#include "scute/decide/policy.h"

namespace scute {

/// Whether a share given beside the policy is kept: percentile and quamba without one of their own.
/// Error when `text` is no policy.
inline bool takes_share(std::string_view text) {
  if (text.find(':') != std::string_view::npos) return false;
  const PolicyKind kind = Policy::parse(text).kind;
  return kind == PolicyKind::percentile || kind == PolicyKind::quamba;
}

/// Whether the percentile of the tail's rules can be overridden.
inline bool picks_by_tail(const Policy& policy) {
  return policy.kind == PolicyKind::tail && !policy.percentile_override;
}

/// Whether what is cut may be cut on each side.
inline bool cuts_sides(const Policy& policy) {
  return policy.kind == PolicyKind::automatic || policy.kind == PolicyKind::percentile ||
         policy.kind == PolicyKind::quamba || policy.kind == PolicyKind::tail;
}

}  // namespace scute
