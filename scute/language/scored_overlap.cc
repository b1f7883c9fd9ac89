#include "scute/language/scored_overlap.h"

#include <algorithm>
#include <span>

namespace scute {

Overlap scored_overlap(const Windows& calibration, const ScoreWork& work,
                       const ScoreOptions& options) {
  WindowHashes seen(kSharedTokens);
  for (const Window& window : calibration.windows) seen.add(window.ids);
  Overlap out{.units = 0, .shared = 0, .length = kSharedTokens};
  if (!work.stream.empty()) {
    const PerplexityOptions& windows = options.windows;
    const int64_t last = (work.windows(windows) - 1) * windows.stride + windows.window;
    const auto tokens = std::clamp<int64_t>(last, 0, std::ssize(work.stream));
    out.add(seen.find(std::span(work.stream).first(static_cast<size_t>(tokens))));
  }
  for (const LastWordItem& item : work.items) {
    out.add(seen.find(scored_ids(item, options.max_context)));
  }
  return out;
}

}  // namespace scute
