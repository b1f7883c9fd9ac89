#include <fmt/core.h>

#include <algorithm>
#include <limits>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/io/zip.h"

namespace scute {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kLocalBytes = 30;
constexpr uint16_t kDate = 0x21;        // 1980-01-01, the first one the format knows
constexpr uint16_t kPlain = 20;         // version 2.0: directories and deflate
constexpr uint16_t kWith64 = 45;        // version 4.5: ZIP64
constexpr uint16_t kUtf8 = 0x800;       // flag: names are UTF-8
constexpr uint16_t kZip64Field = 1;     // extra field ids: ZIP64,
constexpr uint16_t kPadField = 0x4246;  // and "FB", the padding that PyTorch writes too
constexpr uint32_t kInZip64 = std::numeric_limits<uint32_t>::max();

/// Little-endian fields one after another.
class Fields {
 public:
  template <class... T>
  Fields& operator()(T... values) {
    (text_.append(reinterpret_cast<const char*>(&values), sizeof(values)), ...);
    return *this;
  }
  Fields& text(std::string_view bytes) {
    text_.append(bytes);
    return *this;
  }
  const std::string& get() const { return text_; }

 private:
  std::string text_;
};

/// The ZIP64 extra field with these values; empty for none.
std::string zip64_field(const std::vector<int64_t>& values) {
  if (values.empty()) return {};
  Fields out;
  out(kZip64Field, static_cast<uint16_t>(8 * values.size()));
  for (const int64_t value : values) out(value);
  return out.get();
}

uint32_t low(int64_t value, bool in_zip64) {
  return in_zip64 ? kInZip64 : static_cast<uint32_t>(value);
}

}  // namespace

void ZipWriter::add(const std::string& name, std::span<const std::byte> bytes) {
  const auto size = static_cast<int64_t>(bytes.size());
  const bool wide = size >= zip64_from_;
  const auto name_bytes = narrow<uint16_t>(name.size(), file_.path());
  std::string extra = wide ? zip64_field({size, size}) : std::string();
  const int64_t plain =
      position_ + kLocalBytes + name_bytes + static_cast<int64_t>(extra.size()) + 4;
  const int64_t pad = (kAlignment - plain % kAlignment) % kAlignment;
  extra += Fields()(kPadField, static_cast<uint16_t>(pad))
               .text(std::string(static_cast<size_t>(pad), 'Z'))
               .get();
  const uint32_t crc = crc32(bytes);
  Fields header;
  header(uint32_t{0x04034b50}, wide ? kWith64 : kPlain, kUtf8, uint16_t{0}, uint16_t{0}, kDate, crc,
         low(size, wide), low(size, wide), name_bytes, static_cast<uint16_t>(extra.size()));
  header.text(name).text(extra);
  written_.push_back({name, position_, size, crc});
  file_.write(header.get());
  file_.write(bytes);
  position_ += static_cast<int64_t>(header.get().size()) + size;
}

void ZipWriter::finish() {
  Fields directory;
  for (const Written& entry : written_) {
    const bool wide = entry.size >= zip64_from_;
    const bool far = entry.header >= zip64_from_;
    std::vector<int64_t> large;
    if (wide) large = {entry.size, entry.size};
    if (far) large.push_back(entry.header);
    const std::string extra = zip64_field(large);
    const uint16_t version = large.empty() ? kPlain : kWith64;
    directory(uint32_t{0x02014b50}, version, version, kUtf8, uint16_t{0}, uint16_t{0}, kDate,
              entry.crc, low(entry.size, wide), low(entry.size, wide),
              static_cast<uint16_t>(entry.name.size()), static_cast<uint16_t>(extra.size()),
              uint16_t{0}, uint16_t{0}, uint16_t{0}, uint32_t{0}, low(entry.header, far));
    directory.text(entry.name).text(extra);
  }
  const auto size = static_cast<int64_t>(directory.get().size());
  const auto count = static_cast<int64_t>(written_.size());
  const bool wide = position_ >= zip64_from_ || size >= zip64_from_ || count >= 0xffff;
  Fields end;
  if (wide) {
    end(uint32_t{0x06064b50}, int64_t{44}, kWith64, kWith64, uint32_t{0}, uint32_t{0}, count, count,
        size, position_);
    end(uint32_t{0x07064b50}, uint32_t{0}, position_ + size, uint32_t{1});
  }
  const uint16_t small = wide ? uint16_t{0xffff} : static_cast<uint16_t>(count);
  end(uint32_t{0x06054b50}, uint16_t{0}, uint16_t{0}, small, small, low(size, wide),
      low(position_, wide), uint16_t{0});
  file_.write(directory.get());
  file_.write(end.get());
}

}  // namespace scute
