#include "scute/io/zip.h"

#include <fmt/core.h>
#include <zip.h>
#include <zlib.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "scute/base/error.h"
#include "scute/io/byte_reader.h"
#include "scute/io/mapped_tensor.h"

namespace scute {
namespace {

constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr uint32_t kEntrySignature = 0x02014b50;
constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kEnd64Signature = 0x06064b50;
constexpr uint32_t kLocator64Signature = 0x07064b50;
constexpr size_t kEndBytes = 22, kEnd64Bytes = 56, kLocator64Bytes = 20, kEntryBytes = 46;
constexpr uint64_t kSee64 = 0xffffffff;  // "the value is in the ZIP64 record"
/// Deflate's densest code: 258 bytes from two bits, 1032:1.
constexpr uint64_t kMaxRatio = 1032;
/// Of an archive as a whole. Weights and activations shrink to no less than a tenth; arrays of
/// zeros, which shrink a thousandfold, are small. 3 MB of a bomb are 350 MB here instead of 3.1 GB.
constexpr int64_t kFreeBytes = int64_t{64} << 20;
constexpr int64_t kUsualRatio = 100;

using Bytes = std::span<const std::byte>;

/// Where the directory lies; `end` is the first byte after all that may hold entries or directory.
struct Directory {
  uint64_t offset, size, count, end;
};

/// Position of the end record: the last one whose comment reaches exactly to the end of the file.
size_t find_end(Bytes file, std::string_view where) {
  if (file.size() >= kEndBytes) {
    const size_t last = file.size() - kEndBytes;
    for (size_t back = 0; back <= std::min<size_t>(last, 0xffff); ++back) {
      ByteReader in(file.subspan(last - back), where);
      if (in.little<uint32_t>() != kEndSignature) continue;
      in.take(16);
      if (in.little<uint16_t>() == back) return last - back;
    }
  }
  fail(where, "a zip archive", "no end record; truncated, or another format");
}

std::optional<Directory> find_zip64(Bytes file, size_t end, std::string_view where) {
  if (end < kLocator64Bytes) return std::nullopt;
  ByteReader locator(file.subspan(end - kLocator64Bytes), where);
  if (locator.little<uint32_t>() != kLocator64Signature) return std::nullopt;
  const auto disk = locator.little<uint32_t>();
  const auto position = locator.little<uint64_t>();
  const auto disks = locator.little<uint32_t>();
  const size_t limit = end - kLocator64Bytes;
  if (disk != 0 || disks > 1) fail(where, "a zip archive in one part", "several disks");
  if (limit < kEnd64Bytes || position > limit - kEnd64Bytes) {
    fail(where, "a ZIP64 end record before its locator", fmt::format("offset {}", position));
  }
  ByteReader in(file.subspan(static_cast<size_t>(position)), where);
  if (in.little<uint32_t>() != kEnd64Signature) fail(where, "a ZIP64 end record", "other bytes");
  in.take(8 + 2 + 2);  // record size and versions
  const auto this_disk = in.little<uint32_t>();
  const auto directory_disk = in.little<uint32_t>();
  const auto count_here = in.little<uint64_t>();
  const auto count = in.little<uint64_t>();
  if (this_disk != 0 || directory_disk != 0 || count_here != count) {
    fail(where, "a zip archive in one part", "several disks");
  }
  const auto size = in.little<uint64_t>();
  const auto offset = in.little<uint64_t>();
  return Directory{offset, size, count, position};
}

Directory find_directory(Bytes file, std::string_view where) {
  const size_t end = find_end(file, where);
  ByteReader in(file.subspan(end), where);
  in.take(4);
  const auto disk = in.little<uint16_t>();
  const auto directory_disk = in.little<uint16_t>();
  const auto count_here = in.little<uint16_t>();
  const auto count = in.little<uint16_t>();
  const auto size = in.little<uint32_t>();
  const auto offset = in.little<uint32_t>();
  Directory directory{offset, size, count, end};
  if (count == 0xffff || size == kSee64 || offset == kSee64) {
    if (const auto found = find_zip64(file, end, where)) directory = *found;
  } else if (disk != 0 || directory_disk != 0 || count_here != count) {
    fail(where, "a zip archive in one part", "several disks");
  }
  if (directory.offset > directory.end || directory.size > directory.end - directory.offset ||
      directory.count > directory.size / kEntryBytes) {
    fail(where, fmt::format("a zip directory within {} bytes", directory.end),
         fmt::format("{} entries in {} bytes from byte {} on", directory.count, directory.size,
                     directory.offset));
  }
  return directory;
}

/// What one directory record says, before the local header is looked at.
struct Record {
  std::string_view name;
  uint32_t crc;
  uint64_t packed, size, header;
  bool stored;
};

/// The ZIP64 extra field holds, in this order, those of the three that did not fit 32 bits.
void read_zip64_extra(ByteReader extra, Record& record, std::string_view where) {
  while (extra.left() >= 4) {
    const auto id = extra.little<uint16_t>();
    const auto bytes = extra.take(extra.little<uint16_t>());
    if (id != 1) continue;
    ByteReader in(bytes, where);
    for (uint64_t* value : {&record.size, &record.packed, &record.header}) {
      if (*value == kSee64) *value = in.little<uint64_t>();
    }
    return;
  }
}

Record read_record(ByteReader& in, std::string_view where) {
  if (in.little<uint32_t>() != kEntrySignature) fail(where, "a zip directory entry", "other bytes");
  in.take(4);  // versions
  const auto flags = in.little<uint16_t>();
  const auto method = in.little<uint16_t>();
  in.take(4);  // time and date
  Record record{};
  record.crc = in.little<uint32_t>();
  record.packed = in.little<uint32_t>();
  record.size = in.little<uint32_t>();
  const auto name_bytes = in.little<uint16_t>();
  const auto extra_bytes = in.little<uint16_t>();
  const auto comment_bytes = in.little<uint16_t>();
  in.take(2 + 2 + 4);  // disk and attributes
  record.header = in.little<uint32_t>();
  record.name = in.text(name_bytes);
  read_zip64_extra(ByteReader(in.take(extra_bytes), where), record, where);
  in.take(comment_bytes);
  const std::string here = fmt::format("{}: entry {}", where, record.name);
  if ((flags & 1) != 0) fail(here, "no encryption", "an encrypted entry");
  if (method != 0 && method != 8)
    fail(here, "stored or deflated", fmt::format("method {}", method));
  record.stored = method == 0;
  return record;
}

ZipEntry locate(const Record& record, Bytes file, uint64_t end, std::string_view where) {
  const std::string here = fmt::format("{}: entry {}", where, record.name);
  if (record.header > end) {
    fail(here, fmt::format("a local header before byte {}", end), fmt::format("{}", record.header));
  }
  ByteReader in(
      file.subspan(static_cast<size_t>(record.header), static_cast<size_t>(end - record.header)),
      here);
  if (in.little<uint32_t>() != kLocalSignature) fail(here, "a local header", "other bytes");
  in.take(22);
  const auto name_bytes = in.little<uint16_t>();
  const auto extra_bytes = in.little<uint16_t>();
  if (in.text(name_bytes) != record.name) fail(here, "that name in the local header", "another");
  in.take(extra_bytes);
  if (record.packed > in.left()) {
    fail(here, fmt::format("{} bytes of data", record.packed), fmt::format("{}", in.left()));
  }
  const bool possible =
      record.stored ? record.size == record.packed : record.size / kMaxRatio <= record.packed;
  if (!possible) {
    fail(here, fmt::format("a size that {} bytes can hold", record.packed),
         fmt::format("{} bytes", record.size));
  }
  return {std::string(record.name),
          static_cast<int64_t>(record.header + in.position()),
          static_cast<int64_t>(record.packed),
          static_cast<int64_t>(record.size),
          record.crc,
          record.stored};
}

/// Entries that share bytes are how small archives unpack to enormous ones.
void check_disjoint(std::vector<std::pair<uint64_t, uint64_t>> extents, std::string_view where) {
  std::sort(extents.begin(), extents.end());
  for (size_t i = 1; i < extents.size(); ++i) {
    if (extents[i].first < extents[i - 1].second) {
      fail(where, "zip entries side by side",
           fmt::format("an overlap at byte {}", extents[i].first));
    }
  }
}

void check_bomb(const std::vector<ZipEntry>& entries, std::string_view where) {
  // No overflow: entries lie side by side in the file and each is at most 1032 times its bytes.
  int64_t packed = 0, size = 0;
  for (const ZipEntry& entry : entries) {
    if (entry.stored) continue;
    packed += entry.packed;
    size += entry.size;
    if (size - kFreeBytes > packed * kUsualRatio) {
      fail(fmt::format("{}: entry {}", where, entry.name),
           fmt::format("at most {} unpacked bytes for each packed one beyond {} MB", kUsualRatio,
                       kFreeBytes >> 20),
           fmt::format("{} from {}", size, packed));
    }
  }
}

}  // namespace

std::vector<ZipEntry> parse_zip(Bytes file, std::string_view where) {
  const Directory directory = find_directory(file, where);
  ByteReader in(
      file.subspan(static_cast<size_t>(directory.offset), static_cast<size_t>(directory.size)),
      where);
  std::vector<ZipEntry> entries;
  std::set<std::string_view> names;
  std::vector<std::pair<uint64_t, uint64_t>> extents;
  for (uint64_t i = 0; i < directory.count; ++i) {
    const Record record = read_record(in, where);
    if (!names.insert(record.name).second) fail(where, "entry names used once", record.name);
    entries.push_back(locate(record, file, directory.offset, where));
    extents.emplace_back(record.header, entries.back().offset + entries.back().packed);
  }
  check_disjoint(std::move(extents), where);
  check_bomb(entries, where);
  return entries;
}

uint32_t crc32(Bytes bytes) {
  return static_cast<uint32_t>(
      ::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

ZipReader::ZipReader(InputFile file) : file_(std::move(file)) {
  const auto whole = file_.bytes(0, file_.size());
  entries_ = parse_zip({whole.get(), static_cast<size_t>(file_.size())}, path());
}

const ZipEntry* ZipReader::find(std::string_view name) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const ZipEntry& entry) { return entry.name == name; });
  return found == entries_.end() ? nullptr : &*found;
}

