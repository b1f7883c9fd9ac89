// Files that appear under their name only when complete, written by one process at a time.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "scute/base/hash.h"
#include "scute/io/claim.h"

namespace scute {

/// What a file that is written may take the place of.
enum class Replace {
  anything,  ///< any regular file
  unchanged  ///< what scute wrote and nobody changed since, and empty files
};

/// A name that is claimed from the beginning of the work to its end, for whatever writes a file by
/// its path: to written(), then publish().
class OutputFile {
 public:
  /// Error when another scute is writing it (claim.h), when `path` is a folder, a device or a pipe,
  /// when its folder is not there or not writable, or when `replace` does not cover what is there.
  /// `vouched`: asked of a file without a record of its hash, or with another one, whether its own
  /// content says that scute wrote it so.
  explicit OutputFile(const std::string& path, Replace replace = Replace::anything,
                      Claim::Before before = Claim::Before::unknown,
                      const std::function<bool(const std::string& path)>& vouched = {},
                      Claim::Kept kept = Claim::Kept::refused);

  const std::string& path() const { return claim_.target(); }
  /// Where it is written until publish(): in a folder beside its name, and named as it.
  const std::string& written() const { return claim_.payload(); }
  const Claim& claim() const { return claim_; }
  /// Puts what was written, and is on disk, under the name in one step, with a record of its hash.
  void publish();

 private:
  Claim claim_;
  Replace replace_;
};

/// Bytes in order, to such a file.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path, Replace replace = Replace::anything);
  ~AtomicFile();  ///< what was written goes unless commit() was called
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  const std::string& path() const { return output_.path(); }
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// Flush, fsync, rename, fsync of the folder.
  void commit();

 private:
  OutputFile output_;
  Sha256 hash_;
  int descriptor_ = -1;
};

void write_file(const std::string& path, std::string_view text);  ///< atomic

}  // namespace scute
