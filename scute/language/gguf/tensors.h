// A model's tensors as GGUF names, shapes and scales them, and their bytes, a few rows at a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scute/io/gguf_writer.h"
#include "scute/language/export.h"
#include "scute/language/gguf/architecture.h"

namespace scute {

/// One tensor of the file, and what its values are made of.
struct GgufPlan {
  GgufTensor tensor;
  /// One after the other along the first axis (experts); none: zeros.
  std::vector<const DeferredTensor*> parts = {};
  std::vector<int32_t> order = {};  ///< row i of the file is row order[i]; empty: as they are
  std::vector<float> factors = {};  ///< on each row of the file; one: on all; empty: none
  bool decay = false;               ///< −exp of each value, rounded once (A of A_log)
  bool uneven = false;              ///< f32 because its rows are no whole number of blocks
};

/// All tensors in the file's order. `type`: of matrices; norms, biases, convolutions, A, D and
/// routers stay f32, which is what readers take, and so do matrices whose rows are no whole number
/// of blocks. `tensors` must outlive it.
std::vector<GgufPlan> plan_gguf(const ModelDescription& model, const GgufArchitecture& architecture,
                                const DeferredTensors& tensors, GgufType type);

/// Appends the tensor's bytes. Error naming it for values that the type cannot hold: not finite, or
/// above what its scale in half precision reaches.
void write_gguf_tensor(const GgufPlan& plan, GgufWriter& writer);

}  // namespace scute
