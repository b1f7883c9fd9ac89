#include "scute/models/language/key_value_cache.h"

#include <algorithm>
#include <cstring>

#include "scute/base/checked.h"

namespace scute {
namespace {

/// Operations to write one element of a key or value in its form.
constexpr int64_t kWrite = 8;

DType element_of(CacheForm form) {
  return form == CacheForm::f32 ? DType::f32 : form == CacheForm::bf16 ? DType::bf16 : DType::i8;
}

/// Memory of an own tensor, whatever its elements are.
void* memory_of(Tensor& tensor) {
  switch (tensor.dtype()) {
    case DType::f32:
      return tensor.mutable_values<float>().data();
    case DType::bf16:
      return tensor.mutable_values<bf16>().data();
    default:
      return tensor.mutable_values<int8_t>().data();
  }
}

/// The same number of rows, wider, each beginning as it did.
Tensor widened(const Tensor& rows, int64_t count, int64_t elements, DType dtype) {
  Tensor out(dtype, {count, elements});
  if (rows.size() == 0) return out;
  const size_t before = rows.bytes().size() / static_cast<size_t>(count);
  const size_t after = out.bytes().size() / static_cast<size_t>(count);
  auto* to = static_cast<std::byte*>(memory_of(out));
  for (size_t r = 0; r < static_cast<size_t>(count); ++r) {
    std::memcpy(to + r * after, rows.bytes().data() + r * before, before);
  }
  return out;
}

}  // namespace

KeyValueCache::KeyValueCache(int64_t key_heads, int64_t width, CacheForm form, int64_t kept,
                             int64_t channels)
    : form_(form),
      width_(width),
      conv_(DType::f32, {kept, channels}),
      heads_(static_cast<size_t>(key_heads), CachedHead{.form = form, .width = width}) {}

void KeyValueCache::grow(int64_t capacity) {
  const auto count = static_cast<int64_t>(heads_.size());
  const int64_t key = checked_mul(capacity, width_, "cached keys");
  const int64_t value = cached_values(capacity, width_);
  keys_ = widened(keys_, count, key, element_of(form_));
  values_ = widened(values_, count, value, element_of(form_));
  if (form_ == CacheForm::int8) {
    key_scales_ = widened(key_scales_, count, capacity, DType::f32);
    value_scales_ = widened(value_scales_, count, capacity, DType::f32);
  }
  capacity_ = capacity;
  const int64_t size = size_of(element_of(form_));
  for (size_t h = 0; h < heads_.size(); ++h) {
    const auto head = static_cast<int64_t>(h);
    heads_[h].keys = static_cast<std::byte*>(memory_of(keys_)) + head * key * size;
    heads_[h].values = static_cast<std::byte*>(memory_of(values_)) + head * value * size;
    if (form_ != CacheForm::int8) continue;
    heads_[h].key_scales = key_scales_.mutable_matrix<float>().row(head);
    heads_[h].value_scales = value_scales_.mutable_matrix<float>().row(head);
  }
}

KeyValueCache KeyValueCache::copy() const {
  KeyValueCache out(static_cast<int64_t>(heads_.size()), width_, form_);
  out.keys_ = keys_;
  out.values_ = values_;
  out.key_scales_ = key_scales_;
  out.value_scales_ = value_scales_;
  out.length_ = length_;
  if (capacity_ > 0) out.grow(capacity_);  // which copies the rows
  out.conv_ = Tensor::of_bytes(conv_.dtype(), conv_.shape(), conv_.bytes());
  return out;
}

void KeyValueCache::append(const Run& run, MatView<const float> k, MatView<const float> v) {
  const int64_t needed = checked_add(length_, k.rows, "cached tokens");
  if (needed > capacity_) {
    const int64_t tiles = (needed + kCacheTile - 1) / kCacheTile;
    grow(std::max(tiles * kCacheTile, 2 * capacity_));
  }
  run.split(static_cast<int64_t>(heads_.size()), kWrite * k.rows * width_,
            [&](int64_t first, int64_t count) {
              for (int64_t head = first; head < first + count; ++head) {
                cache_rows(heads_[static_cast<size_t>(head)], length_,
                           k.columns(head * width_, width_), v.columns(head * width_, width_));
              }
            });
  length_ = needed;
}

int64_t KeyValueCache::bytes() const {
  size_t total = 0;
  for (const Tensor* tensor : {&keys_, &values_, &key_scales_, &value_scales_, &conv_}) {
    total += tensor->bytes().size();
  }
  return static_cast<int64_t>(total);
}

}  // namespace scute
