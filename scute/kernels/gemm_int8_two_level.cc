// Our own int8 products with weights kept in 4 bits and two levels of scales.
#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "scute/kernels/gemm_int8_own.h"

namespace scute {
namespace {

/// Blocks of 4-bit codes widened at a time: 24 KB of a panel, three quarters of a first-level
/// cache.
constexpr int64_t kWidenedBlocks = 12;
constexpr int64_t kLineBytes = 64;
static_assert(kWidenedBlocks * kInt8Block * 16 * 2 <= kInt8SliceBytes, "a slice of 16 outputs");

float saturated(float q) { return std::nearbyint(std::clamp(q, -128.0f, 127.0f)); }
float eight_bit_code(int code, float scale, float channel_scale) {
  return saturated(static_cast<float>(code) * scale / channel_scale);
}

/// One group of 4-bit codes: which of them there are, and its scales.
struct CodeGroup {
  std::span<const int8_t> codes;
  float scale, channel_scale;

  /// Calls act(code) once for each code that occurs, until it returns false; whether it never did.
  template <class Act>
  bool all_of(const Act& act) const {
    uint32_t seen = 0;
    for (const int8_t code : codes) seen |= uint32_t{1} << (code + 8);
    for (int code = -8; code < 8; ++code) {
      if ((seen >> (code + 8) & 1) != 0 && !act(code)) return false;
    }
    return true;
  }
  bool reproduced_by(float multiplier) const {
    return all_of([&](int code) {
      return saturated(static_cast<float>(code) * multiplier) ==
             eight_bit_code(code, scale, channel_scale);
    });
  }
};

/// A number that gives the 8-bit codes of a group by one multiplication each: the ratio of the
/// scales or a neighbour of it. NaN where there is none, which takes two codes whose quotients lie
/// within 2^-22 of halves: scales of 16 bits have none but the exact halves, which come out alike.
float multiplier_of(const CodeGroup& group) {
  constexpr int kNeighbours = 4;
  // Beyond 128 every code but 0 saturates, as it does at 128.
  const float ratio = std::clamp(group.scale / group.channel_scale, -128.0f, 128.0f);
  float above = ratio, below = ratio;
  for (int i = 0; i <= kNeighbours; ++i) {
    if (group.reproduced_by(above)) return above;
    if (group.reproduced_by(below)) return below;
    above = std::nextafter(above, 128.0f);
    below = std::nextafter(below, -128.0f);
  }
  return std::numeric_limits<float>::quiet_NaN();
}

CodeGroup code_group(const TwoLevelCodes& weight, size_t index) {
  const auto size = static_cast<size_t>(weight.inputs() / weight.groups());
  const size_t output = index / static_cast<size_t>(weight.groups());
  return {weight.codes.values<int8_t>().subspan(index * size, size),
          weight.scales.values<float>()[index], weight.channel_scales.values<float>()[output]};
}

/// One for each group; empty where a group has none.
Tensor multipliers_of(const TwoLevelCodes& weight) {
  Tensor out(DType::f32, weight.scales.shape());
  const auto to = out.mutable_values<float>();
  for (size_t i = 0; i < to.size(); ++i) {
    to[i] = multiplier_of(code_group(weight, i));
    if (std::isnan(to[i])) return Tensor();
  }
  return out;
}

/// Two levels: codes[o][block] holds input j of the block below input j + 32.
class PackedInt4 final : public OwnInt8 {
 public:
  PackedInt4(const TwoLevelCodes& weight, const Tensor& multipliers, const Int8Kernel& kernel,
             PackedMemory* memory);

  std::string_view name() const override { return kernel().int4_name; }
  int64_t bytes() const override { return codes_.size() + 4 * multipliers_.size(); }

 protected:
  void multiply_panel(Int8Rows rows, int64_t panel, const Int8Output& y) const override;
  bool multiply_row(const Int8Rows& row, int64_t panel, const Int8Output& y) const override;
  bool has_row_kernel() const override { return kernel().multiply_row != nullptr; }

 private:
  Int4Outputs panel(int64_t index) const {
    const Int4Outputs all{codes_.values<uint8_t>().data(), multipliers_.values<float>().data(),
                          blocks(), multipliers_.dim(1)};
    return all.from(index * kInt8Panel);
  }

