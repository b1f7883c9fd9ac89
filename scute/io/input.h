// Files as they are read: opened once, and known to be the same from beginning to end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace scute {

/// A regular file, opened once: whatever is read of it is of that one file, also when its name is
/// given to another meanwhile. Small ones (64 MiB) are read into memory at once; of larger ones
/// parts are mapped, and who takes them away while they are used causes SIGBUS, which is the
/// program's to answer. Copies are of the same open file.
class InputFile {
 public:
  /// Error when it is no regular file, or changes while it is read.
  explicit InputFile(const std::string& path);

  const std::string& path() const;
  int64_t size() const;
  /// A part, as long as the pointer lives. Error when the file ends before offset + size.
  std::shared_ptr<const std::byte> bytes(int64_t offset, int64_t size) const;
  /// Whether these parts are mapped, not in memory.
  bool mapped() const { return memory_ == nullptr; }
  /// All of it, copied. Error when it is larger than `limit` bytes.
  std::string text(int64_t limit = int64_t{1} << 32) const;
  /// SHA-256 of the bytes that the others give, computed once. Error when it was changed since it
  /// was opened, also after the hash was computed.
  std::string sha256() const;

 private:
  friend class InputFiles;
  struct Opened;
  explicit InputFile(std::shared_ptr<Opened> opened);

  std::shared_ptr<Opened> opened_;
  std::shared_ptr<const std::byte> memory_;  ///< all of a small file
};

/// The files of one piece of work. Each is opened once, whenever and however often it is asked for
/// by that name: what is read, what is read again and what is hashed are one file. Small files are
/// in memory only while somebody has an InputFile of them. From any thread.
class InputFiles {
 public:
  /// Also what comes once and is kept: standard input ("-", /dev/stdin), pipes without a name
  /// (/dev/fd/63) and terminals, if `streams`. Error as InputFile's, and when the file was changed
  /// since it was opened first.
  InputFile open(const std::string& path, bool streams = false);
  /// All of a file, of a stream too. Error when it is larger than `limit` bytes.
  std::string text(const std::string& path, int64_t limit = int64_t{1} << 32);
  /// Of a file, of a stream too.
  std::string sha256(const std::string& path);
  /// Computes these files' sha256() on a thread beside the work, one after the other; who asks for
  /// one waits for it, and is told what was wrong with it. Returns at once.
  void hash_beside(const std::vector<std::string>& paths);

  InputFiles();
  InputFiles(const InputFiles&) = delete;
  InputFiles& operator=(const InputFiles&) = delete;
  /// Ends what hash_beside() began.
  ~InputFiles();

 private:
  class Hashing;

  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<InputFile::Opened>> opened_;
  std::unique_ptr<Hashing> hashing_;  ///< ends first: it opens files
};

/// Whether a name is standard input's: "-" or "/dev/stdin".
bool is_standard_input(std::string_view path);
/// Standard input, or a descriptor that the shell passed on (/dev/fd/63): the name says nothing of
/// what it holds.
bool is_nameless(std::string_view path);

/// What the files of a piece of work were when it began.
class InputStamps {
 public:
  InputStamps() = default;
  /// Files, and folders with all that lies in them but logs and what is hidden or being written.
  /// Empty names and those that lead to no file are none; nor is what the work itself writes,
  /// `outputs`, or what lies in one of them.
  explicit InputStamps(const std::vector<std::string>& paths,
                       const std::vector<std::string>& outputs = {});

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
