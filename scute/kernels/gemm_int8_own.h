// What the ways to keep the weights of our own int8 products share: internal to this folder.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "scute/kernels/gemm_int8_kernel.h"

namespace scute {

inline int64_t int8_round_up(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}
inline int64_t int8_panels(int64_t outputs) { return (outputs + kInt8Panel - 1) / kInt8Panel; }

/// Prepared inputs, and products of rows and panels.
///
/// Prepared: what the sums of each row start from, then the rows, as many together as the kernel
/// takes. Each group of inputs is followed by zeros up to whole blocks.
class OwnInt8 : public GemmInt8::Impl {
 public:
  OwnInt8(const Int8Kernel& kernel, int64_t inputs, int64_t group)
      : kernel_(kernel),
        inputs_(inputs),
        group_(std::max<int64_t>(group, 1)),
        blocks_(inputs / group_ * (int8_round_up(group_, kInt8Block) / kInt8Block)) {}

  int64_t input_bytes(int64_t rows) const override {
    return starts(rows) + rows_laid_out(rows) * row_bytes();
  }
  void prepare(MatView<const int8_t> x, int64_t first, int64_t count,
               std::byte* to) const noexcept override;
  void multiply(const std::byte* inputs, int64_t first,
                const Int8Output& y) const noexcept override;

 protected:
  /// One panel and all rows.
  virtual void multiply_panel(Int8Rows rows, int64_t panel, const Int8Output& y) const = 0;
  /// One row and any number of outputs, from panel on; false where there is no such kernel.
  virtual bool multiply_row(const Int8Rows&, int64_t, const Int8Output&) const { return false; }
  virtual bool has_row_kernel() const { return false; }
  /// All rows and the `quads` of a panel from w on, of which first_quad is the first.
  void multiply_part(const Int8Rows& rows, int64_t first_quad, const Int8Output& y,
                     bool ends) const;
  /// Whether a panel is multiplied in slices, rather than as it lies.
  bool slices(const Int8Rows& rows) const;
  /// Whether the weights that come next are asked for meanwhile: slices and tiles pass a panel
  /// faster than the third-level cache delivers the next one.
  bool fetches_ahead(const Int8Rows& rows) const;
  /// Of the quads of a panel, as many as multiply_part() takes: parts of about the same size.
  int64_t quads_together(const Int8Rows& rows, int64_t quads) const;

  const Int8Kernel& kernel() const { return kernel_; }
  int64_t blocks() const { return blocks_; }
  int64_t inputs() const { return inputs_; }

 private:
  static int64_t starts(int64_t rows) { return int8_round_up(rows * 4, 64); }
  /// Of the rows that are left: with those that fill up the last block, which nobody writes and
  /// whose sums nobody reads.
  int64_t rows_laid_out(int64_t rows) const {
    return rows == 1 ? 1 : int8_round_up(rows, kernel_.row_unit);
  }
  int64_t row_bytes() const { return blocks_ * kInt8Block * kernel_.code_bytes; }
  int32_t prepare_row(const int8_t* x, int64_t rows, bool alone, std::byte* to) const;
  int64_t rows_together(int64_t rows) const;
  void multiply_blocks(Int8Rows rows, int64_t first_quad, const Int8Output& y, bool ends) const;

  Int8Kernel kernel_;
  int64_t inputs_, group_, blocks_;
};

}  // namespace scute
