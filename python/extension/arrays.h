// Arrays of others, by DLPack or the buffer protocol, as rows of floats; and arrays for others.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "scute/tensor/dtype.h"
#include "scute/tensor/mat_view.h"
#include "scute/tensor/tensor.h"

namespace scute::python {

/// float16, bfloat16, float32 or float64 in the processor's memory, with any strides. It holds a
/// reference to its owner, so it is made and destroyed with the GIL; what lies between may go
/// without.
class FloatArray {
 public:
  /// A number or a list of numbers is taken as NumPy makes it float64. TypeError for anything else
  /// that holds no floats; `where` begins its text.
  FloatArray(nanobind::handle object, const char* where);

  int64_t size() const { return size_; }
  /// The last dimension; 1 without any.
  int64_t columns() const { return shape_.empty() ? 1 : shape_.back(); }
  const std::vector<int64_t>& shape() const { return shape_; }
  /// The memory itself where it is rows of float32: all dimensions but the last as rows.
  std::optional<MatView<const float>> view() const;
  /// Copies elements [first, first + count), counted in row-major order, widened or rounded to
  /// float.
  void copy(int64_t first, int64_t count, float* out) const;

 private:
  template <class T>
  void copy_as(int64_t first, int64_t count, float* out) const;

  nanobind::ndarray<nanobind::ro> owner_;
  DType dtype_ = DType::f32;
  int64_t size_ = 1;
  std::vector<int64_t> shape_, strides_;  ///< strides in elements
};

/// The object itself, or NumPy's view of what only has a buffer: nanobind 3.1 reads strides that
/// ctypes' arrays do not have. TypeError where values are masked, which the memory holds as
/// any other; `where` begins its text.
nanobind::object safe_array(nanobind::handle object, const char* where);
/// Whether memory lies behind `data`, an element of `bytes` bytes that the object, of one element
/// or more, gave as its first. torch's fake tensors have none: their storage begins at the address
/// 0.
bool has_memory(nanobind::handle object, const void* data, size_t bytes);
/// Whether the object is an array of that kind and lies in memory; `out` is then that array.
/// `converts`: or becomes one as a copy.
template <class Array>
bool import_array(nanobind::handle object, Array& out, bool converts = false) {
  return nanobind::try_cast(object, out, converts) && out.is_valid() &&
         (out.size() == 0 || has_memory(object, out.data(), out.itemsize()));
}
/// NumPy's array of a number, an array of numbers or nested lists of them, with NumPy's own type.
/// TypeError for what NumPy would make numbers of: texts, None, truth values, masked values.
nanobind::object numbers(nanobind::handle object, const char* where);

/// A NumPy array that owns its memory.
template <class T>
nanobind::object to_numpy(std::vector<T> values, const std::vector<size_t>& shape) {
  auto* owned = new std::vector<T>(std::move(values));
  const nanobind::capsule owner(owned,
                                [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return nanobind::cast(
      nanobind::ndarray<nanobind::numpy, T>(owned->data(), shape.size(), shape.data(), owner));
}
template <class T>
nanobind::object to_numpy(std::vector<T> values) {
  const size_t count = values.size();
  return to_numpy(std::move(values), {count});
}

/// The tensor's memory, which the array keeps alive; a copy of what is mapped or read only.
nanobind::object to_numpy(const Tensor& tensor);
/// {name: array}
nanobind::dict to_numpy(const std::vector<NamedTensor>& tensors);
/// Token ids, (L) or (B, L), I32, as an array of integers has them. TypeError for others, Error for
/// ids beyond 32 bits or an array without any.
Tensor token_ids(nanobind::handle ids);

}  // namespace scute::python
