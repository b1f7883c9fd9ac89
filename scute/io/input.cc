#include "scute/io/input.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <new>
#include <system_error>

#include "scute/base/checked.h"
#include "scute/base/error.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSmall = int64_t{64} << 20;

[[noreturn]] void refuse_change(const std::string& path) {
  fail(path, "the same file from beginning to end", "that it was changed while it was read");
}

bool same_state(const struct stat& a, const struct stat& b) {
  return a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
         a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

/// All of it. A file that shrinks meanwhile would read as zeros from a mapping; here it is noticed.
std::shared_ptr<const std::byte> read_all(const Descriptor& file, const struct stat& before,
                                          const std::string& path) {
  const auto size = static_cast<size_t>(before.st_size);
  constexpr std::align_val_t kAlignment{64};
  std::shared_ptr<std::byte> out(
      static_cast<std::byte*>(::operator new(std::max<size_t>(size, 1), kAlignment)),
      [](std::byte* memory) { ::operator delete(memory, kAlignment); });
  size_t done = 0;
  while (done < size) {
    const ssize_t count =
        ::pread(file.get(), out.get() + done, size - done, static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_system(path, "a readable file", errno);
    if (count == 0) refuse_change(path);
    done += static_cast<size_t>(count);
  }
  if (!same_state(status_of(file, path), before)) refuse_change(path);
  return out;
}

}  // namespace

InputFile::InputFile(const std::string& path)
    : path_(path), file_(std::make_shared<const Descriptor>(open_regular(path).first)) {
  const struct stat status = status_of(*file_, path_);
  size_ = status.st_size;
  if (size_ <= kSmall) memory_ = read_all(*file_, status, path_);
}

std::shared_ptr<const std::byte> InputFile::bytes(int64_t offset, int64_t size) const {
  if (offset < 0 || size < 0 || offset > size_ || size > size_ - offset) {
    fail(path_, fmt::format("bytes {} to {}", offset, checked_add(offset, size, path_)),
         fmt::format("{} bytes", size_));
  }
  if (memory_) return {memory_, memory_.get() + offset};
  if (status_of(*file_, path_).st_size != size_) refuse_change(path_);
  return map_part(*file_, path_, offset, size);
}

InputStamps::InputStamps(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    if (!path.empty()) add(path);
  }
}

InputStamps::Stamp InputStamps::stamp_of(const std::string& path, bool& there) {
  struct stat status {};
  there = ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
  return {status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec,
          status.st_mtim.tv_nsec};
}

void InputStamps::add(const std::string& path) {
  bool there = false;
  const Stamp stamp = stamp_of(path, there);
  if (there) stamps_.emplace(path, stamp);
  std::error_code unreadable;
  if (there || !fs::is_directory(path, unreadable)) return;
  for (fs::directory_iterator it(path, unreadable), end; !unreadable && it != end;
       it.increment(unreadable)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with(".") || name.ends_with(".writing") || name.ends_with(".jsonl")) continue;
    if (!it->is_symlink(unreadable) || !it->is_directory(unreadable)) add(it->path().string());
  }
}

void InputStamps::check() const {
  for (const auto& [path, before] : stamps_) {
    bool there = false;
    if (stamp_of(path, there) != before || !there) refuse_change(path);
  }
}

}  // namespace scute
