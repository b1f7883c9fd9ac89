// Matrix products by oneDNN; none where SCUTE_PLAIN is defined.
#pragma once

#include <memory>

#include "scute/kernels/gemm_impl.h"

namespace scute {

/// Whether oneDNN will use AMX: what our own kernels cannot.
bool onednn_has_amx();

/// Products in bf16. Null where oneDNN has no kernel for this machine whose rows do not depend on
/// their number. weight: rank 2, a float type, no dimension zero.
std::shared_ptr<const Gemm::Impl> make_onednn_gemm(const Tensor& weight);

}  // namespace scute
