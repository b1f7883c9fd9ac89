#include "scute/io/input.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <deque>
#include <filesystem>
#include <new>
#include <span>
#include <system_error>
#include <thread>
#include <utility>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/io/file.h"
#include "scute/io/posix.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSmall = int64_t{64} << 20;

[[noreturn]] void refuse_change(const std::string& path) {
  fail(path, "the same file from beginning to end", "that it was changed while it was read");
}

/// Bytes read at `offset`, 0 at the end of the file.
size_t read_at(const Descriptor& file, std::span<std::byte> into, size_t offset,
               const std::string& path) {
  for (;;) {
    const ssize_t count = ::pread(file.get(), into.data(), into.size(), static_cast<off_t>(offset));
    if (count >= 0) return static_cast<size_t>(count);
    if (errno != EINTR) fail_system(path, "a readable file", errno);
  }
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
    const size_t count = read_at(file, {out.get() + done, size - done}, done, path);
    if (count == 0) refuse_change(path);
    done += count;
  }
  if (!same_state(status_of(file, path), before)) refuse_change(path);
  return out;
}

/// The bytes of a stream, which comes once.
std::shared_ptr<const std::byte> kept(std::string text) {
  const auto owner = std::make_shared<const std::string>(std::move(text));
  return {owner, reinterpret_cast<const std::byte*>(owner->data())};
}

/// Whether opening it again would give other bytes than the first time, or none.
bool is_stream(const std::string& path) {
  struct stat status {};
  return is_standard_input(path) ? ::fstat(STDIN_FILENO, &status) == 0 && !S_ISREG(status.st_mode)
                                 : ::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode) &&
                                       !S_ISDIR(status.st_mode);
}

}  // namespace

struct InputFile::Opened {
  explicit Opened(const std::string& name)
      : path(name),
        file(open_regular(is_standard_input(name) ? "/dev/stdin" : name).first),
        before(status_of(file, path)) {}
  Opened(const std::string& name, std::string stream) : path(name) {
    before.st_size = static_cast<off_t>(stream.size());
    stream_bytes = kept(std::move(stream));
  }

  /// Null of a large file.
  std::shared_ptr<const std::byte> memory() {
    if (stream_bytes) return stream_bytes;
    if (before.st_size > kSmall) {
      if (!same_state(status_of(file, path), before)) refuse_change(path);
      return nullptr;
    }
    const std::lock_guard lock(mutex);
    auto out = small.lock();
    if (!out) small = out = read_all(file, before, path);
    return out;
  }

  /// Empty when `stop` came first.
  std::string hash(const std::byte* whole, const std::atomic<bool>* stop = nullptr) {
    const std::lock_guard lock(mutex);
    if (!sha256.empty()) {
      if (!stream_bytes && !same_state(status_of(file, path), before)) refuse_change(path);
      return sha256;
    }
    Sha256 hash;
    const auto size = static_cast<size_t>(before.st_size);
    if (whole != nullptr) {
      hash.update(std::span(whole, size));
    } else {
      std::vector<std::byte> buffer(size_t{1} << 20);
      for (size_t done = 0; done < size;) {
        if (stop != nullptr && *stop) return "";
        const size_t count = read_at(
            file, std::span(buffer).first(std::min(buffer.size(), size - done)), done, path);
        if (count == 0) refuse_change(path);
        hash.update(std::span(buffer).first(count));
        done += count;
      }
      if (!same_state(status_of(file, path), before)) refuse_change(path);
    }
    return sha256 = hash.hex();
  }

  std::string path;
  Descriptor file;
  struct stat before {};
  std::mutex mutex;  ///< of what follows
  std::weak_ptr<const std::byte> small;
  std::string sha256;
  std::shared_ptr<const std::byte> stream_bytes;
};

