// Pictures: JPEG, PNG, WebP and BMP to 8-bit RGB.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "scute/io/input.h"

namespace scute {

/// Pillow's limit, twice its MAX_IMAGE_PIXELS.
inline constexpr int64_t kMostPicturePixels = 178'956'970;

/// Row-major height × width × 3 (red, green, blue).
struct Picture {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> pixels = {};

  const uint8_t* row(int64_t y) const { return pixels.data() + y * width * 3; }
  uint8_t* row(int64_t y) { return pixels.data() + y * width * 3; }
  bool operator==(const Picture&) const = default;
};

/// The bytes that Pillow's `Image.open(file).convert("RGB")` has: alpha is dropped, not blended;
/// grey is repeated (16-bit grey clipped at 255, 16-bit colours and grey with alpha cut to their
/// high byte), palettes are looked up, an orientation tag is not applied, of an animation the first
/// frame is taken. The format is told from the first bytes. Error naming `where` and what is wrong
/// when they are no picture, a damaged or truncated one, of a kind that is not read, or of more
/// than `most_pixels`. Stricter than Pillow: a PNG must be sound up to its last chunk.
Picture decode_picture(std::span<const std::byte> bytes, std::string_view where,
                       int64_t most_pixels = kMostPicturePixels);
/// The same of a file.
Picture read_picture(const InputFile& file);
Picture read_picture(const std::string& path);

}  // namespace scute
