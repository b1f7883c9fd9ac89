// A weight matrix as integer codes and scales, and rounding to nearest.
#pragma once

#include <cstdint>
#include <string_view>

#include "scute/base/threads.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// Bits of a matrix, and which weights share a scale.
struct WeightFormat {
  enum class Granularity {
    per_tensor,   ///< one scale (8 bit only; Quamba's way)
    per_channel,  ///< one scale an output
    per_group,    ///< one scale for each `group` inputs of an output
  };
  int bits = 8;  ///< 8 or 4
  Granularity granularity = Granularity::per_channel;
  int64_t group = 128;     ///< inputs that share a scale; divides the inputs (per_group)
  bool two_level = false;  ///< 4 bit for 8-bit activations: also a scale per output, see below

  /// The group that a matrix of so many inputs gets: `group` where it divides them or is no
  /// smaller; else the largest power of two that divides both, if that is 16 or more; else `group`,
  /// which check() refuses.
  static int64_t fitting_group(int64_t inputs, int64_t group);
  /// 4 bits in groups of `group`, or per output where there are no more inputs than that.
  static WeightFormat four_bit(int64_t inputs, int64_t group, bool two_level);
  /// Error naming `where`: bits not 8 or 4, per_tensor with 4 bits, a group that does not divide
  /// (naming one that does), two levels with 8 bits.
  void check(int64_t inputs, std::string_view where) const;
  /// Inputs that share a scale.
  int64_t group_inputs(int64_t inputs) const;
};

/// W[o, k] ≈ codes[o, k] · scales[o, k / group]; codes −2^(bits−1) … 2^(bits−1) − 1.
///
/// Two-level (QQQ, Zhang et al. 2024, §3.2; Quamba2's W4A8): products are formed with the 8-bit
/// weight q8 = saturate(round half to even(code · scale / channel_scale)) and W ≈ q8 ·
/// channel_scale[o], so that the sum over all inputs is one exact integer.
struct QuantizedWeight {
  WeightFormat format;
  Tensor codes;           ///< outputs × inputs, i8
  Tensor scales;          ///< outputs × groups, f32 (1 × 1 per tensor). 4 bit: f16 numbers, ±
  Tensor channel_scales;  ///< outputs × 1, f32; empty unless two-level

  int64_t outputs() const { return codes.dim(0); }
  int64_t inputs() const { return codes.dim(1); }
};

/// The real numbers that are multiplied by, outputs × inputs, f32: two-level weights through their
/// 8-bit form.
Tensor dequantize(const QuantizedWeight& weight);
/// One code and one scale per output (8 bit, per channel or per tensor, or two-level): what an
/// integer product needs. Scales outputs × 1. Error for 4 bit without a second level.
QuantizedWeight as_int8(const QuantizedWeight& weight);

/// Rounds to nearest. Scales: of 8 bits max |w| / 127; of 4 bits the one of 43 candidates, between
/// 0.6 and 1 times ±max |w| / 7 (and Quamba's max·2/15), with the least squared error of its group.
/// A negative scale lets a group's largest positive weight have the code −8, where 7 would cut it.
/// All-zero groups get a tiny positive scale and zero codes. Error naming `where` for NaN or
/// infinite weights and for formats that do not fit. `team` helps with the outputs. `largest`: of
/// some outputs of a matrix with one scale, the largest magnitude in all of it; 0: that of these.
QuantizedWeight quantize_nearest(const Tensor& weight, const WeightFormat& format,
                                 std::string_view where, const Team& team = {}, float largest = 0);
/// The channel scales of a two-level weight from its codes and scales: max |code · scale| / 127
/// over each output. Rounding and GPTQ both end with it.
void add_channel_scales(QuantizedWeight& weight);

/// 4-bit codes as compressed-tensors packs them: offset by 8, a dense little-endian bit stream
/// along the inputs, rows padded to whole I32 words: outputs × ⌈inputs·4/32⌉.
Tensor pack_int4(const Tensor& codes);
/// The inverse; Error naming `where` when the words do not fit (outputs, inputs) or padding bits
/// are set.
Tensor unpack_int4(const Tensor& packed, int64_t outputs, int64_t inputs, std::string_view where);

}  // namespace scute
