#include "scute/io/mapped_tensor.h"

#include "scute/base/checked.h"

namespace scute {

Tensor map_tensor(const InputFile& file, int64_t offset, DType dtype, const Shape& shape) {
  const int64_t bytes = checked_mul(element_count(shape, file.path()), size_of(dtype), file.path());
  if (bytes == 0) return Tensor(dtype, shape);
  auto data = file.bytes(offset, bytes);
  const std::byte* first = data.get();
  // A mapping begins at a page, so a pointer into it is aligned as its offset is.
  if (offset % size_of(dtype) == 0) {
    return file.mapped() ? Tensor::mapped(dtype, shape, std::move(data), first)
                         : Tensor(dtype, shape, std::move(data), first);
  }
  return Tensor::of_bytes(dtype, shape, {first, static_cast<size_t>(bytes)});
}

}  // namespace scute
