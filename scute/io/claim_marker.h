// The file by which a claim is known: who writes, since when, on which boot of which host.
#pragma once

#include <string>

namespace scute {

constexpr const char* kMarkerFile = ".scute-writing";

struct ClaimMarker {
  enum class State { empty, foreign, ours };
  State state = State::empty;
  std::string host, boot, started;
  long long process = 0;
  bool publishing = false;  ///< it is complete, and being put in place in steps
};

/// Of an open marker, from its beginning.
ClaimMarker read_marker(int descriptor);
/// This process's, in place of what the file holds; on disk when this returns.
void write_marker(int descriptor, const std::string& target);
/// Adds that the output is complete. On disk when this returns.
void note_publishing(int descriptor, const std::string& marker);
/// Whether a marker whose lock is free can have no living writer: it is of this boot, so that the
/// lock would be held, or of an earlier one of this host. Of another host a lock may say nothing,
/// because not every file system shares them.
bool is_proven_dead(const ClaimMarker& marker);
/// "process 7 on this host since 2026-01-01T00:00:00Z"; of a marker that is ours.
std::string writer_of(const ClaimMarker& marker);
/// The command that removes what a writer of this output left.
std::string way_out(const std::string& target);
/// Error that names the output and, as far as the marker says, its writer; and the way out, unless
/// its lock says that it lives: it is held, of this host, and there are `locks`.
[[noreturn]] void refuse_living(const std::string& target, int descriptor, bool locks);

}  // namespace scute
