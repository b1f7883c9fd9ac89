// The two passes of the statistic: counting bit patterns, and scanning for extremes.
#pragma once

#include <cstdint>

namespace scute {

/// Number of entries of a table for `fine` mantissa bits: sign, 8 exponent bits, fine bits.
constexpr int64_t bucket_table_size(int fine) { return int64_t{1} << (9 + fine); }

/// table[bits(x) >> (23 − fine)] += 1 for each of n < 2^32 values. Counters must not overflow: the
/// caller empties the table at least every 2^32 − 1 values.
void count_buckets(const float* x, int64_t n, int fine, uint32_t* table) noexcept;

/// What one pass over values finds. min, max and the magnitudes are of the finite values only;
/// without any they keep their initial values.
struct ValueScan {
  float min = __builtin_inff();
  float max = -__builtin_inff();
  float smallest_nonzero = __builtin_inff();  ///< magnitude
  int64_t zeros = 0;                          ///< +0 and −0
  int64_t nans = 0;
  int64_t infs = 0;
  uint32_t bits_or = 0;  ///< all bit patterns or'ed: low bits zero throughout mean a coarser type

  void merge(const ValueScan& other);
};
ValueScan scan_values(const float* x, int64_t n) noexcept;
/// Both at once, in the time of count_buckets. The n values at `next`, or what there is of them,
/// are fetched meanwhile: those that will be looked at next, which may be in no cache near.
ValueScan scan_and_count(const float* x, int64_t n, int fine, uint32_t* table,
                         const float* next = nullptr) noexcept;

/// into[c] = max(into[c], |x[r, c]|) over the rows; NaN is ignored.
void column_absmax(const float* x, int64_t rows, int64_t cols, int64_t stride,
                   float* into) noexcept;
/// sum[c] += |x[r, c]| over the rows in order, in double.
void column_abssum(const float* x, int64_t rows, int64_t cols, int64_t stride,
                   double* sum) noexcept;

}  // namespace scute
