// What scute wrote and nobody changed since: a file whose bytes have the hash recorded with it.
#pragma once

#include <optional>
#include <string>

namespace scute {

/// Records the SHA-256 of a complete file: as its extended attribute `user.scute.sha256`; where the
/// file system has none, as a line of `.scute.sha256` beside `name` (as sha256sum writes and
/// checks it), which is where the file will be.
void seal(const std::string& file, const std::string& name, const std::string& sha256);
/// The same always beside.
void seal_beside(const std::string& name, const std::string& sha256);

/// The file of such lines in a folder.
constexpr const char* kSealsFile = ".scute.sha256";

/// Whether the regular file has a record of its hash.
bool is_sealed(const std::string& file);
/// The hash in the attribute alone.
std::optional<std::string> attribute_seal(const std::string& file);
/// Why a file, or the first of a folder's, is not what scute wrote: "changed since scute wrote it",
/// "not written by scute"; "" when all are, or a file is empty.
std::string why_not_unchanged(const std::string& path);

}  // namespace scute
