// Rows of a recurrent state for the scans, floats or 8-bit codes; included once per instruction
// set.
#if defined(SCUTE_KERNELS_CODED_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCUTE_KERNELS_CODED_ROWS_INL_H_
#undef SCUTE_KERNELS_CODED_ROWS_INL_H_
#else
#define SCUTE_KERNELS_CODED_ROWS_INL_H_
#endif

#include <cstdint>

#include "scute/kernels/round-inl.h"
#include "scute/kernels/scan.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

/// Rows of a state of floats, as they are.
class FloatRows {
 public:
  explicit FloatRows(MatView<float> state) : state_(state) {}
  /// The rows [first, first + count) as floats.
  MatView<float> open(int64_t first, int64_t count) { return state_.slice_rows(first, count); }
  /// Keeps what open() returned last.
  void close() {}

 private:
  MatView<float> state_;
};

/// At most kMost rows of a state of codes at a time.
template <int64_t kMost>
class CodedRows {
 public:
  explicit CodedRows(const CodedState& state) : state_(state), uniform_(state.key.value_or(0)) {}
  HWY_INLINE MatView<float> open(int64_t first, int64_t count) {
    first_ = first;
    open_ = {values_, count, state_.codes.cols};
    for (int64_t r = 0; r < count; ++r) {
      rounding::open_row(state_.codes.row(first + r), first + r, open_.cols, state_.scales,
                         open_.row(r));
    }
    return open_;
  }
  HWY_INLINE void close() {
    for (int64_t r = 0; r < open_.rows; ++r) {
      const int64_t row = first_ + r;
      int8_t* codes = state_.codes.row(row);
      if (!state_.key) {
        rounding::nearest_row(open_.row(r), row, open_.cols, state_.scales, codes);
        continue;
      }
      const auto first = static_cast<uint32_t>(static_cast<uint64_t>(row * open_.cols));
      rounding::stochastic_row(open_.row(r), row, open_.cols, state_.scales, first, uniform_,
                               codes);
    }
  }
  const CodedState& state() const { return state_; }
  rounding::UniformBits& uniform() { return uniform_; }

 private:
  CodedState state_;
  rounding::UniformBits uniform_;
  int64_t first_ = 0;
  MatView<float> open_;
  HWY_ALIGN float values_[kMost * kCodedStates];
};

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#endif  // SCUTE_KERNELS_CODED_ROWS_INL_H_
