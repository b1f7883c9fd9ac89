// Mamba-2's heads and channels in groups of similar size (Quamba2, §4.2), so that each group can
// have a scale of its own.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "scute/tensor/tensor.h"

namespace scute {

/// 4 groups of heads in each SSD group, 4 groups of channels in each of these.
constexpr int64_t kHeadGroups = 4, kChannelGroups = 4;

/// The grouping of one layer with G SSD groups, H heads of width P. Orders say which old element
/// comes to each new place.
struct HeadGrouping {
  int64_t groups = 1, heads = 0, head_width = 0;
  std::vector<int32_t> head_order;     ///< H; heads stay in their SSD group
  std::vector<int32_t> channel_order;  ///< H·P, absolute; channels stay with their head
  std::vector<int32_t> head_ends;      ///< G × 4: cumulative heads within the SSD group
  std::vector<int32_t> channel_ends;   ///< G × 4 × 4: cumulative channels within a head

  /// Which of the G·4·4 scales the channel at a new place has.
  int64_t scale_of(int64_t channel) const;
  /// The largest of `values` ≥ 0 (H·P, or H·P × N for states; in the old order, or in the new one
  /// when there are no orders) in each group: G·4·4 (× N); 0 for an empty group.
  std::vector<float> group_maxima(std::span<const float> values, int64_t per_channel = 1) const;
  /// One number per group spread to H·P (× N) in the new order.
  std::vector<float> spread(std::span<const float> scales, int64_t per_channel = 1) const;
};

/// Per head its channels are sorted by magnitude, ascending, and the sorted profile is normalized;
/// profiles are clustered (Ward) into at most 4 head groups per SSD group; within a head group the
/// P sorted places are clustered into 4 consecutive ranges with the least squared distance to their
/// mean over the heads *of that group* (Quamba's code reads the rows where the group's heads stand
/// after reordering from the table before it: the profiles of other heads). With fewer than 4 heads
/// (or P < 4) the last groups are empty: their ends repeat. A head that is all zero joins the first
/// group. Head groups are numbered by their first head; of equally good unions or ranges the first
/// are taken; a group without heads has channel ends of P. channel_meanabs: H·P, each ≥ 0 and
/// finite, else Error naming `where`; also when H is not a multiple of G.
HeadGrouping group_heads(std::span<const float> channel_meanabs, int64_t heads, int64_t head_width,
                         int64_t groups, std::string_view where);

/// Checks ends read from a file: ascending, within bounds, the last ones H/G and P; Error naming
/// `where`. Orders are left empty: what is stored is already in the new order.
HeadGrouping grouping_from_ends(std::vector<int32_t> head_ends, std::vector<int32_t> channel_ends,
                                int64_t heads, int64_t head_width, int64_t groups,
                                std::string_view where);

/// Rows of a tensor of any rank in a new order: out[i] = in[order[i]] along the first dimension.
Tensor permute_rows(const Tensor& tensor, std::span<const int32_t> order);

}  // namespace scute
