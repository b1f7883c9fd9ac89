#include "extension/arrays.h"

#include <fmt/format.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <string>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/tensor/tensor.h"

namespace scute::python {
namespace {

namespace nb = nanobind;

std::string name_of_type(nb::handle object) {
  return nb::cast<std::string>(nb::str(nb::inst_name(object)));
}

/// NumPy's type of arrays, which stays as long as the process.
nb::handle numpy_array_type() {
  static PyObject* const type = nb::module_::import_("numpy").attr("ndarray").ptr();
  return type;
}

bool is_list(nb::handle object) {
  return nb::isinstance<nb::list>(object) || nb::isinstance<nb::tuple>(object);
}

/// Whether it is an array with masked values, or nested lists that hold one.
bool is_masked(nb::handle object) {
  if (is_list(object)) {
    for (const nb::handle item : object) {
      if (is_masked(item)) return true;
    }
    return false;
  }
  const nb::handle array = numpy_array_type();
  if (object.type().is(array) || PyObject_IsInstance(object.ptr(), array.ptr()) != 1) return false;
  return nb::cast<bool>(nb::module_::import_("numpy").attr("ma").attr("is_masked")(object));
}

void refuse_masked(nb::handle object, const char* where) {
  if (!is_masked(object)) return;
  const std::string text = fmt::format(
      "{}: expected an array without masked values, found {} (.compressed() leaves masked values "
      "out, "
      ".filled(x) replaces them)",
      where, name_of_type(object));
  throw nb::type_error(text.c_str());
}

/// NumPy's array of it where the object is one already (or what it says makes one).
nb::object as_native(nb::handle object, const char* where) {
  const nb::module_ numpy = nb::module_::import_("numpy");
  if (nb::isinstance<nb::float_>(object) || nb::isinstance<nb::int_>(object) || is_list(object)) {
    return numpy.attr("asarray")(numbers(object, where), nb::arg("dtype") = "float64");
  }
  if (PyObject_IsInstance(object.ptr(), numpy_array_type().ptr()) != 1) return nb::none();
  // Another byte order, or strides that are no multiple of an element: a copy in order.
  const nb::object dtype = object.attr("dtype");
  const auto kind = nb::cast<std::string>(dtype.attr("kind"));
  if (nb::cast<std::string>(nb::str(nb::object(dtype.attr("name")))) == "bfloat16") {
    return numpy.attr("ascontiguousarray")(object, nb::arg("dtype") = "float32");
  }
  if (kind != "f" || nb::cast<int>(dtype.attr("itemsize")) > 8) return nb::none();
  return numpy.attr("array")(object, nb::arg("dtype") = dtype.attr("newbyteorder")("="),
                             nb::arg("order") = "C");
}

bool is_float_array(const nb::ndarray<nb::ro>& array) {
  const nb::dlpack::dtype type = array.dtype();
  const auto code = static_cast<nb::dlpack::dtype_code>(type.code);
  if (type.lanes != 1) return false;
  if (code == nb::dlpack::dtype_code::Bfloat) return type.bits == 16;
  return code == nb::dlpack::dtype_code::Float &&
         (type.bits == 16 || type.bits == 32 || type.bits == 64);
}

DType dtype_of_array(const nb::ndarray<nb::ro>& array) {
  const nb::dlpack::dtype type = array.dtype();
  if (static_cast<nb::dlpack::dtype_code>(type.code) == nb::dlpack::dtype_code::Bfloat) {
    return DType::bf16;
  }
  return type.bits == 16 ? DType::f16 : type.bits == 32 ? DType::f32 : DType::f64;
}

/// What the object says of its element type and memory, for an error.
std::string found(nb::handle object) {
  std::string words = name_of_type(object);
  if (nb::hasattr(object, "dtype")) {
    words += " of " + nb::cast<std::string>(nb::str(nb::object(object.attr("dtype"))));
  }
  if (nb::hasattr(object, "device")) {
    words += " on " + nb::cast<std::string>(nb::str(nb::object(object.attr("device"))));
  }
  if (nb::hasattr(object, "requires_grad") && nb::cast<bool>(object.attr("requires_grad"))) {
    words += " that requires grad (use .detach())";
  }
  return words;
}

bool import(nb::handle object, nb::ndarray<nb::ro>& out) {
  nb::ndarray<nb::ro> array;
  if (!import_array(object, array, true)) return false;
  if (array.device_type() != nb::device::cpu::value || !is_float_array(array)) return false;
  out = array;
  return true;
}

float widened(float x) { return x; }
float widened(double x) { return static_cast<float>(x); }
float widened(f16 x) { return to_float(x); }
float widened(bf16 x) { return to_float(x); }

}  // namespace

nb::object numbers(nb::handle object, const char* where) {
  refuse_masked(object, where);
  const nb::module_ numpy = nb::module_::import_("numpy");
  // Of any size: NumPy's integers end at 64 bits.
  if (nb::isinstance<nb::int_>(object) && !nb::isinstance<nb::bool_>(object)) {
    return numpy.attr("asarray")(nb::float_(object));
  }
  nb::object array = numpy.attr("asarray")(object);
  const nb::object dtype = array.attr("dtype");
  const auto kind = nb::cast<std::string>(dtype.attr("kind"));
  if (kind == "f" || kind == "i" || kind == "u") return array;
  const std::string text = fmt::format("{}: expected numbers, found {} of {}", where,
                                       name_of_type(object), nb::cast<std::string>(nb::str(dtype)));
  throw nb::type_error(text.c_str());
}

nb::object safe_array(nb::handle object, const char* where) {
  refuse_masked(object, where);
  const bool others = PyObject_CheckBuffer(object.ptr()) != 0 &&
                      PyObject_IsInstance(object.ptr(), numpy_array_type().ptr()) != 1;
  if (!others) return nb::borrow(object);
  return nb::module_::import_("numpy").attr("asarray")(object);
}

bool has_memory(nb::handle object, const void* data, size_t bytes) {
  auto address = reinterpret_cast<uintptr_t>(data);
  // torch's: the first element may lie anywhere in the storage.
  size_t offset = 0;
  if (nb::hasattr(object, "storage_offset") &&
      nb::try_cast(nb::object(object.attr("storage_offset")()), offset)) {
    address -= offset * bytes;
  }
  return address != 0;
}

FloatArray::FloatArray(nb::handle given, const char* where) {
  nb::object object = safe_array(given, where);
  // torch's view of an array times −1, whose memory holds the other sign.
  if (nb::hasattr(object, "is_neg") && nb::cast<bool>(object.attr("is_neg")())) {
    object = object.attr("resolve_neg")();
  }
  if (!import(object, owner_)) {
    const nb::object native = as_native(object, where);
    if (native.is_none() || !import(native, owner_)) {
      const std::string text = fmt::format(
          "{}: expected an array of float16, bfloat16, float32 or float64 in this processor's "
          "memory, found {}",
          where, found(given));
      throw nb::type_error(text.c_str());
    }
  }
  dtype_ = dtype_of_array(owner_);
  for (size_t i = 0; i < owner_.ndim(); ++i) {
    shape_.push_back(static_cast<int64_t>(owner_.shape(i)));
    strides_.push_back(owner_.stride(i));
  }
  size_ = element_count(shape_, where);
}

std::optional<MatView<const float>> FloatArray::view() const {
  if (dtype_ != DType::f32 || size_ == 0) return std::nullopt;
  const auto* data = static_cast<const float*>(owner_.data());
  if (shape_.empty()) return MatView<const float>(data, 1, 1);
  const int64_t columns = shape_.back();
  if (columns > 1 && strides_.back() != 1) return std::nullopt;
  // The dimensions before the last must be one walk with one stride.
  int64_t rows = 1, stride = columns;
  for (size_t i = shape_.size() - 1; i-- > 0;) {
    if (shape_[i] == 1) continue;
    if (rows == 1) {
      stride = strides_[i];
    } else if (strides_[i] != stride * rows) {
      return std::nullopt;
    }
    rows *= shape_[i];
  }
  // Short pieces are counted faster once they lie side by side.
  constexpr int64_t kShort = 256;
  if (stride < columns || (stride != columns && rows > 1 && columns < kShort)) return std::nullopt;
  return MatView<const float>(data, rows, columns, stride);
}

template <class T>
void FloatArray::copy_as(int64_t first, int64_t count, float* out) const {
  const auto* data = static_cast<const T*>(owner_.data());
  const int64_t columns = this->columns();
  const int64_t step = strides_.empty() ? 1 : strides_.back();
  while (count > 0) {
    int64_t row = first / columns, offset = 0;
    for (size_t i = shape_.size(); i-- > 1;) {
      offset += row % shape_[i - 1] * strides_[i - 1];
      row /= shape_[i - 1];
    }
    const int64_t begin = first % columns, n = std::min(count, columns - begin);
    for (int64_t c = 0; c < n; ++c) out[c] = widened(data[offset + (begin + c) * step]);
    first += n;
    count -= n;
    out += n;
  }
}

void FloatArray::copy(int64_t first, int64_t count, float* out) const {
  switch (dtype_) {
    case DType::f64:
      return copy_as<double>(first, count, out);
    case DType::f16:
      return copy_as<f16>(first, count, out);
    case DType::bf16:
      return copy_as<bf16>(first, count, out);
    default:
      return copy_as<float>(first, count, out);
  }
}

namespace {

template <class T>
nb::object array_of(const Tensor& tensor) {
  const auto values = tensor.values<T>();
  std::vector<size_t> shape;
  for (const int64_t dimension : tensor.shape()) shape.push_back(static_cast<size_t>(dimension));
  auto* kept = new Tensor(tensor);
  const nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<Tensor*>(p); });
  return nb::cast(
      nb::ndarray<nb::numpy, T>(const_cast<T*>(values.data()), shape.size(), shape.data(), owner));
}

}  // namespace