Tensor ZipReader::read(const ZipEntry& entry) const {
  if (entry.stored) return map_tensor(file_, entry.offset, DType::u8, {entry.size});
  const std::string here = fmt::format("{}: entry {}", path(), entry.name);
  const auto whole = file_.bytes(0, file_.size());
  zip_source_t* source =
      zip_source_buffer_create(whole.get(), static_cast<zip_uint64_t>(file_.size()), 0, nullptr);
  const std::unique_ptr<zip_t, void (*)(zip_t*)> archive(
      source == nullptr ? nullptr : zip_open_from_source(source, ZIP_RDONLY, nullptr),
      [](zip_t* a) { zip_discard(a); });
  if (!archive) {
    zip_source_free(source);
    fail(here, "an archive that libzip opens", "an error");
  }
  const std::unique_ptr<zip_file_t, void (*)(zip_file_t*)> data(
      zip_fopen(archive.get(), entry.name.c_str(), ZIP_FL_ENC_RAW),
      [](zip_file_t* f) { zip_fclose(f); });
  if (!data) fail(here, "deflated data", zip_strerror(archive.get()));
  Tensor out(DType::u8, {entry.size});
  const auto bytes = out.mutable_values<uint8_t>();
  size_t done = 0;
  zip_int64_t count = 0;
  while (done < bytes.size() &&
         (count = zip_fread(data.get(), bytes.data() + done, bytes.size() - done)) > 0) {
    done += static_cast<size_t>(count);
  }
  uint8_t beyond = 0;  // reading on past the last byte is what makes libzip check the CRC
  if (done != bytes.size() || zip_fread(data.get(), &beyond, 1) != 0) {
    fail(here, fmt::format("{} bytes of sound deflated data", entry.size),
         fmt::format("damage near byte {}", done));
  }
  return out;
}

}  // namespace scute
