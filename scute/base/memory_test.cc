#include "scute/base/memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace scute::memory_test {
namespace {

/// "rd wr mr mw me ac hg …": the flags of the mapping that holds this address.
std::string flags_of(const std::byte* memory) {
  const auto address = reinterpret_cast<uintptr_t>(memory);
  std::ifstream file("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    uintptr_t first = 0, end = 0;
    char dash = 0;
    if (words >> std::hex >> first >> dash >> end && dash == '-') {
      inside = first <= address && address < end;
    } else if (inside && line.starts_with("VmFlags:")) {
      return line + " ";
    }
  }
  return "";
}

TEST(Memory, IsAlignedForVectorsAndForHugePages) {
  for (const size_t bytes :
       {size_t{1}, size_t{4096}, (size_t{2} << 20) - 1, size_t{2} << 20, (size_t{5} << 20) + 7}) {
    std::byte* memory = allocate_memory(bytes);
    const size_t alignment = bytes < size_t{2} << 20 ? 64 : size_t{2} << 20;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % alignment, 0U) << bytes;
    std::memset(memory, 1, bytes);
    free_memory(memory, bytes);
  }
}

TEST(Memory, OfManyNumbersAsksForHugePages) {
  if (!std::filesystem::exists("/sys/kernel/mm/transparent_hugepage")) {
    GTEST_SKIP() << "SKIPPED: no huge pages in this system";
  }
  constexpr size_t kBytes = size_t{9} << 20;
  std::byte* memory = allocate_memory(kBytes);
  EXPECT_NE(flags_of(memory).find(" hg "), std::string::npos) << flags_of(memory);
  EXPECT_NE(flags_of(memory + kBytes / 2).find(" hg "), std::string::npos);
  free_memory(memory, kBytes);
}

TEST(Memory, HoldsAVector) {
  std::vector<double, MemoryAllocator<double>> numbers(size_t{1} << 19, 0.5);
  const auto copy = numbers;
  numbers.push_back(1);
  EXPECT_EQ(copy.size() + 1, numbers.size());
  EXPECT_EQ(copy.back(), 0.5);
  EXPECT_EQ(numbers.back(), 1);
}

}  // namespace
}  // namespace scute::memory_test