  Tensor codes_, multipliers_;  // of whole panels
};

PackedInt4::PackedInt4(const TwoLevelCodes& weight, const Tensor& multipliers,
                       const Int8Kernel& kernel, PackedMemory* memory)
    : OwnInt8(kernel, weight.inputs(), weight.inputs() / weight.groups()) {
  const int64_t outputs = weight.outputs(), padded = int8_panels(outputs) * kInt8Panel;
  const int64_t groups = weight.groups(), group = inputs() / groups, in_group = blocks() / groups;
  constexpr int64_t kHalf = kInt8Block / 2;
  codes_ = Tensor(DType::u8, {padded, blocks(), kHalf});
  multipliers_ = Tensor(DType::f32, {padded, groups});
  std::ranges::copy(multipliers.values<float>(), multipliers_.mutable_values<float>().begin());
  const auto from = weight.codes.values<int8_t>();
  uint8_t* to = codes_.mutable_values<uint8_t>().data();
  for (int64_t o = 0; o < outputs; ++o) {
    for (int64_t k = 0; k < inputs(); ++k) {
      const int64_t at = k / group * in_group * kInt8Block + k % group, j = at % kInt8Block;
      uint8_t& both = to[(o * blocks() + at / kInt8Block) * kHalf + j % kHalf];
      const int nibble = from[static_cast<size_t>(o * inputs() + k)] & 15;
      both = static_cast<uint8_t>(both | nibble << (j < kHalf ? 0 : 4));
    }
  }
  codes_ = kept_by(memory, std::move(codes_));
  multipliers_ = kept_by(memory, std::move(multipliers_));
}

void PackedInt4::multiply_panel(Int8Rows rows, int64_t panel_index, const Int8Output& y) const {
  alignas(kLineBytes) int8_t w[kWidenedBlocks * kInt8Block * kInt8Panel];
  const Int4Outputs weight = panel(panel_index);
  rows.w = w;
  for (int64_t b = 0; b < blocks(); b += kWidenedBlocks) {
    const int64_t count = std::min(kWidenedBlocks, blocks() - b);
    kernel().widen(weight, b, count, kernel().flip, w);
    rows.quads = count * kInt8Block / kInt8Quad;
    multiply_part(rows, b * (kInt8Block / kInt8Quad), y, b + count == blocks());
    rows.start = nullptr;
  }
}

bool PackedInt4::multiply_row(const Int8Rows& row, int64_t panel_index, const Int8Output& y) const {
  if (!has_row_kernel()) return false;
  int32_t sums[kInt8Panel];
  for (int64_t o = 0; o < y.cols; o += kInt8Panel, ++panel_index) {
    const int64_t count = std::min(kInt8Panel, y.cols - o);
    kernel().multiply_row(row.x, row.start[0], panel(panel_index), count, sums);
    kernel().finish({sums, kInt8Panel, false, true}, y.part(0, 1, o, count));
  }
  return true;
}

}  // namespace

Tensor eight_bit_codes(const TwoLevelCodes& weight) {
  Tensor out(DType::i8, weight.codes.shape());
  const auto from = weight.codes.matrix<int8_t>();
  const auto to = out.mutable_matrix<int8_t>();
  const int64_t groups = weight.groups();
  for (int64_t o = 0; o < from.rows; ++o) {
    const float* scales = weight.scales.values<float>().data() + o * groups;
    const float channel_scale = weight.channel_scales.values<float>()[static_cast<size_t>(o)];
    for (int64_t k = 0; k < from.cols; ++k) {
      const float scale = scales[k / (from.cols / groups)];
      to.row(o)[k] = static_cast<int8_t>(eight_bit_code(from.row(o)[k], scale, channel_scale));
    }
  }
  return out;
}

std::shared_ptr<const GemmInt8::Impl> make_own_gemm_int8(const TwoLevelCodes& weight,
                                                         Int8Products products,
                                                         PackedMemory* memory) {
  const int64_t outputs = weight.outputs(), inputs = weight.inputs();
  if (outputs == 0 || inputs == 0) return nullptr;
  const int64_t groups = weight.groups(),
                padded = int8_round_up(inputs / groups, kInt8Block) * groups;
  if (padded / 2 + 4 * groups > inputs * 4 / 5) return nullptr;
  const Tensor multipliers = multipliers_of(weight);
  if (multipliers.size() == 0) return nullptr;
  return std::make_shared<PackedInt4>(weight, multipliers, int8_kernel(products), memory);
}

}  // namespace scute
