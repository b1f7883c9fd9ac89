#include "scute/io/picture.h"

#include <fmt/format.h>

#include <new>

#include "scute/base/error.h"
#include "scute/io/picture_formats.h"

namespace scute {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kFormats = "a JPEG, PNG, WebP or BMP picture";
/// More than the 178,956,970 pixels of a BMP with 32 bits each take.
constexpr int64_t kMostBytes = int64_t{1} << 30;

using Decoder = Picture (*)(const PictureSource&);

/// Null when the first bytes are of none that is read.
Decoder decoder_of(std::string_view text) {
  if (text.starts_with("\xff\xd8\xff"sv)) return decode_jpeg;
  if (text.starts_with("\x89PNG\r\n\x1a\n"sv)) return decode_png;
  if (text.starts_with("RIFF"sv) && text.substr(0, 12).ends_with("WEBP"sv)) return decode_webp;
  if (text.starts_with("BM"sv)) return decode_bmp;
  return nullptr;
}

/// What people have in picture folders and scute does not read.
std::string_view name_other(std::string_view text) {
  if (text.empty()) return "no bytes";
  if (text.starts_with("GIF8"sv)) return "a GIF";
  if (text.starts_with("II*\0"sv) || text.starts_with("MM\0*"sv)) return "a TIFF";
  const std::string_view brand = text.substr(0, 12);
  if (brand.ends_with("ftypavif"sv)) return "an AVIF picture";
  if (brand.ends_with("ftypheic"sv) || brand.ends_with("ftypmif1"sv)) return "a HEIF picture";
  if (text.starts_with("\0\0\0\x0cjP  "sv)) return "a JPEG 2000 picture";
  if (text.starts_with("\x89PNG"sv)) return "a PNG whose line ends were changed in a transfer";
  if (text.starts_with("<"sv)) return "text (a web page or SVG)";
  return "another format";
}

}  // namespace

void PictureSource::refuse(std::string_view kind, std::string_view found) const {
  fail(where, fmt::format("a whole {} picture", kind), found);
}

Picture sized_picture(const PictureSource& source, int64_t width, int64_t height) {
  // Divided rather than multiplied: a header may say 2^32 - 1 twice.
  if (width < 1 || height < 1 || width > source.most_pixels / height) {
    fail(source.where, fmt::format("a picture of 1 to {} pixels", source.most_pixels),
         fmt::format("{} x {}", width, height));
  }
  Picture picture{.width = width, .height = height};
  picture.pixels.reserve(static_cast<size_t>(width * height * 3));
  return picture;
}

uint8_t* add_row(Picture& picture) {
  const size_t before = picture.pixels.size();
  picture.pixels.resize(before + static_cast<size_t>(picture.width) * 3);
  return picture.pixels.data() + before;
}

void add_all_rows(Picture& picture) {
  picture.pixels.resize(static_cast<size_t>(picture.width * picture.height * 3));
}

Picture decode_picture(std::span<const std::byte> bytes, std::string_view where,
                       int64_t most_pixels) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const Decoder decode = decoder_of(text);
  if (decode == nullptr) fail(where, kFormats, name_other(text));
  try {
    return decode({.bytes = bytes, .where = where, .most_pixels = most_pixels});
  } catch (const std::bad_alloc&) {
    fail(where, "a picture that fits into memory", "one that does not");
  }
}

Picture read_picture(const InputFile& file) {
  if (file.size() > kMostBytes) {
    fail(file.path(), fmt::format("at most {} bytes", kMostBytes), "a larger file");
  }
  const auto whole = file.bytes(0, file.size());
  return decode_picture({whole.get(), static_cast<size_t>(file.size())}, file.path());
}

Picture read_picture(const std::string& path) { return read_picture(InputFile(path)); }

}  // namespace scute
