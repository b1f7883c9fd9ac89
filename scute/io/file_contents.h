// What a file is, looked at when it is not what was expected.
#pragma once

#include <cstdint>
#include <string>

#include "scute/base/json.h"

namespace scute {

/// What contents_of calls such a file.
inline constexpr const char* kGgufContents =
    "a GGUF file, llama.cpp's weights, which scute does not read";

/// From its first bytes, not from its name: "text", "JSON", "JSON lines", "a .npy array", "a
/// picture", "a zip archive (.pt, .npz)", "statistics that scute collected", kGgufContents, "a
/// safetensors file", "a folder", or "another format". What cannot be read is "no readable file".
std::string contents_of(const std::string& path) noexcept;

/// The JSON of a file of at most `limit` bytes. Error as Json::parse; of a file that is no JSON at
/// all it says what it is: "expected a plan (JSON), found statistics that scute collected".
Json read_json(const std::string& path, int64_t limit, const std::string& what);

}  // namespace scute
