// Export: a model as one GGUF file, which llama.cpp and what stands on it run.
#pragma once

#include <string>
#include <vector>

#include "scute/io/gguf_writer.h"
#include "scute/language/model_folder.h"

namespace scute {

/// What was written.
struct GgufExport {
  std::string architecture;
  int64_t tensors = 0;
  int64_t kept = 0;  ///< matrices that are f32 because their rows are no whole number of blocks
  std::vector<std::string> remarks;  ///< how the file differs from what one would expect
};

/// "f32", "bf16", "q8_0" or "q4_0"; Error for another.
GgufType parse_gguf_type(const std::string& name);

/// Atomic; one tensor at a time is in memory, a megabyte of it as floats. A low-bit model is
/// written as its dequantized weights, rotations undone. Factors for which the architecture has no
/// key (Falcon-H1's, and of Falcon-Mamba's norms) are multiplied into the weights in f32. Error as
/// gguf_architecture gives it.
GgufExport write_gguf(const ModelDescription& model, GgufType type, const std::string& path);

}  // namespace scute
