#include "scute/kernels/gemm.h"

#include <algorithm>
#include <type_traits>

#include "scute/base/error.h"
#include "scute/kernels/gemm_highway.h"
#include "scute/kernels/gemm_impl.h"
#ifndef SCUTE_PLAIN
#include "scute/kernels/gemm_onednn.h"
#endif

namespace scute {
namespace {

#ifdef SCUTE_PLAIN
std::shared_ptr<const Gemm::Impl> make_onednn_gemm(const Tensor&, Compute) { return nullptr; }
#endif

template <class T>
void widen(const Tensor& matrix, int64_t row, float* out) {
  const int64_t cols = matrix.dim(1);
  const T* from = matrix.values<T>().data() + row * cols;
  std::transform(from, from + cols, out, [](T x) {
    if constexpr (std::is_arithmetic_v<T>) {
      return static_cast<float>(x);
    } else {
      return to_float(x);
    }
  });
}

}  // namespace

void widen_row(const Tensor& matrix, int64_t row, float* out) {
  switch (matrix.dtype()) {
    case DType::f64:
      return widen<double>(matrix, row, out);
    case DType::f32:
      return widen<float>(matrix, row, out);
    case DType::f16:
      return widen<f16>(matrix, row, out);
    case DType::bf16:
      return widen<bf16>(matrix, row, out);
    default:
      fail("Gemm weight", "a float type", name_of(matrix.dtype()));
  }
}

Gemm::Gemm(const Tensor& weight, Compute compute) {
  if (weight.rank() != 2) fail("Gemm weight", "outputs × inputs", to_string(weight.shape()));
  if (!is_float(weight.dtype())) fail("Gemm weight", "a float type", name_of(weight.dtype()));
  outputs_ = weight.dim(0);
  inputs_ = weight.dim(1);
  if (weight.size() > 0) impl_ = make_onednn_gemm(weight, compute);
  if (impl_ == nullptr) impl_ = make_highway_gemm(weight, compute);
}

void Gemm::operator()(MatView<const float> x, MatView<float> y) const noexcept {
  if (impl_ != nullptr && x.rows > 0 && outputs_ > 0) impl_->multiply(x, y);
}

std::string_view Gemm::backend() const { return impl_ == nullptr ? "none" : impl_->name(); }
int64_t Gemm::bytes() const { return impl_ == nullptr ? 0 : impl_->bytes(); }

#ifdef SCUTE_PLAIN
std::string gemm_self_test() { return ""; }
std::string_view onednn_target() { return "none"; }
#endif

}  // namespace scute
