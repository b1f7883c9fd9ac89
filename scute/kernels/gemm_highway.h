// Our own matrix product: packed panels, register blocks, every sum in the order of the inputs.
#pragma once

#include <cstdint>
#include <memory>

#include "scute/kernels/gemm_impl.h"

namespace scute {

/// weight: rank 2, a float type. Any size, zero included.
std::shared_ptr<const Gemm::Impl> make_highway_gemm(const Tensor& weight, Compute compute);

/// The values rounded to bf16 as to_bf16() does, as bits.
void round_to_bf16(const float* x, int64_t n, uint16_t* out) noexcept;

}  // namespace scute