/// One thread that hashes files in turn, until it is told to stop.
class InputFiles::Hashing {
 public:
  explicit Hashing(InputFiles& files) : files_(files) {}
  Hashing(const Hashing&) = delete;
  Hashing& operator=(const Hashing&) = delete;
  ~Hashing() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }

  void add(const std::vector<std::string>& paths) {
    const std::lock_guard lock(mutex_);
    waiting_.insert(waiting_.end(), paths.begin(), paths.end());
    if (running_ || waiting_.empty()) return;
    if (thread_.joinable()) thread_.join();    // it has said that it is done
    thread_ = std::thread([this] { run(); });  // which waits for this lock
    running_ = true;
  }

 private:
  void run() noexcept {
    for (;;) {
      std::string path;
      {
        const std::lock_guard lock(mutex_);
        running_ = !waiting_.empty() && !stop_;
        if (!running_) return;
        path = std::move(waiting_.front());
        waiting_.pop_front();
      }
      try {
        const InputFile file = files_.open(path);
        file.opened_->hash(file.memory_.get(), &stop_);
      } catch (...) {
        // Whoever asks for the hash meets the same error.
      }
    }
  }

  InputFiles& files_;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;  ///< of what follows
  std::deque<std::string> waiting_;
  bool running_ = false;
  std::thread thread_;
};

InputFiles::InputFiles() : hashing_(std::make_unique<Hashing>(*this)) {}

InputFiles::~InputFiles() = default;

void InputFiles::hash_beside(const std::vector<std::string>& paths) { hashing_->add(paths); }

InputFile::InputFile(const std::string& path) : InputFile(std::make_shared<Opened>(path)) {}

InputFile::InputFile(std::shared_ptr<Opened> opened)
    : opened_(std::move(opened)), memory_(opened_->memory()) {}

const std::string& InputFile::path() const { return opened_->path; }

int64_t InputFile::size() const { return opened_->before.st_size; }

std::shared_ptr<const std::byte> InputFile::bytes(int64_t offset, int64_t size) const {
  const int64_t all = this->size();
  if (offset < 0 || size < 0 || offset > all || size > all - offset) {
    fail(path(), fmt::format("bytes {} to {}", offset, checked_add(offset, size, path())),
         fmt::format("{} bytes", all));
  }
  if (memory_) return {memory_, memory_.get() + offset};
  if (status_of(opened_->file, path()).st_size != all) refuse_change(path());
  return map_part(opened_->file, path(), offset, size);
}

std::string InputFile::text(int64_t limit) const {
  if (size() > limit) fail(path(), fmt::format("at most {} bytes", limit), "a larger file");
  const auto whole = bytes(0, size());
  return {reinterpret_cast<const char*>(whole.get()), static_cast<size_t>(size())};
}

std::string InputFile::sha256() const { return opened_->hash(memory_.get()); }

InputFile InputFiles::open(const std::string& path, bool streams) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<InputFile::Opened>& found = opened_[path];
  if (!found && streams && is_stream(path)) {
    found = std::make_shared<InputFile::Opened>(
        path, read_text(is_standard_input(path) ? "/dev/stdin" : path));
  }
  if (!found) found = std::make_shared<InputFile::Opened>(path);
  return InputFile(found);
}

std::string InputFiles::text(const std::string& path, int64_t limit) {
  return open(path, true).text(limit);
}

std::string InputFiles::sha256(const std::string& path) { return open(path, true).sha256(); }

bool is_standard_input(std::string_view path) { return path == "-" || path == "/dev/stdin"; }

bool is_nameless(std::string_view path) {
  return is_standard_input(path) || path.starts_with("/dev/fd/");
}

InputStamps::InputStamps(const std::vector<std::string>& paths,
                         const std::vector<std::string>& outputs) {
  for (const std::string& path : paths) {
    if (!path.empty()) add(path);
  }
  if (outputs.empty()) return;
  for (const auto& written : InputStamps(outputs).stamps_) {
    std::erase_if(stamps_, [&](const auto& stamp) {
      return stamp.second.device == written.second.device &&
             stamp.second.inode == written.second.inode;
    });
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
