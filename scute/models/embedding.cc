#include "scute/models/embedding.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"

namespace scute {
namespace {

template <class T>
void widen(std::span<const T> table, int64_t row, MatView<float> out, int64_t t) {
  const T* from = table.data() + row * out.cols;
  if constexpr (std::is_same_v<T, float>) {
    std::copy_n(from, out.cols, out.row(t));
  } else {
    std::transform(from, from + out.cols, out.row(t), [](T x) { return to_float(x); });
  }
}

void look_up(const Tensor& table, int64_t id, MatView<float> out, int64_t t) {
  switch (table.dtype()) {
    case DType::bf16:
      return widen(table.values<bf16>(), id, out, t);
    case DType::f16:
      return widen(table.values<f16>(), id, out, t);
    default:
      return widen(table.values<float>(), id, out, t);
  }
}

void look_up(const QuantizedWeight& table, int64_t id, MatView<float> out, int64_t t) {
  const auto codes = table.codes.matrix<int8_t>();
  const auto scales = table.scales.matrix<float>();
  const float* scale = scales.row(scales.rows == 1 ? 0 : id);
  const int64_t group = out.cols / scales.cols;
  for (int64_t c = 0; c < out.cols; ++c) {
    out.row(t)[c] = static_cast<float>(codes.row(id)[c]) * scale[c / group];
  }
}

}  // namespace

Embedding::Embedding(const LinearTensors& tensors) : vocabulary_(tensors.outputs) {
  if (tensors.quantized()) {
    QuantizedWeight codes = tensors.weight_codes();
    // The head multiplies by the 8-bit form of a two-level table; both must mean the same numbers.
    table_ = codes.format.two_level ? as_int8(codes) : std::move(codes);
  } else {
    table_ = tensors.weight.dtype() == DType::f64 ? tensors.weight.to_f32() : tensors.weight;
  }
}

void Embedding::operator()(std::span<const int32_t> ids, MatView<float> out) const {
  for (size_t t = 0; t < ids.size(); ++t) {
    const int64_t id = ids[t];
    if (id < 0 || id >= vocabulary_) {
      fail("token ids", fmt::format("ids from 0 to {}", vocabulary_ - 1),
           fmt::format("{} at position {}", id, t));
    }
    const auto row = static_cast<int64_t>(t);
    std::visit([&](const auto& table) { look_up(table, id, out, row); }, table_);
  }
}

int64_t Embedding::bytes() const {
  const auto of = [](const Tensor& tensor) { return static_cast<int64_t>(tensor.bytes().size()); };
  if (const auto* plain = std::get_if<Tensor>(&table_)) return of(*plain);
  const auto& coded = std::get<QuantizedWeight>(table_);
  return of(coded.codes) + of(coded.scales);
}

}  // namespace scute
