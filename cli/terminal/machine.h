// What this computer has: processors, memory, disk.
#pragma once

#include <cstdint>
#include <string>

namespace scute::cli {

/// Bytes; what the control group of this process allows where that is less. 0: unknown.
struct Memory {
  int64_t total = 0, available = 0;
};
Memory memory_of_machine();

/// Most memory this process ever held, bytes.
int64_t peak_memory();
/// Free bytes of the disk that holds `folder`; −1 when unknown.
int64_t disk_free(const std::string& folder);
/// "Intel(R) Xeon(R) …", or "unknown processor".
std::string processor_name();

}  // namespace scute::cli
