#include "tests/fuzz/memory_file.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "scute/base/error.h"
#include "scute/io/zip.h"

namespace scute::fuzz {
namespace {

namespace fs = std::filesystem;

bool is_plain(std::string_view name) {
  constexpr size_t kLongest = 100;
  return !name.empty() && name.size() < kLongest && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

/// Where folders need no disk; "": nowhere.
std::string memory_folder() {
  const fs::path memory = "/dev/shm";
  std::error_code none;
  const bool usable = fs::is_directory(memory, none) && ::access(memory.c_str(), W_OK) == 0;
  return usable ? memory.string() : "";
}

}  // namespace

MemoryFile::MemoryFile(std::span<const uint8_t> bytes) : descriptor_(::memfd_create("file", 0)) {
  if (::write(descriptor_, bytes.data(), bytes.size()) != std::ssize(bytes)) std::abort();
}

MemoryFolder::MemoryFolder(std::span<const uint8_t> archive, Change change)
    : folder_(memory_folder()) {
  constexpr size_t kMostFiles = 12;
  std::vector<ZipEntry> entries;
  try {
    entries = parse_zip(std::as_bytes(archive), "folder");
  } catch (const Error&) {
  }
  for (const ZipEntry& entry : entries) {
    if (!entry.stored || !is_plain(entry.name) || names_.size() == kMostFiles) continue;
    const auto bytes =
        archive.subspan(static_cast<size_t>(entry.offset), static_cast<size_t>(entry.size));
    std::string content(bytes.begin(), bytes.end());
    if (change != nullptr) change(entry.name, content);
    std::ofstream(*this / entry.name, std::ios::binary) << content;
    names_.push_back(entry.name);
  }
}

bool MemoryFolder::holds(const std::string& name) const {
  return std::ranges::find(names_, name) != names_.end();
}

}  // namespace scute::fuzz
