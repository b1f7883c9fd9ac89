#include "scute/io/claim.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "scute/base/error.h"
#include "scute/base/json.h"
#include "scute/base/names.h"
#include "scute/io/claim_marker.h"
#include "scute/io/file.h"
#include "scute/io/posix.h"
#include "scute/io/seal.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMark = ".writing";
constexpr const char* kOld = ".old";
constexpr const char* kCheckpoint = ".checkpoint";

bool is_there(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0;
}

/// Without slashes at its end; Error when nothing that can be a name is left.
std::string plain_target(const std::string& given) {
  const fs::path path = fs::path(given).lexically_normal();
  std::string name = path.has_filename() ? path.string() : path.parent_path().string();
  const std::string last = base_name(name);
  if (last.empty() || last == "." || last == "..") {
    fail(given.empty() ? "output" : given, "a name for an output", given.empty() ? "none" : last);
  }
  return name;
}

int rename_with(const std::string& from, const std::string& to, unsigned flags) {
  return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags) == 0 ? 0 : errno;
}

/// Whether an errno says that the system or the file system has no such renaming.
bool has_none(int error) { return error == EINVAL || error == ENOSYS || error == ENOTSUP; }

}  // namespace

Claim::Claim(const std::string& target, Renames how, Before before)
    : target_(plain_target(target)),
      folder_(target_ + kMark),
      marker_(folder_ + "/" + kMarkerFile),
      payload_(folder_ + "/" + base_name(target_)),
      old_(folder_ + "/" + kOld),
      checkpoint_(folder_ + "/" + kCheckpoint),
      how_(how) {
  try {
    lock(before);
    take_over(before);
    begin();
  } catch (...) {
    if (lock_ >= 0) ::close(lock_);
    throw;
  }
}

Claim::~Claim() {
  remove_own();
  // By its marker the next writer knows whose a checkpoint is, or what could not be removed.
  if (holds_nothing_else()) {
    ::unlink(marker_.c_str());
    ::rmdir(folder_.c_str());
  }
  ::close(lock_);
}

bool Claim::holds_nothing_else() const {
  std::error_code error;
  for (fs::directory_iterator at(folder_, error), end; !error && at != end; at.increment(error)) {
    if (at->path().string() != marker_) return false;
  }
  return !error;
}

/// Without the marker, which is not to be made where the folder alone says whose it is.
bool has_locks(const std::string& folder) {
  const Descriptor file(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return file.get() >= 0 &&
         (::flock(file.get(), LOCK_SH | LOCK_NB) == 0 || errno == EWOULDBLOCK || errno == EINTR);
}

/// Leaves lock_ below 0 when there is none and none is to be made.
void Claim::open_marker(bool make) {
  constexpr int kFlags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  lock_ = ::open(marker_.c_str(), kFlags);
  made_marker_ = false;
  if (lock_ >= 0 || errno != ENOENT || !make) return;
  lock_ = ::open(marker_.c_str(), kFlags | O_CREAT | O_EXCL, 0666);
  made_marker_ = lock_ >= 0;
  // Another writer's of this very moment.
  if (lock_ < 0 && errno == EEXIST) lock_ = ::open(marker_.c_str(), kFlags);
}

/// False when the folder or its marker went away meanwhile: its writer ended. A marker is made by
/// who may have the claim, so that none is left in a folder that is about to go.
bool Claim::try_lock(Before writer) {
  const bool made = ::mkdir(folder_.c_str(), 0777) == 0;
  if (!made && errno != EEXIST) {
    fail_system(target_, "an output in a writable folder", errno);
  }
  struct stat status {};
  if (::lstat(folder_.c_str(), &status) != 0) return false;
  if (!S_ISDIR(status.st_mode)) fail(folder_, "no file of this name", "one; move it");
  open_marker(made || writer == Before::told || has_locks(folder_));
  if (lock_ < 0 && errno == ENOENT) return false;
  if (lock_ < 0) fail_system(target_, "an output that nobody else is writing", errno);
  int error = 0;
  do {
    error = ::flock(lock_, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
  } while (error == EINTR);
  if (error == EWOULDBLOCK) refuse_living(target_, lock_, true);
  locks_ = error == 0;
  // Where there are no locks the folder is one: who made it has it.
  if (!locks_ && !made && writer != Before::told) refuse_living(target_, lock_, false);
  struct stat ours {
  }, theirs{};
  return ::fstat(lock_, &ours) == 0 && ::lstat(marker_.c_str(), &theirs) == 0 &&
         ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev;
}

void Claim::lock(Before writer) {
  constexpr int kAttempts = 100;  // each needs another writer that ends at this very moment
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (try_lock(writer)) return;
    if (lock_ >= 0) ::close(std::exchange(lock_, -1));
  }
  fail(target_, "an output that nobody else is writing",
       "writers that come and go, or one that died at its first step; if none is at work, " +
           way_out(target_));
}

void Claim::take_over(Before writer) {
  const ClaimMarker before = read_marker(lock_);
  const std::string seals = folder_ + "/" + kSealsFile;
  const std::string seals_lock = append_lock(seals) + kMark;
  std::string foreign;
  bool left = false;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string path = entry.path().string();
    if (path == marker_) continue;
    left = true;
    // A file's own claim lies here while it is written.
    const bool own = path == payload_ || path == payload_ + kMark || path == old_ ||
                     path == checkpoint_ || path == seals || path == seals_lock;
    if (!own) foreign = entry.path().filename().string();
  }
  if (before.state == ClaimMarker::State::empty) {
    if (left && made_marker_) ::unlink(marker_.c_str());
    if (left) fail(folder_, "a folder that scute left there", "another one; move it");
  } else {
    if (before.state == ClaimMarker::State::foreign || !foreign.empty()) {
      fail(folder_, "a folder that scute left there",
           foreign.empty() ? "another's mark; move it" : foreign + " in it; move that");
    }
    const bool gone = writer != Before::unknown || is_proven_dead(before);
    const bool told = writer == Before::told;
    if (!(told || locks_) || !gone) refuse_living(target_, lock_, locks_);
    if (before.publishing && !is_there(target_)) {
      std::error_code error;
      fs::rename(is_there(payload_) ? payload_ : old_, target_, error);
      if (error) fail(target_, "a name that what is complete can take", error.message());
      sync_folder(folder_of(target_));
    }
    remove_own();
    // What was about to be kept when its writer died: this claim is over all of it.
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(checkpoint_, ignored)) {
      if (entry.path().extension() == kMark) fs::remove_all(entry.path(), ignored);
    }
  }
}

