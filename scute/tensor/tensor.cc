#include "scute/tensor/tensor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "scute/base/checked.h"
#include "scute/base/memory.h"

namespace scute {
namespace {

std::shared_ptr<std::byte> allocate(int64_t bytes) {
  const size_t size = static_cast<size_t>(std::max<int64_t>(bytes, 1));
  std::byte* memory = allocate_memory(size);
  std::memset(memory, 0, size);
  return {memory, [size](std::byte* p) { free_memory(p, size); }};
}

template <class T>
void widen(std::span<const T> from, std::span<float> to) {
  std::transform(from.begin(), from.end(), to.begin(), [](T x) {
    if constexpr (std::is_same_v<T, double>) {
      return static_cast<float>(x);
    } else {
      return to_float(x);
    }
  });
}

}  // namespace

int64_t element_count(const Shape& shape, std::string_view where) {
  int64_t count = 1;
  for (const int64_t dim : shape) {
    if (dim < 0) fail(where, "dimensions of at least 0", to_string(shape));
    count = checked_mul(count, dim, where);
  }
  return count;
}

std::string to_string(const Shape& shape) { return fmt::format("({})", fmt::join(shape, ", ")); }

Tensor::Tensor() = default;
Tensor::Tensor(const Tensor&) = default;
Tensor::Tensor(Tensor&&) noexcept = default;
Tensor& Tensor::operator=(const Tensor&) = default;
Tensor& Tensor::operator=(Tensor&&) noexcept = default;
Tensor::~Tensor() = default;

Tensor::Tensor(DType dtype, Shape shape)
    : dtype_(dtype), shape_(std::move(shape)), size_(element_count(shape_, "tensor")) {
  auto memory = allocate(checked_mul(size_, size_of(dtype), "tensor"));
  data_ = memory.get();
  owner_ = std::move(memory);
}

Tensor::Tensor(DType dtype, Shape shape, std::shared_ptr<const void> owner, const std::byte* data)
    : dtype_(dtype),
      shape_(std::move(shape)),
      size_(element_count(shape_, "tensor")),
      owner_(std::move(owner)),
      data_(data),
      borrowed_(true) {
  if (reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(size_of(dtype)) != 0) {
    fail("tensor", fmt::format("memory aligned for {}", name_of(dtype)), "another address");
  }
}

Tensor Tensor::mapped(DType dtype, Shape shape, std::shared_ptr<const void> owner,
                      const std::byte* data) {
  Tensor out(dtype, std::move(shape), std::move(owner), data);
  out.mapped_ = true;
  return out;
}

void Tensor::give_back() const {
  if (mapped_ && size_ > 0) give_pages_back(data_, bytes().size());
}

Tensor Tensor::of_bytes(DType dtype, Shape shape, std::span<const std::byte> bytes) {
  Tensor out(dtype, std::move(shape));
  if (out.bytes().size() != bytes.size()) {
    fail("tensor", fmt::format("{} bytes for {}", out.bytes().size(), to_string(out.shape())),
         fmt::format("{}", bytes.size()));
  }
  if (!bytes.empty()) std::memcpy(out.writable(), bytes.data(), bytes.size());
  return out;
}

Tensor Tensor::reshaped(Shape shape) const {
  if (element_count(shape, "reshape") != size_) {
    fail("reshape", fmt::format("{} elements", size_), to_string(shape));
  }
  Tensor out = *this;
  out.shape_ = std::move(shape);
  return out;
}

Tensor Tensor::rows(int64_t first, int64_t count) const {
  const int64_t all = rank() == 0 ? 0 : shape_.front();
  if (rank() == 0 || first < 0 || count < 0 || first > all || count > all - first) {
    fail("rows of a tensor", fmt::format("entries below {}", all),
         fmt::format("{} from {} on", count, first));
  }
  Tensor out = *this;
  out.shape_.front() = count;
  out.size_ = all == 0 ? 0 : size_ / all * count;
  if (first > 0) out.data_ += size_ / all * first * size_of(dtype_);
  return out;
}

Tensor Tensor::slice(int64_t index) const {
  Tensor out = rows(index, 1);
  out.shape_.erase(out.shape_.begin());
  return out;
}

Tensor Tensor::to_f32() const {
  if (dtype_ == DType::f32) return *this;
  Tensor out(DType::f32, shape_);
  switch (dtype_) {
    case DType::f16:
      widen(values<f16>(), out.mutable_values<float>());
      break;
    case DType::bf16:
      widen(values<bf16>(), out.mutable_values<float>());
      break;
    case DType::f64:
      widen(values<double>(), out.mutable_values<float>());
      break;
    default:
      fail("tensor", "float elements", std::string(name_of(dtype_)));
  }
  return out;
}

Tensor Tensor::rounded_to(DType type) const {
  if (type == dtype_ && is_float(type)) return *this;
  const Tensor wide = to_f32();
  if (type == DType::f32) return wide;
  if (type != DType::f16 && type != DType::bf16) {
    fail("tensor", "f32, f16 or bf16", std::string(name_of(type)));
  }
  Tensor out(type, shape_);
  if (type == DType::bf16) {
    std::ranges::transform(wide.values<float>(), out.mutable_values<bf16>().begin(), to_bf16);
  } else {
    std::ranges::transform(wide.values<float>(), out.mutable_values<f16>().begin(), to_f16);
  }
  return out;
}

void Tensor::require(DType wanted) const {
  if (dtype_ != wanted) {
    fail("tensor", fmt::format("{} elements", name_of(wanted)), std::string(name_of(dtype_)));
  }
}

std::byte* Tensor::writable() {
  if (borrowed_) fail("tensor", "memory of its own to write to", "a mapped file");
  return const_cast<std::byte*>(data_);
}

std::vector<float> to_vector(const Tensor& tensor) {
  const Tensor wide = tensor.to_f32();
  const auto values = wide.values<float>();
  return {values.begin(), values.end()};
}

}  // namespace scute
