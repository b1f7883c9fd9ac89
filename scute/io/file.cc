#include "scute/io/file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/base/hash.h"

namespace scute {
namespace {

[[noreturn]] void fail_system(std::string_view path, std::string_view expected, int error) {
  fail(path, expected, std::generic_category().message(error));
}

/// Closes a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  int get() const { return value_; }

 private:
  int value_;
};

Descriptor open_to_read(const std::string& path, int flags = 0) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags));
  if (file.get() < 0) fail_system(path, "a readable file", errno);
  return file;
}

struct stat status_of(const Descriptor& file, const std::string& path) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_system(path, "a readable file", errno);
  if (S_ISDIR(status.st_mode)) fail(path, "a file", "a folder");
  return status;
}

/// O_NONBLOCK: opening a named pipe would otherwise wait for a writer.
std::pair<Descriptor, int64_t> open_regular(const std::string& path) {
  Descriptor file = open_to_read(path, O_NONBLOCK);
  const struct stat status = status_of(file, path);
  if (!S_ISREG(status.st_mode)) fail(path, "a regular file", "a pipe or a device");
  return {std::move(file), int64_t{status.st_size}};
}

/// Bytes read into `into`, 0 at the end of the file.
size_t read_some(const Descriptor& file, std::span<char> into, const std::string& path) {
  while (true) {
    const ssize_t count = ::read(file.get(), into.data(), into.size());
    if (count >= 0) return static_cast<size_t>(count);
    if (errno != EINTR) fail_system(path, "a readable file", errno);
  }
}

/// 0, or the errno of the write that failed.
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

/// Makes the new directory entry durable. Some file systems cannot fsync a folder (EINVAL).
void sync_folder(const std::string& path) {
  const Descriptor folder(::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0) return;  // a folder that may be written but not listed
  if (::fsync(folder.get()) != 0 && errno != EINVAL) fail_system(path, "a synced folder", errno);
}

}  // namespace

std::string read_text(const std::string& path, int64_t limit) {
  const Descriptor file = open_to_read(path);
  const struct stat status = status_of(file, path);
  const auto refuse = [&] { fail(path, fmt::format("at most {} bytes", limit), "a larger file"); };
  std::string text;
  if (S_ISREG(status.st_mode)) {
    if (status.st_size > limit) refuse();
    text.reserve(static_cast<size_t>(status.st_size));
  }
  std::vector<char> buffer(size_t{1} << 16);
  while (const size_t count = read_some(file, buffer, path)) {
    text.append(buffer.data(), count);
    if (std::cmp_greater(text.size(), limit)) refuse();
  }
  return text;
}

std::shared_ptr<const std::byte> map_file(const std::string& path, int64_t offset, int64_t size) {
  const auto [file, length] = open_regular(path);
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

int64_t file_size(const std::string& path) { return open_regular(path).second; }

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  struct stat status {};
  if (::stat(path_.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    fail(path_, "a file name to write", S_ISDIR(status.st_mode) ? "a folder" : "a device or pipe");
  }
  // The process id keeps processes apart, O_EXCL the threads of one (and left-overs of dead ones).
  for (int attempt = 0; attempt < 10000; ++attempt) {
    temporary_ = fmt::format("{}.{}-{}.tmp", path_, ::getpid(), attempt);
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ >= 0) return;
    if (errno != EEXIST) fail_system(path_, "a file name in a writable folder", errno);
  }
  fail(path_, "room for a temporary file beside it", "10000 left-over .tmp files");
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

void AtomicFile::write(std::string_view text) {
  const int error = write_all(descriptor_, text);
  if (error != 0) fail_system(path_, "room to write", error);
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail_system(path_, "room to write", errno);
  const int descriptor = std::exchange(descriptor_, -1);
  if (::close(descriptor) != 0) fail_system(path_, "room to write", errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    fail_system(path_, "a file name to write", errno);
  }
  temporary_.clear();
  sync_folder(path_);
}

void make_folder(const std::string& path) {
  std::error_code error;
  if (!path.empty()) std::filesystem::create_directories(path, error);
  if (error) fail(path, "a folder that can be made", error.message());
}

void write_file(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void append_line(const std::string& path, std::string_view line) {
  const Descriptor file(::open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666));
  if (file.get() < 0) fail_system(path, "a file to append to", errno);
  while (::flock(file.get(), LOCK_EX) != 0) {
    if (errno != EINTR) fail_system(path, "a file that can be locked", errno);
  }
  const struct stat status = status_of(file, path);
  std::string text;
  char last = '\n';
  if (status.st_size > 0 && ::pread(file.get(), &last, 1, status.st_size - 1) == 1 &&
      last != '\n') {
    text.push_back('\n');
  }
  text.append(line).append("\n");
  int error = write_all(file.get(), text);
  if (error == 0 && ::fsync(file.get()) != 0) error = errno;
  if (error == 0) return;
  const bool undone = ::ftruncate(file.get(), status.st_size) == 0;
  fail(path, "room to append",
       std::generic_category().message(error) + (undone ? "" : " and half a line was left"));
}

std::string hash_file(const std::string& path) {
  const auto [file, length] = open_regular(path);
  std::vector<char> buffer(size_t{1} << 20);
  Sha256 hash;
  while (const size_t count = read_some(file, buffer, path)) {
    hash.update(std::string_view(buffer.data(), count));
  }
  return hash.hex();
}

}  // namespace scute
