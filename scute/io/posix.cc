#include "scute/io/posix.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "scute/base/checked.h"
#include "scute/base/error.h"

namespace scute {

void fail_system(std::string_view path, std::string_view expected, int error) {
  fail(path, expected, std::generic_category().message(error));
}

Descriptor::~Descriptor() {
  if (value_ >= 0) ::close(value_);
}

/// O_NONBLOCK: opening a named pipe would otherwise wait for a writer.
Descriptor open_to_read(const std::string& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) fail_system(path, "a readable file", errno);
  return file;
}

struct stat status_of(const Descriptor& file, const std::string& path) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_system(path, "a readable file", errno);
  if (S_ISDIR(status.st_mode)) fail(path, "a file", "a folder");
  return status;
}

[[noreturn]] void refuse_kind(const struct stat& status, const std::string& path) {
  fail(path, "a regular file",
       S_ISFIFO(status.st_mode)   ? "a named pipe; <(…) and /dev/stdin are read"
       : S_ISSOCK(status.st_mode) ? "a socket"
                                  : "a device");
}

std::pair<Descriptor, int64_t> open_regular(const std::string& path) {
  Descriptor file = open_to_read(path);
  const struct stat status = status_of(file, path);
  if (!S_ISREG(status.st_mode)) refuse_kind(status, path);
  return {std::move(file), int64_t{status.st_size}};
}

std::shared_ptr<const std::byte> map_part(const Descriptor& file, const std::string& path,
                                          int64_t offset, int64_t size) {
  const int64_t length = status_of(file, path).st_size;
  if (offset < 0 || size < 0 || offset > length || size > length - offset) {
    fail(path, fmt::format("bytes {} to {}", offset, checked_add(offset, size, path)),
         fmt::format("{} bytes", length));
  }
  if (size == 0) return std::make_shared<std::byte>();
  const int64_t page = ::sysconf(_SC_PAGESIZE);
  const int64_t lead = offset % page;  // a mapping begins at a page
  const auto extent = static_cast<size_t>(lead + size);
  void* base = ::mmap(nullptr, extent, PROT_READ, MAP_PRIVATE, file.get(), offset - lead);
  if (base == MAP_FAILED) fail_system(path, "a file that can be mapped", errno);
  return {static_cast<const std::byte*>(base) + lead,
          [base, extent](const std::byte*) { ::munmap(base, extent); }};
}

int write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(descriptor, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    text.remove_prefix(static_cast<size_t>(count));
  }
  return 0;
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

void sync_folder(const std::string& folder) {
  const Descriptor file(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (file.get() < 0) return;  // a folder that may be written but not listed
  if (::fsync(file.get()) != 0 && errno != EINVAL) fail_system(folder, "a synced folder", errno);
}

void sync_tree(const std::string& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string path = entry.path().string();
    if (entry.is_symlink()) continue;
    if (entry.is_directory()) {
      sync_tree(path);
      continue;
    }
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.get() < 0 || ::fsync(file.get()) != 0) fail_system(path, "room to write", errno);
  }
  sync_folder(folder);
}

}  // namespace scute
