// Files as they are read: opened once, and known to be the same from beginning to end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "scute/io/posix.h"

namespace scute {

/// A regular file, opened once: whatever is read of it is of that one file, also when its name is
/// given to another meanwhile. Small ones (64 MiB) are read into memory at once; of larger ones
/// parts are mapped, and who takes them away while they are used causes SIGBUS, which is the
/// program's to answer.
class InputFile {
 public:
  /// Error when it is no regular file, or changes while it is read.
  explicit InputFile(const std::string& path);

  const std::string& path() const { return path_; }
  int64_t size() const { return size_; }
  /// A part, as long as the pointer lives. Error when the file ends before offset + size.
  std::shared_ptr<const std::byte> bytes(int64_t offset, int64_t size) const;

 private:
  std::string path_;
  std::shared_ptr<const Descriptor> file_;
  int64_t size_ = 0;
  std::shared_ptr<const std::byte> memory_;  ///< all of a small file
};

/// What the files of a piece of work were when it began.
class InputStamps {
 public:
  InputStamps() = default;
  /// Files, and folders with all that lies in them but logs and what is hidden or being written.
  /// Empty names and those that lead to no file are none.
  explicit InputStamps(const std::vector<std::string>& paths);

  /// Error naming a file that is gone, another, or of another size or time: what was read of it is
  /// of no one state.
  void check() const;

 private:
  struct Stamp {
    unsigned long long device, inode;
    long long size, seconds, nanoseconds;
    bool operator==(const Stamp&) const = default;
  };
  static Stamp stamp_of(const std::string& path, bool& there);
  void add(const std::string& path);

  std::map<std::string, Stamp> stamps_;
};

}  // namespace scute
