// How large a Cobra's folder is.
#pragma once

#include <cstdint>
#include <string>

namespace scute::cli {

/// Bytes of all model.safetensors in and below it.
int64_t weight_bytes(const std::string& folder);

}  // namespace scute::cli
