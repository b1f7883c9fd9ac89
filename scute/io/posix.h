// What the files of this layer share of the system's calls.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace scute {

/// Error with the system's words for an errno.
[[noreturn]] void fail_system(std::string_view path, std::string_view expected, int error);

/// Closes a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int value = -1) : value_(value) {}
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  int get() const { return value_; }

 private:
  int value_;
};

/// A regular file to read, and its size; Error for anything else, by its kind and at once.
std::pair<Descriptor, int64_t> open_regular(const std::string& path);
/// Any file, not waiting for a named pipe's writer.
Descriptor open_to_read(const std::string& path);
/// Error for what is no regular file.
[[noreturn]] void refuse_kind(const struct stat& status, const std::string& path);
struct stat status_of(const Descriptor& file, const std::string& path);
/// A part of a file, mapped read-only as long as the pointer lives. Error when the file ends before
/// offset + size.
std::shared_ptr<const std::byte> map_part(const Descriptor& file, const std::string& path,
                                          int64_t offset, int64_t size);

/// 0, or the errno of the write that failed.
int write_all(int descriptor, std::string_view text);
/// "." for a name without a slash.
std::string folder_of(const std::string& path);
/// Makes the names in a folder durable. Some file systems cannot fsync one (EINVAL).
void sync_folder(const std::string& folder);
/// Makes a folder's files, all folders in it and itself durable.
void sync_tree(const std::string& folder);

}  // namespace scute
