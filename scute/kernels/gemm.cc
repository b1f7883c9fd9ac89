#include "scute/kernels/gemm.h"

#include <fmt/format.h>

#include <algorithm>
#include <type_traits>

#include "scute/base/error.h"
#include "scute/kernels/gemm_amx.h"
#include "scute/kernels/gemm_highway.h"
#include "scute/kernels/gemm_impl.h"
#include "scute/kernels/gemm_int8.h"

namespace scute {
namespace {

template <class T>
void widen(const Tensor& matrix, int64_t start, int64_t count, float* out) {
  const T* from = matrix.values<T>().data() + start;
  std::transform(from, from + count, out, [](T x) {
    if constexpr (std::is_arithmetic_v<T>) {
      return static_cast<float>(x);
    } else {
      return to_float(x);
    }
  });
}

}  // namespace

void widen_row(const Tensor& matrix, int64_t row, int64_t first, int64_t count, float* out) {
  const int64_t start = row * matrix.dim(1) + first;
  switch (matrix.dtype()) {
    case DType::f64:
      return widen<double>(matrix, start, count, out);
    case DType::f32:
      return widen<float>(matrix, start, count, out);
    case DType::f16:
      return widen<f16>(matrix, start, count, out);
    case DType::bf16:
      return widen<bf16>(matrix, start, count, out);
    default:
      fail("Gemm weight", "a float type", name_of(matrix.dtype()));
  }
}

Gemm::Gemm(const Tensor& weight, Compute compute) {
  if (weight.rank() != 2) fail("Gemm weight", "outputs × inputs", to_string(weight.shape()));
  if (!is_float(weight.dtype())) fail("Gemm weight", "a float type", name_of(weight.dtype()));
  outputs_ = weight.dim(0);
  inputs_ = weight.dim(1);
  if (weight.size() > 0 && compute == Compute::bf16) impl_ = make_amx_gemm(weight);
  if (impl_ == nullptr) impl_ = make_highway_gemm(weight, compute);
}

void Gemm::operator()(MatView<const float> x, MatView<float> y) const noexcept { outputs(0, x, y); }

void Gemm::outputs(int64_t first, MatView<const float> x, MatView<float> y) const noexcept {
  if (impl_ != nullptr && x.rows > 0 && y.cols > 0) impl_->multiply(first, x, y);
}

std::string_view Gemm::backend() const { return impl_ == nullptr ? "none" : impl_->name(); }
int64_t Gemm::bytes() const { return impl_ == nullptr ? 0 : impl_->bytes(); }

std::string instruction_sets() {
  const Gemm bf16(Tensor(DType::f32, {1, 1}), Compute::bf16);
  const GemmInt8 int8(Tensor(DType::i8, {1, 1}));
  return fmt::format("{}, {}, {}", highway_target(), bf16.backend(), int8.backend());
}

}  // namespace scute
