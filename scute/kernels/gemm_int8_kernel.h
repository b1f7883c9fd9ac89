// The steps of our own int8 products that each instruction set has its way of: internal to this
// folder.
//
// Weights lie in panels of 32 outputs, w[k / 4][o][k % 4]: four inputs of an output side by side
// are what VNNI multiplies and adds at once, two tiles of AMX are 64 inputs, and others widen to 16
// bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "scute/kernels/gemm_int8_impl.h"

namespace scute {

inline constexpr int64_t kInt8Panel = GemmInt8::kOutputTile;
/// Inputs of one output that a panel holds side by side.
inline constexpr int64_t kInt8Quad = 4;
/// Prepared rows are whole blocks of so many inputs, and so are groups of 4-bit codes: 32 bytes of
/// them, input j below input j + 32.
inline constexpr int64_t kInt8Block = 64;
/// At most so many rows at once.
inline constexpr int64_t kInt8MostRows = 32;

/// Bytes of a slice of a panel at most: three quarters of a first-level cache.
inline constexpr int64_t kInt8SliceBytes = 24 * 1024;

/// Some rows of prepared inputs and one panel. The rows lie as they are read, with
/// side = Int8Kernel::side_by_side as x[k / side][row][k % side].
struct Int8Rows {
  const std::byte* x;
  int64_t rows;          ///< 1 … Int8Kernel::rows
  const int32_t* start;  ///< what the sums of each row start from; null: 0
  const int8_t* w;
  const std::byte* slice;  ///< what load_slice() made of w, unless alone
  int64_t quads;
  bool alone;                         ///< the only row there is, and prepared as such
  std::span<const int8_t> next = {};  ///< of later slices, to be asked for meanwhile
};

/// Sums of some rows and at most a panel, on their way to y.
struct Int8Sums {
  const int32_t* sums;
  int64_t stride;
  bool resumes;  ///< y holds the sums of the inputs before, to which these are added
  bool ends;     ///< no inputs follow: y gets its final form
};

/// 4-bit codes of some outputs, one after the other. The 8-bit code is saturate(round half to
/// even(code · multiplier)), the multiplier of its group within ±128.
struct Int4Outputs {
  const uint8_t* codes;  ///< blocks of 32 bytes
  const float* multipliers;
  int64_t blocks;  ///< of an output
  int64_t groups;  ///< of an output; each has blocks / groups

  Int4Outputs from(int64_t output) const {
    Int4Outputs out = *this;
    out.codes += output * blocks * (kInt8Block / 2);
    out.multipliers += output * groups;
    return out;
  }
};

struct Int8Kernel {
  std::string_view name, int4_name;
  int64_t rows;                      ///< of a register block
  int64_t row_unit = 1;              ///< rows lie in blocks of `rows`, the last of a multiple of it
  int64_t side_by_side = kInt8Quad;  ///< inputs of a prepared row
  int64_t code_bytes;                ///< of a prepared input: an int8 or an int16
  int64_t panel_inputs = 2 * kInt8Quad;  ///< a panel has a multiple of so many
  bool tiles = false;  ///< whether multiply() of several rows wants Tiles around it
  uint8_t flip;        ///< xor of stored weights: 128 where they are taken as unsigned

  /// `count` codes, a multiple of 64, as they are multiplied: those of one of `rows` rows.
  void (*prepare)(const int8_t* x, int64_t count, int64_t rows, std::byte* to);
  /// What they add to the start of their row's sums; null: 0.
  int32_t (*start)(const int8_t* x, int64_t count, bool alone);
  /// The first of `slice_outputs` outputs at w, an even number of quads of a panel, as several rows
  /// are multiplied by them; null: as they lie.
  void (*load_slice)(const int8_t* w, int64_t quads, std::byte* to);
  int64_t slice_outputs;
  int64_t slice_quads;  ///< at most
  /// sums[r][o], 32 outputs a row, or those of a slice.
  void (*multiply)(const Int8Rows& rows, int32_t* sums);
  /// Writes sums of y.rows × y.cols to y.
  void (*finish)(const Int8Sums& sums, const Int8Output& y);
  /// The blocks [first, first + count) of 32 outputs as a panel.
  void (*widen)(const Int4Outputs& weight, int64_t first, int64_t count, uint8_t flip, int8_t* w);
  /// One row of inputs, prepared by prepare_row, times `count` outputs in 4 bits; null without such
  /// a kernel.
  void (*multiply_row)(const std::byte* x, int32_t start, const Int4Outputs& weight, int64_t count,
                       int32_t* sums);
  /// Returns what the codes add to the start of the row's sums.
  int32_t (*prepare_row)(const int8_t* x, int64_t count, std::byte* to);
};

/// Of the best instruction set that Highway finds.
const Int8Kernel& highway_int8_kernel();
/// With those products.
Int8Kernel int8_kernel(Int8Products products);

}  // namespace scute
