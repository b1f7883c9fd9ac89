// Our own matrix product: packed panels, register blocks, every sum in the order of the inputs.
#pragma once

#include <cstdint>
#include <memory>

#include "scute/kernels/gemm_impl.h"

namespace scute {

/// weight: rank 2, a float type. Any size, zero included.
std::shared_ptr<const Gemm::Impl> make_highway_gemm(const Tensor& weight, Compute compute);

/// panels[p][pair][o][2]: the weights of 32 outputs in bf16, inputs in pairs, as many as are a
/// multiple of `unit`; zeros where there is no such output or input.
Tensor pack_pairs(const Tensor& weight, int64_t unit);

/// The values rounded to bf16 as to_bf16() does, as bits.
void round_to_bf16(const float* x, int64_t n, uint16_t* out) noexcept;

}  // namespace scute
