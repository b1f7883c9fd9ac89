// The fuzz targets as functions of one program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace scute::fuzz {

struct Target {
  const char* name;  ///< "fuzz_json"
  int (*run)(const uint8_t* data, size_t size);
};

/// All of them; made by CMakeLists.txt.
std::span<const Target> targets();

}  // namespace scute::fuzz
