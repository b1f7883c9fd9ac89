// Zip archives: a directory reader of our own, so that stored entries can be mapped where they lie;
// libzip unpacks the compressed ones. The writer stores, aligned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "scute/io/file.h"
#include "scute/io/input.h"
#include "scute/tensor/tensor.h"

namespace scute {

struct ZipEntry {
  std::string name;
  int64_t offset;  ///< of the first byte of its data in the file
  int64_t packed;  ///< bytes in the file
  int64_t size;    ///< bytes when unpacked; equals `packed` when stored
  uint32_t crc;    ///< CRC-32 of the unpacked bytes
  bool stored;     ///< not compressed
};

/// The directory of an archive (ZIP64 too), in its order. `file` is the whole file; only its end
/// and the entries' local headers are read. Refused: methods other than stored and deflate,
/// encryption, several disks, names used twice, entries that overlap or leave the file, local
/// headers that contradict the directory, sizes beyond deflate's largest ratio of 1032, and all
/// compressed entries together beyond 64 MB and 100 times their packed bytes: zip bombs.
std::vector<ZipEntry> parse_zip(std::span<const std::byte> file, std::string_view where);

uint32_t crc32(std::span<const std::byte> bytes);

/// An archive on disk.
class ZipReader {
 public:
  explicit ZipReader(InputFile file);
  explicit ZipReader(const std::string& path) : ZipReader(InputFile(path)) {}

  const InputFile& file() const { return file_; }
  const std::string& path() const { return file_.path(); }
  const std::vector<ZipEntry>& entries() const { return entries_; }
  /// Null when there is none.
  const ZipEntry* find(std::string_view name) const;
  /// The unpacked bytes, one-dimensional u8: mapped when stored (CRC not checked, that would read
  /// every page), else unpacked and checked.
  Tensor read(const ZipEntry& entry) const;

 private:
  InputFile file_;
  std::vector<ZipEntry> entries_;
};

/// Writes stored entries one after another; the data of each begins at a multiple of 64 bytes. All
/// dates are 1980-01-01, so equal content gives equal bytes.
class ZipWriter {
 public:
  /// Sizes, offsets and counts from `zip64_from` on (a count: from 65535) use ZIP64 records; a
  /// smaller value serves tests.
  explicit ZipWriter(AtomicFile& file, int64_t zip64_from = std::numeric_limits<uint32_t>::max())
      : file_(file), zip64_from_(zip64_from) {}

  void add(const std::string& name, std::span<const std::byte> bytes);
  /// Writes the directory; committing the file is the caller's.
  void finish();

 private:
  struct Written {
    std::string name;
    int64_t header, size;
    uint32_t crc;
  };

  AtomicFile& file_;
  int64_t zip64_from_;
  int64_t position_ = 0;
  std::vector<Written> written_;
};

}  // namespace scute
