// What this computer has: processors, memory, disk.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "scute/base/json.h"

namespace scute::cli {

/// Of the clock on the wall.
template <class Work>
double seconds_of(const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Bytes; what the control group of this process allows where that is less. 0: unknown.
struct Memory {
  int64_t total = 0, available = 0;
};
Memory memory_of_machine();

/// Most memory this process ever held, bytes.
int64_t peak_memory();
/// Free bytes of the disk that holds `folder`; −1 when unknown.
int64_t disk_free(const std::string& folder);
/// Bytes of the third-level cache, or of the second where there is none; 0: unknown.
int64_t last_level_cache();
/// "Intel(R) Xeon(R) …", or "unknown processor".
std::string processor_name();
/// What a record says of it: {"processor", "threads", "instruction_set"}. threads: 0 is all.
Json machine_json(int threads);

}  // namespace scute::cli
