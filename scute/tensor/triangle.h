// The upper triangle of a square matrix, in half of its memory.
#pragma once

#include <algorithm>
#include <cstdint>

#include "scute/tensor/mat_view.h"

namespace scute {

/// Rows one after the other, each from its diagonal on; owns nothing.
template <class T>
struct TriangleView {
  T* data = nullptr;
  int64_t size = 0;  ///< rows, and columns

  static constexpr int64_t count(int64_t size) { return size * (size + 1) / 2; }
  /// Element (r, c), c ≥ r, is row(r)[c].
  T* row(int64_t r) const { return data + r * (2 * size - r - 1) / 2; }
};

/// Calls visit(r, c) for every c < r of a square of that size, a tile at a time: two tiles of 8 KiB
/// of doubles, (r, c) and (c, r), stay in the first cache.
template <class Visit>
void for_below_diagonal(int64_t size, const Visit& visit) {
  constexpr int64_t kTile = 32;
  for (int64_t r0 = 0; r0 < size; r0 += kTile) {
    for (int64_t c0 = 0; c0 <= r0; c0 += kTile) {
      for (int64_t r = r0; r < std::min(r0 + kTile, size); ++r) {
        for (int64_t c = c0; c < std::min(c0 + kTile, r); ++c) visit(r, c);
      }
    }
  }
}

/// Writes the upper triangle over the lower.
template <class T>
void mirror(MatView<T> square) {
  for_below_diagonal(square.rows,
                     [&](int64_t r, int64_t c) { square.row(r)[c] = square.row(c)[r]; });
}

}  // namespace scute
