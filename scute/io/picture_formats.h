// One reader a format, for picture.cc. Each checks the size in the header before it takes memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "scute/io/picture.h"

namespace scute {

/// The bytes of one picture, what messages call them, and the largest that is wanted.
struct PictureSource {
  std::span<const std::byte> bytes;
  std::string_view where;
  int64_t most_pixels;

  const uint8_t* data() const { return reinterpret_cast<const uint8_t*>(bytes.data()); }
  /// Error "WHERE: expected a whole KIND picture, found FOUND".
  [[noreturn]] void refuse(std::string_view kind, std::string_view found) const;
};

/// An empty picture of that size, with address space but no memory yet for its pixels: a file that
/// ends after ten rows costs ten rows. Error unless both sides are ≥ 1 and the whole is allowed.
Picture sized_picture(const PictureSource& source, int64_t width, int64_t height);
/// Adds one row, zero; the pointer lives until the next call.
uint8_t* add_row(Picture& picture);
/// Adds all rows at once.
void add_all_rows(Picture& picture);

Picture decode_jpeg(const PictureSource& source);
Picture decode_png(const PictureSource& source);
Picture decode_webp(const PictureSource& source);
Picture decode_bmp(const PictureSource& source);

}  // namespace scute
