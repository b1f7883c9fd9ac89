// Files: mapped or read whole, appended under a lock; output.h, for those who do both, writes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "scute/io/output.h"

namespace scute {

/// The whole file; Error when it cannot be read or is larger than `limit` bytes. Besides regular
/// files a pipe without a name and a terminal are read (/dev/stdin, /dev/fd/63); named pipes and
/// devices are refused at once, and a signal with a handler ends the waiting for a pipe.
std::string read_text(const std::string& path, int64_t limit = int64_t{1} << 32);

/// A part of a file mapped read-only; the mapping lives as long as the returned pointer, which
/// points at the first byte asked for. One mapping a tensor lets a loader give memory back tensor
/// by tensor. Error when the file is not a regular one or ends before offset + size.
std::shared_ptr<const std::byte> map_file(const std::string& path, int64_t offset, int64_t size);
/// Bytes of a regular file; Error when there is none.
int64_t file_size(const std::string& path);

/// Makes a folder and those above it, unless they are there; "" is the working folder.
void make_folder(const std::string& path);
/// Adds `line` and a newline under an exclusive lock, on disk when this returns; starts a new line
/// first when the file ends in the middle of one. On an error (disk full) the file is as before. On
/// a file system without locks (some network file systems) the folder PATH.lock.writing is the
/// lock; an Error after 30 s of waiting for it.
void append_line(const std::string& path, std::string_view line);
/// The name whose claim's folder is that lock, PATH.lock, so that what a dead writer left of it is
/// found as a claim that came no further (leftovers.h): nothing in it tells whose it is.
std::string append_lock(const std::string& path);
/// Error unless append_line() has a chance: the file, or the folder it would be in, is writable.
void require_appendable(const std::string& path);
/// SHA-256 of a file, streamed.
std::string hash_file(const std::string& path);

}  // namespace scute