/// A folder of which nobody could tell whose it is must not be left.
void Claim::begin() {
  try {
    write_marker(lock_, target_);
  } catch (const Error&) {
    if (read_marker(lock_).state != ClaimMarker::State::ours && holds_nothing_else()) {
      ::unlink(marker_.c_str());
      ::rmdir(folder_.c_str());
    }
    throw;
  }
}

void Claim::remove_own() {
  std::error_code ignored;
  // Only a renaming in steps that was cut short leaves the name free and the old output here.
  if (is_there(old_) && !is_there(target_)) fs::rename(old_, target_, ignored);
  fs::remove_all(payload_, ignored);
  fs::remove_all(payload_ + kMark, ignored);
  fs::remove_all(old_, ignored);
  const std::string seals = folder_ + "/" + kSealsFile;
  ::unlink(seals.c_str());
  ::rmdir((append_lock(seals) + kMark).c_str());
}

void Claim::require_no_checkpoint() const {
  if (!is_there(checkpoint_)) return;
  fail(target_, "no unfinished work of another command there",
       "what one kept with --checkpoint-every; it goes on there, or " + way_out(target_));
}

void Claim::forget_checkpoint() {
  std::error_code ignored;
  fs::remove_all(checkpoint_, ignored);
}

Claim::Standing Claim::standing_of(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return {};
  return {true,           status.st_dev,         status.st_ino,
          status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

void Claim::note_standing() { standing_ = standing_of(target_); }

void Claim::refuse_changed() const {
  fail(target_, standing_.there ? "what was there when this began" : "no such name, as before",
       "that it was changed or made meanwhile; it stays");
}

void Claim::publish() {
  if (standing_of(target_) != standing_) refuse_changed();
  if (!standing_.there) {
    put_where_nothing_is();
  } else if (how_ == Renames::in_steps) {
    exchange_in_steps();
  } else {
    exchange();
  }
  sync_folder(folder_of(target_));
  forget_checkpoint();
}

void Claim::publish_over() {
  if (::rename(payload_.c_str(), target_.c_str()) != 0) {
    fail_system(target_, "a name that can be written", errno);
  }
  sync_folder(folder_of(target_));
  forget_checkpoint();
}

void Claim::put_where_nothing_is() {
  int error = rename_with(payload_, target_, RENAME_NOREPLACE);
  if (has_none(error)) error = ::rename(payload_.c_str(), target_.c_str()) == 0 ? 0 : errno;
  if (error == EEXIST || error == ENOTEMPTY) refuse_changed();
  if (error != 0) fail_system(target_, "a name that can be written", error);
}

/// The old output is then the payload, and goes with the claim.
void Claim::exchange() {
  const int error = rename_with(payload_, target_, RENAME_EXCHANGE);
  if (has_none(error)) return exchange_in_steps();
  if (error == ENOENT) refuse_changed();
  if (error != 0) fail_system(target_, "a name that can be written", error);
  if (standing_of(payload_) == standing_) return;
  rename_with(payload_, target_, RENAME_EXCHANGE);
  refuse_changed();
}

void Claim::exchange_in_steps() {
  if (!fs::is_directory(payload_)) return publish_over();  // of a file that is one step
  note_publishing(lock_, marker_);
  std::error_code error;
  fs::rename(target_, old_, error);
  if (!error) fs::rename(payload_, target_, error);
  if (error) fail(target_, "a folder that can be put there", error.message());
}

bool is_being_written(const std::string& target) {
  const std::string marker = plain_target(target) + kMark + "/" + kMarkerFile;
  const Descriptor file(::open(marker.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (file.get() < 0) return false;
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) return true;
  const ClaimMarker found = read_marker(file.get());
  return found.state == ClaimMarker::State::ours && !is_proven_dead(found);
}

}  // namespace scute
