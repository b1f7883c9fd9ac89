#include "scute/io/file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <span>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/io/claim_marker.h"
#include "scute/io/posix.h"

namespace scute {
namespace {

/// A pipe that no name leads to: its writer is there already, or has been.
bool is_unnamed_pipe(const Descriptor& file) {
  std::error_code ignored;
  const auto link =
      std::filesystem::read_symlink(fmt::format("/proc/self/fd/{}", file.get()), ignored);
  return link.string().starts_with("pipe:");
}

/// A regular file, or what is read as it comes; reading then waits again.
struct stat prepare_to_stream(const Descriptor& file, const std::string& path) {
  const struct stat status = status_of(file, path);
  if (S_ISREG(status.st_mode)) return status;
  const bool terminal = S_ISCHR(status.st_mode) && ::isatty(file.get()) == 1;
  if (!terminal && !(S_ISFIFO(status.st_mode) && is_unnamed_pipe(file))) refuse_kind(status, path);
  const int flags = ::fcntl(file.get(), F_GETFL);
  if (flags < 0 || ::fcntl(file.get(), F_SETFL, flags & ~O_NONBLOCK) != 0) {
    fail_system(path, "a readable file", errno);
  }
  return status;
}

/// Bytes read into `into`, 0 at the end of the file. EINTR is an error: only what waits for others
/// is interrupted, and whoever sent the signal wants that to end.
size_t read_some(const Descriptor& file, std::span<char> into, const std::string& path) {
  const ssize_t count = ::read(file.get(), into.data(), into.size());
  if (count < 0) fail_system(path, "a readable file", errno);
  return static_cast<size_t>(count);
}

}  // namespace

std::string read_text(const std::string& path, int64_t limit) {
  const Descriptor file = open_to_read(path);
  const struct stat status = prepare_to_stream(file, path);
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
  return map_part(open_regular(path).first, path, offset, size);
}

int64_t file_size(const std::string& path) { return open_regular(path).second; }

void make_folder(const std::string& path) {
  std::error_code error;
  if (!path.empty()) std::filesystem::create_directories(path, error);
  if (error) fail(path, "a folder that can be made", error.message());
}

namespace {

/// Of a file that others append to. Where the file system has no locks a folder is one, which one
/// process at a time can make.
class AppendLock {
 public:
  AppendLock(const Descriptor& file, const std::string& path) : name_(append_lock(path)) {
    int error = 0;
    do {
      error = ::flock(file.get(), LOCK_EX) == 0 ? 0 : errno;
    } while (error == EINTR);
    if (error != 0) wait_for_folder();
  }
  AppendLock(const AppendLock&) = delete;
  AppendLock& operator=(const AppendLock&) = delete;
  ~AppendLock() {
    if (made_) ::rmdir(folder().c_str());
  }

 private:
  void wait_for_folder() {
    constexpr int kSeconds = 30;
    for (int i = 0; i < kSeconds * 100; ++i) {
      made_ = ::mkdir(folder().c_str(), 0777) == 0;
      if (made_) return;
      if (errno != EEXIST) fail_system(folder(), "a folder that can be made", errno);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    fail(folder(), "no writer that keeps it for long",
         "one for more than 30 s; if no scute is at work there, " + way_out(name_));
  }
  std::string folder() const { return name_ + ".writing"; }

  std::string name_;
  bool made_ = false;
};

}  // namespace

std::string append_lock(const std::string& path) { return path + ".lock"; }

void append_line(const std::string& path, std::string_view line) {
  const Descriptor file(::open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666));
  if (file.get() < 0) fail_system(path, "a file to append to", errno);
  const AppendLock lock(file, path);
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

void require_appendable(const std::string& path) {
  const int mode = ::access(path.c_str(), F_OK) == 0 ? W_OK : W_OK | X_OK;
  const std::string& where = mode == W_OK ? path : folder_of(path);
  if (::access(where.c_str(), mode) != 0) fail_system(path, "a file to append to", errno);
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
