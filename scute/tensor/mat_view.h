// A view of rows × columns with a stride; owns nothing.
#pragma once

#include <cstdint>
#include <type_traits>

namespace scute {

/// Row-major: element (r, c) is at data[r·stride + c]; stride ≥ cols, in elements.
template <class T>
struct MatView {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  MatView() = default;
  MatView(T* d, int64_t r, int64_t c) : data(d), rows(r), cols(c), stride(c) {}
  MatView(T* d, int64_t r, int64_t c, int64_t s) : data(d), rows(r), cols(c), stride(s) {}
  /// A mutable view reads as a constant one.
  operator MatView<const T>() const requires(!std::is_const_v<T>) {
    return {data, rows, cols, stride};
  }

  T* row(int64_t r) const { return data + r * stride; }
  MatView columns(int64_t first, int64_t count) const {
    return {data + first, rows, count, stride};
  }
  MatView slice_rows(int64_t first, int64_t count) const {
    return {row(first), count, cols, stride};
  }
  int64_t size() const { return rows * cols; }
};

}  // namespace scute
