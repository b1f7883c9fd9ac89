// A view of rows × columns with a stride; owns nothing.
#pragma once

#include <cstdint>
#include <type_traits>

namespace scute {

/// Row-major: element (r, c) is at data[r·stride + c]; stride ≥ cols, in elements. `data` may be
/// null when there is no element; every part of such a view is null too.
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
  MatView columns(int64_t first, int64_t count) const { return {at(first), rows, count, stride}; }
  MatView slice_rows(int64_t first, int64_t count) const {
    return {at(first * stride), count, cols, stride};
  }
  int64_t size() const { return rows * cols; }

 private:
  // A null pointer must not be moved, not even by what nobody reads.
  T* at(int64_t offset) const { return data == nullptr ? nullptr : data + offset; }
};

}  // namespace scute
