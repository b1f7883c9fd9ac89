// BMP: 1, 4 and 8 bits with a palette, 16, 24 and 32 bits, either way up; not the packed kinds.
#include <fmt/format.h>

#include <array>
#include <bit>
#include <cstring>

#include "scute/io/byte_reader.h"
#include "scute/io/picture_formats.h"

namespace scute {
namespace {

constexpr std::string_view kKinds = "BMP (1, 4, 8, 16, 24 or 32 bits a pixel, not packed)";
constexpr uint32_t kOldHeader = 12, kHeader = 40, kHeaderWithMasks = 52;

struct BmpHeader {
  int64_t data = 0;  ///< offset of the first row
  int64_t width = 0, height = 0;
  bool top_down = false;
  int64_t bits = 0;                    ///< of a pixel
  std::array<uint32_t, 3> masks = {};  ///< where red, green and blue are in a pixel
  int64_t colors = 0;                  ///< of the palette; 0 when there is none
  size_t color_bytes = 4;
};

using Color = std::array<uint8_t, 3>;

/// Red, green and blue of 16 and 32 bits where the file says nothing: 5 bits or 8 each.
std::array<uint32_t, 3> usual_masks(int64_t bits) {
  if (bits == 16) return {0x7c00, 0x3e0, 0x1f};
  return {0xff0000, 0xff00, 0xff};
}

void check_packing(const PictureSource& source, const BmpHeader& header, uint32_t packing) {
  constexpr std::array<std::string_view, 6> kNames = {"", "RLE8", "RLE4", "", "JPEG", "PNG"};
  const bool masked = packing == 3 && (header.bits == 16 || header.bits == 32);
  if (packing == 0 || masked) return;
  const std::string_view name = packing < kNames.size() ? kNames[packing] : "";
  source.refuse(kKinds, name.empty() ? fmt::format("packing {}", packing)
                                     : fmt::format("{} (save it unpacked)", name));
}

/// 14 bytes of file header, then one of seven sorts of picture header, told by its length.
BmpHeader read_header(const PictureSource& source, ByteReader& in) {
  BmpHeader header;
  in.take(10);
  header.data = in.little<uint32_t>();
  const auto length = in.little<uint32_t>();
  if (length == kOldHeader) {
    header.width = in.little<uint16_t>();
    header.height = in.little<uint16_t>();
    header.color_bytes = 3;
  } else if (length >= kHeader && length <= 124) {
    header.width = in.little<int32_t>();
    header.height = in.little<int32_t>();
    header.top_down = header.height < 0;
    if (header.top_down) header.height = -header.height;
  } else {
    source.refuse(kKinds, fmt::format("a header of {} bytes", length));
  }
  in.take(2);  // planes
  header.bits = in.little<uint16_t>();
  const uint32_t packing = length == kOldHeader ? 0 : in.little<uint32_t>();
  uint32_t colors = 0;
  if (length != kOldHeader) {
    in.take(12);  // bytes of the pixels, resolution
    colors = in.little<uint32_t>();
    in.take(4);
  }
  check_packing(source, header, packing);
  header.masks = usual_masks(header.bits);
  uint32_t read = length == kOldHeader ? kOldHeader : kHeader;
  // Masks are in the header or, in its short form, right after it.
  if (packing == 3) {
    for (uint32_t& mask : header.masks) mask = in.little<uint32_t>();
    read = kHeaderWithMasks;
  }
  if (length > read) in.take(length - read);
  if (header.data == 0) header.data = static_cast<int64_t>(in.position());
  if (header.bits == 1 || header.bits == 4 || header.bits == 8) {
    header.colors = colors != 0 ? int64_t{colors} : int64_t{1} << header.bits;
    // Some writers forget the palette in the offset; Pillow adds it.
    if (header.data == 14 + int64_t{length}) header.data += 4 * header.colors;
  } else if (header.bits != 16 && header.bits != 24 && header.bits != 32) {
    source.refuse(kKinds, fmt::format("{} bits a pixel", header.bits));
  }
  return header;
}

/// Indices beyond the file's colours are black.
std::array<Color, 256> read_palette(const PictureSource& source, ByteReader& in,
                                    const BmpHeader& header) {
  std::array<Color, 256> palette = {};
  if (header.colors > 256) source.refuse(kKinds, fmt::format("{} colours", header.colors));
  for (size_t i = 0; i < static_cast<size_t>(header.colors); ++i) {
    const auto entry = in.take(header.color_bytes);
    for (size_t c = 0; c < 3; ++c) palette[i][c] = static_cast<uint8_t>(entry[2 - c]);
  }
  return palette;
}

void read_indices(const uint8_t* from, const BmpHeader& header,
                  const std::array<Color, 256>& palette, uint8_t* to) {
  const int64_t in_byte = 8 / header.bits;
  for (int64_t x = 0; x < header.width; ++x, to += 3) {
    // The first pixel is in the highest bits.
    const int64_t shift = 8 - header.bits * (x % in_byte + 1);
    const int64_t index = (from[x / in_byte] >> shift) & ((1 << header.bits) - 1);
    std::memcpy(to, palette[static_cast<size_t>(index)].data(), 3);
  }
}

void read_masked(const uint8_t* from, const BmpHeader& header, uint8_t* to) {
  const auto bytes = static_cast<size_t>(header.bits / 8);
  for (int64_t x = 0; x < header.width; ++x, from += bytes, to += 3) {
    uint32_t pixel = 0;
    std::memcpy(&pixel, from, bytes);
    for (size_t c = 0; c < 3; ++c) {
      const int shift = std::countr_zero(header.masks[c]);
      const uint32_t most = header.masks[c] >> shift;
      to[c] = static_cast<uint8_t>(((pixel & header.masks[c]) >> shift) * 255 / most);
    }
  }
}

void read_row(const uint8_t* from, const BmpHeader& header, const std::array<Color, 256>& palette,
              uint8_t* to) {
  if (header.colors != 0) return read_indices(from, header, palette, to);
  if (header.bits != 24) return read_masked(from, header, to);
  for (int64_t x = 0; x < header.width; ++x, from += 3, to += 3) {
    to[0] = from[2];
    to[1] = from[1];
    to[2] = from[0];
  }
}

/// A mask is one run of 1 to 8 bits.
void check_masks(const PictureSource& source, const BmpHeader& header) {
  for (const uint32_t mask : header.masks) {
    const uint32_t run = mask == 0 ? 0 : mask >> std::countr_zero(mask);
    const bool inside = header.bits == 32 || mask < (uint32_t{1} << 16);
    if (run == 0 || run > 255 || !std::has_single_bit(run + 1) || !inside) {
      source.refuse(kKinds, fmt::format("a colour mask {:#x}", mask));
    }
  }
}

}  // namespace

Picture decode_bmp(const PictureSource& source) {
  ByteReader in(source.bytes, source.where);
  const BmpHeader header = read_header(source, in);
  if (header.bits == 16 || header.bits == 32) check_masks(source, header);
  Picture picture = sized_picture(source, header.width, header.height);
  const std::array<Color, 256> palette = read_palette(source, in, header);
  const int64_t row_bytes = (header.width * header.bits + 7) / 8;
  const int64_t stride = (row_bytes + 3) / 4 * 4;
  // The last row may lack the bytes that fill it up to a multiple of four.
  const int64_t end = header.data + stride * (header.height - 1) + row_bytes;
  if (const auto found = static_cast<int64_t>(source.bytes.size()); end > found) {
    source.refuse("BMP", fmt::format("{} bytes where its header asks for {}", found, end));
  }
  for (int64_t y = 0; y < header.height; ++y) {
    const int64_t stored = header.top_down ? y : header.height - 1 - y;
    read_row(source.data() + header.data + stored * stride, header, palette, add_row(picture));
  }
  return picture;
}

}  // namespace scute
