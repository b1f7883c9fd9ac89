#include "scute/language/rotations.h"

#include <algorithm>

#include "scute/quantize/rotation.h"

namespace scute {

Scheme rotations(const MambaConfig& config, bool asked) {
  Scheme out;
  if (!asked) return out;
  const auto has = [&](PartKind kind) {
    return std::ranges::any_of(config.blocks,
                               [kind](const BlockConfig& block) { return block.has(kind); });
  };
  const bool mixes = config.blocks.empty() || has(PartKind::mixer);
  const std::vector<int64_t> widths = config.feed_forward_widths();
  // Zamba2's blocks read two streams side by side, which two rotations would have to meet.
  out.rotated_stream = can_rotate(config.width) && config.shared.count == 0;
  out.rotated_out_proj = mixes && can_rotate(config.inner);
  out.rotated_down_proj = !widths.empty() && std::ranges::all_of(widths, can_rotate);
  out.rotated_experts = has(PartKind::experts) && can_rotate(config.experts.inner);
  const int64_t latent = config.experts.latent;
  out.rotated_latent = has(PartKind::experts) && latent > 0 && can_rotate(latent);
  out.folded_head = out.rotated_stream && !config.tied_head;
  return out;
}

}  // namespace scute
