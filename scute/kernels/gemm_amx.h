// Float products by the tiles of AMX: internal to this folder.
#pragma once

#include <memory>

#include "scute/kernels/gemm_impl.h"

namespace scute {

/// In bf16; null where has_tiles(TileProducts::bf16) says no. weight: rank 2, a float type, no
/// dimension zero.
std::shared_ptr<const Gemm::Impl> make_amx_gemm(const Tensor& weight);

}  // namespace scute
