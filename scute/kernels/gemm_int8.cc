#include "scute/kernels/gemm_int8.h"

#include <cmath>

#include "scute/base/error.h"
#include "scute/kernels/gemm.h"
#include "scute/kernels/gemm_int8_impl.h"

namespace scute {
namespace {

// A product of two codes is at most 2^14 = 128·128, so that this many sum to less than 2^31.
constexpr int64_t kMostInputs = 131071;

void check_codes(const Tensor& codes) {
  if (codes.rank() != 2) fail("GemmInt8 codes", "outputs × inputs", to_string(codes.shape()));
  if (codes.dtype() != DType::i8) fail("GemmInt8 codes", "I8", name_of(codes.dtype()));
  if (codes.dim(1) > kMostInputs) {
    fail("GemmInt8 codes", "at most 131071 inputs, whose sums fit 32 bits",
         std::to_string(codes.dim(1)));
  }
}

void check_scales(const TwoLevelCodes& weight) {
  const auto& [codes, scales, channel_scales] = weight;
  for (const Tensor* tensor : {&scales, &channel_scales}) {
    if (tensor->dtype() != DType::f32) fail("GemmInt8 scales", "F32", name_of(tensor->dtype()));
  }
  const int64_t groups = scales.rank() == 2 ? scales.dim(1) : 0;
  if (groups < 1 || scales.dim(0) != codes.dim(0) || codes.dim(1) % groups != 0) {
    fail("GemmInt8 scales", "outputs × groups that divide " + std::to_string(codes.dim(1)),
         to_string(scales.shape()));
  }
  const Shape one{codes.dim(0), 1};
  if (channel_scales.shape() != one) {
    fail("GemmInt8 channel scales", to_string(one), to_string(channel_scales.shape()));
  }
  for (const int8_t code : codes.values<int8_t>()) {
    if (code < -8 || code > 7) fail("GemmInt8 codes", "-8 … 7", std::to_string(code));
  }
  for (const float scale : scales.values<float>()) {
    if (!std::isfinite(scale)) fail("GemmInt8 scales", "finite ones", std::to_string(scale));
  }
  for (const float scale : channel_scales.values<float>()) {
    if (std::isfinite(scale) && scale > 0) continue;
    fail("GemmInt8 channel scales", "finite ones above 0", std::to_string(scale));
  }
}

}  // namespace

GemmInt8::GemmInt8(const Tensor& codes, PackedMemory* memory) {
  check_codes(codes);
  outputs_ = codes.dim(0);
  inputs_ = codes.dim(1);
  impl_ = make_own_gemm_int8(codes, int8_products().front(), memory);
}

GemmInt8::GemmInt8(const Tensor& codes, const Tensor& scales, const Tensor& channel_scales,
                   PackedMemory* memory) {
  check_codes(codes);
  const TwoLevelCodes weight{codes, scales, channel_scales};
  check_scales(weight);
  outputs_ = codes.dim(0);
  inputs_ = codes.dim(1);
  impl_ = make_own_gemm_int8(weight, int8_products().front(), memory);
  if (impl_ == nullptr) {
    impl_ = make_own_gemm_int8(eight_bit_codes(weight), int8_products().front(), memory);
  }
}

int64_t GemmInt8::input_bytes(int64_t rows) const {
  return impl_ == nullptr ? 0 : impl_->input_bytes(rows);
}

void GemmInt8::prepare(MatView<const int8_t> x, int64_t first, int64_t count,
                       std::byte* to) const noexcept {
  if (impl_ != nullptr && count > 0) impl_->prepare(x, first, count, to);
}

void GemmInt8::multiply(const std::byte* inputs, int64_t first, MatView<int32_t> y) const noexcept {
  if (impl_ != nullptr && y.size() > 0) impl_->multiply(inputs, first, Int8Output(y));
}

void GemmInt8::multiply(const std::byte* inputs, int64_t first, const float* scales,
                        MatView<float> y) const noexcept {
  if (impl_ != nullptr && y.size() > 0) impl_->multiply(inputs, first, Int8Output(y, scales));
}

std::string_view GemmInt8::backend() const { return impl_ == nullptr ? "none" : impl_->name(); }
int64_t GemmInt8::bytes() const { return impl_ == nullptr ? 0 : impl_->bytes(); }

}  // namespace scute
