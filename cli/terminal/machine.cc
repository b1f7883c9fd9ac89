#include "cli/terminal/machine.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "scute/base/threads.h"
#include "scute/kernels/gemm.h"

namespace scute::cli {
namespace {

/// A file that holds one number (control groups write "max" for none).
std::optional<int64_t> number_in(const char* path) {
  std::ifstream file(path);
  int64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;
}

}  // namespace

Memory memory_of_machine() {
  Memory out;
  std::ifstream file("/proc/meminfo");
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string key;
    int64_t kibibytes = 0;
    words >> key >> kibibytes;
    if (key == "MemTotal:") out.total = kibibytes * 1024;
    if (key == "MemAvailable:") out.available = kibibytes * 1024;
  }
  if (const auto limit = number_in("/sys/fs/cgroup/memory.max"); limit && *limit < out.total) {
    out.total = *limit;
    const int64_t used = number_in("/sys/fs/cgroup/memory.current").value_or(0);
    out.available = std::min(out.available, std::max<int64_t>(0, *limit - used));
  }
  return out;
}

int64_t peak_memory() {
  // Of this program alone; getrusage() counts what the process held before it became this program.
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    std::istringstream words(line);
    std::string key;
    int64_t kibibytes = 0;
    if (words >> key >> kibibytes && key == "VmHWM:") return kibibytes * 1024;
  }
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

int64_t disk_free(const std::string& folder) {
  std::error_code error;
  const auto space = std::filesystem::space(folder, error);
  return error ? -1 : static_cast<int64_t>(space.available);
}

int64_t last_level_cache() {
  // First what the kernel says ("32768K"): a guest's cpuid, which sysconf asks, may be its host's.
  for (const char* index : {"3", "2"}) {
    const auto kibibytes =
        number_in(fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}/size", index).c_str());
    if (kibibytes) return *kibibytes * 1024;
  }
  const int64_t third = sysconf(_SC_LEVEL3_CACHE_SIZE);
  return third > 0 ? third : std::max<int64_t>(0, sysconf(_SC_LEVEL2_CACHE_SIZE));
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with("model name")) continue;
    const size_t colon = line.find(':');
    if (colon != std::string::npos && colon + 2 <= line.size()) return line.substr(colon + 2);
  }
  return "unknown processor";
}

Json machine_json(int threads) {
  Json out;
  out["processor"] = processor_name();
  out["threads"] = Threads(threads).count();
  out["instruction_set"] = instruction_set(Compute::f32);
  return out;
}

}  // namespace scute::cli
