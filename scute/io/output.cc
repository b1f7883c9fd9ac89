#include "scute/io/output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/io/posix.h"
#include "scute/io/seal.h"

namespace scute {
namespace {

/// Before anything is made beside it.
std::string checked_name(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    fail(path, "a file name to write", S_ISDIR(status.st_mode) ? "a folder" : "a device or pipe");
  }
  if (path.ends_with("/")) fail(path, "a file name to write", "a folder's");
  return path;
}

}  // namespace

OutputFile::OutputFile(const std::string& path, Replace replace, Claim::Before before,
                       const std::function<bool(const std::string& path)>& vouched,
                       Claim::Kept kept)
    : claim_(checked_name(path), Claim::Renames::atomic, before), replace_(replace) {
  if (kept == Claim::Kept::refused) claim_.require_no_checkpoint();
  if (replace_ == Replace::anything) return;
  claim_.note_standing();
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return;
  const std::string why = why_not_unchanged(path);
  if (!why.empty() && !(vouched && S_ISREG(status.st_mode) && vouched(path))) {
    fail(path, "no file yet, or one as scute wrote it (--force replaces it)",
         "another file, which stays: " + why);
  }
}

void OutputFile::publish() {
  if (!attribute_seal(written())) seal(written(), path(), hash_file(written()));
  if (replace_ == Replace::anything) {
    claim_.publish_over();
  } else {
    claim_.publish();
  }
}

AtomicFile::AtomicFile(const std::string& path, Replace replace) : output_(path, replace) {
  descriptor_ =
      ::open(output_.written().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (descriptor_ < 0) fail_system(path, "a file name in a writable folder", errno);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

void AtomicFile::write(std::string_view text) {
  const int error = write_all(descriptor_, text);
  if (error != 0) fail_system(path(), "room to write", error);
  hash_.update(text);
}

void AtomicFile::commit() {
  // Before fsync: the record is on disk when the file is.
  seal(output_.written(), path(), hash_.hex());
  if (::fsync(descriptor_) != 0) fail_system(path(), "room to write", errno);
  const int descriptor = std::exchange(descriptor_, -1);
  if (::close(descriptor) != 0) fail_system(path(), "room to write", errno);
  output_.publish();
}

void write_file(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace scute
