#include "scute/io/leftovers.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>

#include "scute/base/error.h"
#include "scute/io/claim.h"
#include "scute/io/claim_marker.h"
#include "scute/io/posix.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kClaimEnding = ".writing";

/// Of everything in a claim's folder, itself included.
void measure_leftover(const fs::path& folder, Leftover& out) {
  std::error_code error;
  fs::file_time_type last = fs::last_write_time(folder, error);
  fs::recursive_directory_iterator at(folder, error);
  for (const fs::recursive_directory_iterator end; !error && at != end; at.increment(error)) {
    std::error_code gone;  // meanwhile
    last = std::max(last, fs::last_write_time(at->path(), gone));
    if (at->is_regular_file(gone)) out.bytes += static_cast<int64_t>(at->file_size(gone));
  }
  const std::chrono::duration<double> age = fs::file_time_type::clock::now() - last;
  out.age = std::max(0.0, age.count());
}

bool holds_only_marker(const fs::path& folder) {
  std::error_code error;
  fs::directory_iterator at(folder, error);
  for (const fs::directory_iterator end; !error && at != end; at.increment(error)) {
    if (at->path().filename() != kMarkerFile) return false;
  }
  return !error;
}

/// Of a claim with a marker; takes the marker's lock for a moment, until it is closed.
Leftover::Writer writer_of_marker(int marker, const ClaimMarker& found, const fs::path& folder) {
  const bool locked = ::flock(marker, LOCK_SH | LOCK_NB) == 0;
  if (!locked && errno == EWOULDBLOCK) return Leftover::Writer::living;
  const bool empty = found.state == ClaimMarker::State::empty;
  if (found.state == ClaimMarker::State::foreign || (empty && !holds_only_marker(folder))) {
    return Leftover::Writer::nobody;
  }
  return locked && !empty && is_proven_dead(found) ? Leftover::Writer::gone
                                                   : Leftover::Writer::unknown;
}

/// Nothing when the folder is no claim's.
std::optional<Leftover> leftover_of(const fs::path& folder) {
  const std::string path = folder.string();
  Leftover out{.target = path.substr(0, path.size() - kClaimEnding.size())};
  std::error_code error;
  const Descriptor marker(
      ::open((folder / kMarkerFile).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (marker.get() < 0) {
    // A claim that came no further than to make its folder.
    if (errno != ENOENT || !fs::is_empty(folder, error) || error) return std::nullopt;
    out.writer = Leftover::Writer::unknown;
    measure_leftover(folder, out);
    return out;
  }
  const ClaimMarker found = read_marker(marker.get());
  if (found.state == ClaimMarker::State::ours) out.who = writer_of(found);
  out.writer = writer_of_marker(marker.get(), found, folder);
  out.unfinished = fs::exists(path + "/.checkpoint", error);
  measure_leftover(folder, out);
  return out;
}

class LeftoverWalk {
 public:
  explicit LeftoverWalk(const LeftoverSearch& search) : search_(search) {}

  Leftovers out;

  void look(const fs::path& folder, int depth) {
    std::error_code error;
    fs::directory_iterator at(folder, fs::directory_options::skip_permission_denied, error);
    for (const fs::directory_iterator end; !error && at != end; at.increment(error)) {
      if (++looked_ > search_.entries) {
        out.all = false;
        return;
      }
      std::error_code gone;
      if (at->is_symlink(gone) || !at->is_directory(gone)) continue;
      const fs::path& path = at->path();
      if (path.filename().string().ends_with(kClaimEnding) && path.filename() != kClaimEnding) {
        if (auto found = leftover_of(path)) out.found.push_back(std::move(*found));
      } else if (depth > 1) {
        look(path, depth - 1);
      } else {
        out.all = false;
      }
    }
  }

 private:
  LeftoverSearch search_;
  int64_t looked_ = 0;
};

}  // namespace

Leftovers find_leftovers(const std::string& folder, const LeftoverSearch& search) {
  std::error_code error;
  const fs::directory_iterator readable(folder, error);
  if (error) fail(folder, "a folder that can be read", error.message());
  LeftoverWalk walk(search);
  walk.look(fs::path(folder).lexically_normal(), search.depth);
  std::ranges::sort(walk.out.found, {}, &Leftover::target);
  return std::move(walk.out);
}

void remove_leftover(const Leftover& leftover, bool told) {
  // A claim would take over what came no further than its marker: whoever asks for it means it.
  if (leftover.writer == Leftover::Writer::unknown && !told) {
    fail(leftover.folder(), "a writer that is proven to be gone",
         "none that is; if it is gone, " + way_out(leftover.target));
  }
  Claim claim(leftover.target, Claim::Renames::atomic,
              told ? Claim::Before::told : Claim::Before::unknown);
  claim.forget_checkpoint();
}

}  // namespace scute