nb::object to_numpy(const Tensor& tensor) {
  switch (tensor.dtype()) {
    case DType::f64:
      return array_of<double>(tensor);
    case DType::f32:
      return array_of<float>(tensor);
    case DType::i64:
      return array_of<int64_t>(tensor);
    case DType::i32:
      return array_of<int32_t>(tensor);
    case DType::i16:
      return array_of<int16_t>(tensor);
    case DType::i8:
      return array_of<int8_t>(tensor);
    case DType::u8:
      return array_of<uint8_t>(tensor);
    default:
      return array_of<float>(tensor.to_f32());
  }
}

nb::dict to_numpy(const std::vector<NamedTensor>& tensors) {
  nb::dict out;
  for (const NamedTensor& named : tensors) out[named.name.c_str()] = to_numpy(named.tensor);
  return out;
}

Tensor token_ids(nb::handle ids) {
  const nb::module_ numpy = nb::module_::import_("numpy");
  refuse_masked(ids, "ids");
  const nb::object array = numpy.attr("asarray")(ids);
  const auto kind = nb::cast<std::string>(array.attr("dtype").attr("kind"));
  const auto size = nb::cast<int64_t>(array.attr("size"));
  if (size == 0) fail("ids", "at least one token id", "none");
  if (kind != "i" && kind != "u") {
    throw nb::type_error(
        fmt::format("ids: expected an array (L) or (B, L) of integers, found {} of "
                    "{} elements",
                    nb::cast<std::string>(nb::str(nb::object(array.attr("dtype")))), size)
            .c_str());
  }
  const auto wide = nb::cast<nb::ndarray<const int64_t, nb::c_contig>>(
      numpy.attr("ascontiguousarray")(array, nb::arg("dtype") = "int64"));
  // Not wide's: NumPy makes one dimension of none.
  const auto shape = nb::cast<Shape>(array.attr("shape"));
  if (shape.empty() || shape.size() > 2) {
    fail("ids", "an array of (L) or (B, L) token ids", to_string(shape));
  }
  std::vector<int32_t> out(wide.size());
  for (size_t i = 0; i < out.size(); ++i) out[i] = narrow<int32_t>(wide.data()[i], "ids");
  return Tensor::of<int32_t>(shape, out);
}

}  // namespace scute::python
