// Inputs as files and folders, which readers want that map them or look beside them.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "scute/io/testing.h"

namespace scute::fuzz {

/// Bytes as a file that needs no disk.
class MemoryFile {
 public:
  explicit MemoryFile(std::span<const uint8_t> bytes);
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() { ::close(descriptor_); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

/// The entries of a zip archive as files of a folder of their own, in memory where the system has a
/// place for that. Entries that are packed or whose names lead out of the folder are left out, and
/// so is all of what is no archive.
class MemoryFolder {
 public:
  /// `change`: called with a file's name and content before it is written.
  using Change = void (*)(const std::string& name, std::string& content);
  explicit MemoryFolder(std::span<const uint8_t> archive, Change change = nullptr);

  std::string path() const { return folder_.path(); }
  std::string operator/(const std::string& name) const { return folder_ / name; }
  const std::vector<std::string>& names() const { return names_; }
  bool holds(const std::string& name) const;

 private:
  fixtures::Folder folder_;
  std::vector<std::string> names_;
};

}  // namespace scute::fuzz
