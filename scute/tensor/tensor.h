// A tensor: element type, shape, and shared memory that it keeps alive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "scute/tensor/dtype.h"
#include "scute/tensor/mat_view.h"

namespace scute {

/// Dimensions, the last one dense.
using Shape = std::vector<int64_t>;

/// Number of elements; Error naming `where` on overflow or a negative dimension.
int64_t element_count(const Shape& shape, std::string_view where);
/// "(2, 40, 64)".
std::string to_string(const Shape& shape);

/// Row-major and contiguous. Copies share the memory. The data pointer is aligned for the element
/// type, and to 64 bytes when this tensor allocated it.
class Tensor {
 public:
  Tensor();
  Tensor(const Tensor&);
  Tensor(Tensor&&) noexcept;
  Tensor& operator=(const Tensor&);
  Tensor& operator=(Tensor&&) noexcept;
  ~Tensor();
  /// New memory, all zero.
  Tensor(DType dtype, Shape shape);
  /// Memory of someone else, kept alive by `owner`, read only. `data` must be aligned for `dtype`
  /// and hold all elements.
  Tensor(DType dtype, Shape shape, std::shared_ptr<const void> owner, const std::byte* data);
  /// The same of a file's mapping, whose pages can be given back.
  static Tensor mapped(DType dtype, Shape shape, std::shared_ptr<const void> owner,
                       const std::byte* data);
  /// A copy of `values`, whose number must be that of `shape`.
  template <class T>
  static Tensor of(Shape shape, std::span<const T> values) {
    return of_bytes(dtype_of<T>(), std::move(shape), std::as_bytes(values));
  }
  static Tensor of_bytes(DType dtype, Shape shape, std::span<const std::byte> bytes);

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t rank() const { return static_cast<int64_t>(shape_.size()); }
  int64_t dim(int64_t axis) const { return shape_.at(static_cast<size_t>(axis)); }
  int64_t size() const { return size_; }
  std::span<const std::byte> bytes() const {
    return {data_, static_cast<size_t>(size_ * size_of(dtype_))};
  }

  /// Of a file's mapping: takes its pages out of memory until they are read again. From any thread.
  void give_back() const;

  /// The elements; Error when the element type is another.
  template <class T>
  std::span<const T> values() const {
    require(dtype_of<T>());
    return {reinterpret_cast<const T*>(data_), static_cast<size_t>(size_)};
  }
  /// As values(), writable; Error when the memory is borrowed.
  template <class T>
  std::span<T> mutable_values() {
    require(dtype_of<T>());
    return {reinterpret_cast<T*>(writable()), static_cast<size_t>(size_)};
  }
  /// Last dimension as columns, all others as rows.
  template <class T>
  MatView<const T> matrix() const {
    const auto all = values<T>();
    const int64_t cols = shape_.empty() ? 1 : shape_.back();
    return {all.data(), cols == 0 ? 0 : size_ / cols, cols};
  }
  template <class T>
  MatView<T> mutable_matrix() {
    const auto all = mutable_values<T>();
    const int64_t cols = shape_.empty() ? 1 : shape_.back();
    return {all.data(), cols == 0 ? 0 : size_ / cols, cols};
  }

  /// The same memory under another shape of the same size.
  Tensor reshaped(Shape shape) const;
  /// `count` entries of the first axis from `first` on, sharing the memory: rows of a matrix. Error
  /// unless they are there.
  Tensor rows(int64_t first, int64_t count) const;
  /// One entry of the first axis, without that axis, sharing the memory: a matrix of a stack.
  Tensor slice(int64_t index) const;
  /// Float elements widened to f32 (f64 rounded); the same memory when it is f32 already.
  Tensor to_f32() const;
  /// Float elements as f32, f16 or bf16, rounded to nearest even; the same memory when they are of
  /// that type already. Error for another type.
  Tensor rounded_to(DType type) const;

 private:
  void require(DType wanted) const;
  std::byte* writable();

  DType dtype_ = DType::f32;
  Shape shape_{0};
  int64_t size_ = 0;
  std::shared_ptr<const void> owner_;
  const std::byte* data_ = nullptr;
  bool borrowed_ = false, mapped_ = false;
};

/// All elements of a float tensor, widened to f32.
std::vector<float> to_vector(const Tensor& tensor);

/// A named tensor, as files hold them.
struct NamedTensor {
  std::string name;
  Tensor tensor;
};

}  // namespace scute
