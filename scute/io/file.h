// Files: mapped or read whole, written atomically, appended under a lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace scute {

/// The whole file; Error when it cannot be read or is larger than `limit` bytes.
std::string read_text(const std::string& path, int64_t limit = int64_t{1} << 32);

/// A part of a file mapped read-only; the mapping lives as long as the returned pointer, which
/// points at the first byte asked for. One mapping a tensor lets a loader give memory back tensor
/// by tensor. Error when the file is not a regular one or ends before offset + size.
std::shared_ptr<const std::byte> map_file(const std::string& path, int64_t offset, int64_t size);
/// Bytes of a regular file; Error when there is none.
int64_t file_size(const std::string& path);

/// Bytes in order, to a file that appears under its name only when complete.
class AtomicFile {
 public:
  /// Opens a temporary file in the folder of `path`; Error when that is not writable, or when
  /// `path` is a folder, a device or anything else that a rename must not replace.
  explicit AtomicFile(std::string path);
  ~AtomicFile();  ///< removes the temporary file unless commit() was called
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  const std::string& path() const { return path_; }
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// Flush, fsync, rename, fsync of the folder.
  void commit();

 private:
  std::string path_, temporary_;
  int descriptor_ = -1;
};

/// Makes a folder and those above it, unless they are there; "" is the working folder.
void make_folder(const std::string& path);
void write_file(const std::string& path, std::string_view text);  ///< atomic
/// Adds `line` and a newline under an exclusive lock, on disk when this returns; starts a new line
/// first when the file ends in the middle of one. On an error (disk full) the file is as before.
void append_line(const std::string& path, std::string_view line);
/// SHA-256 of a file, streamed.
std::string hash_file(const std::string& path);

}  // namespace scute
