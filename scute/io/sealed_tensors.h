// Safetensors that say themselves whether they are as they were written: also a copy does, which
// has lost the record of its hash (seal.h).
#pragma once

#include <string>
#include <vector>

#include "scute/io/safetensors.h"

namespace scute {

/// The metadata key: SHA-256 of all tensors and all other metadata.
constexpr const char* kContentHash = "content_sha256";

/// As write_safetensors, with that key.
void write_sealed_tensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                          const Metadata& metadata);
/// Error unless the content is what its hash says; also when there is none.
void check_sealed_tensors(const SafetensorsFile& file, const std::string& path);

}  // namespace scute
