#include "scute/kernels/gemm_int8.h"

#include "scute/base/error.h"
#include "scute/kernels/gemm_int8_impl.h"

namespace scute {
namespace {

// A product of two codes is at most 2^14 = 128·128, so that this many sum to less than 2^31.
constexpr int64_t kMostInputs = 131071;

}  // namespace

GemmInt8::GemmInt8(const Tensor& codes) {
  if (codes.rank() != 2) fail("GemmInt8 codes", "outputs × inputs", to_string(codes.shape()));
  if (codes.dtype() != DType::i8) fail("GemmInt8 codes", "I8", name_of(codes.dtype()));
  if (codes.dim(1) > kMostInputs) {
    fail("GemmInt8 codes", "at most 131071 inputs, whose sums fit 32 bits",
         std::to_string(codes.dim(1)));
  }
  outputs_ = codes.dim(0);
  inputs_ = codes.dim(1);
  if (codes.size() > 0) impl_ = make_onednn_gemm_int8(codes);
  if (impl_ == nullptr) impl_ = make_highway_gemm_int8(codes);
}

void GemmInt8::operator()(MatView<const int8_t> x, MatView<int32_t> y) const noexcept {
  if (impl_ != nullptr && x.rows > 0 && outputs_ > 0) impl_->multiply(x, y);
}

void GemmInt8::operator()(MatView<const int8_t> x, const float* scales,
                          MatView<float> y) const noexcept {
  if (impl_ != nullptr && x.rows > 0 && outputs_ > 0) impl_->multiply_scaled(x, scales, y);
}

std::string_view GemmInt8::backend() const { return impl_ == nullptr ? "none" : impl_->name(); }
int64_t GemmInt8::bytes() const { return impl_ == nullptr ? 0 : impl_->bytes(); }

#ifdef SCUTE_PLAIN
std::shared_ptr<const GemmInt8::Impl> make_onednn_gemm_int8(const Tensor&) { return nullptr; }
std::string gemm_int8_self_test() { return ""; }
#endif

}  // namespace scute
