#include "scute/io/picture.h"

#include <gmock/gmock.h>
#include <png.h>
#include <sys/stat.h>
#include <zlib.h>

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
//
#include <jpeglib.h>
#include <webp/encode.h>

#include "scute/io/testing.h"

namespace scute::picture_test {
namespace {

using fixtures::bytes_of;
using fixtures::error_of;
using fixtures::little;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::StartsWith;

using Pixels = std::vector<uint8_t>;

Picture decode(std::string_view file, int64_t most = kMostPicturePixels) {
  return decode_picture(bytes_of(file), "p", most);
}
Picture picture(int64_t width, int64_t height, Pixels pixels) {
  return {.width = width, .height = height, .pixels = std::move(pixels)};
}
/// A different colour for every pixel.
Picture gradient(int64_t width, int64_t height) {
  Picture out{.width = width, .height = height};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      out.pixels.insert(out.pixels.end(),
                        {static_cast<uint8_t>(x * 9), static_cast<uint8_t>(y * 11),
                         static_cast<uint8_t>(255 - x * 3 - y * 5)});
    }
  }
  return out;
}
/// The largest difference of a byte.
int farthest(const Picture& a, const Picture& b) {
  int most = a.pixels.size() == b.pixels.size() ? 0 : 1000;
  for (size_t i = 0; most < 1000 && i < a.pixels.size(); ++i) {
    most = std::max(most, std::abs(a.pixels[i] - b.pixels[i]));
  }
  return most;
}

// ---- files, written by the formats' own libraries ----

struct PngKind {
  int depth = 8, color = PNG_COLOR_TYPE_RGB, interlace = PNG_INTERLACE_NONE;
  std::vector<png_color> palette = {};
  Pixels transparency = {};
};

/// `rows` as they are in the file before packing, of equal length.
std::string png(int width, const std::vector<Pixels>& rows, PngKind kind) {
  std::string out;
  png_structp file = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(file);
  png_set_write_fn(
      file, &out,
      [](png_structp p, png_bytep from, size_t count) {
        static_cast<std::string*>(png_get_io_ptr(p))->append(reinterpret_cast<char*>(from), count);
      },
      [](png_structp) {});
  png_set_IHDR(file, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(rows.size()),
               kind.depth, kind.color, kind.interlace, 0, 0);
  if (!kind.palette.empty()) {
    png_set_PLTE(file, info, kind.palette.data(), static_cast<int>(kind.palette.size()));
  }
  if (!kind.transparency.empty()) {
    png_set_tRNS(file, info, kind.transparency.data(), static_cast<int>(kind.transparency.size()),
                 nullptr);
  }
  png_set_benign_errors(file, 1);
  png_write_info(file, info);
  std::vector<Pixels> copy = rows;
  std::vector<png_bytep> pointers;
  for (Pixels& row : copy) pointers.push_back(row.data());
  png_write_image(file, pointers.data());
  png_write_end(file, nullptr);
  png_destroy_write_struct(&file, &info);
  return out;
}
std::string png(const Picture& from, int interlace = PNG_INTERLACE_NONE) {
  std::vector<Pixels> rows;
  for (int64_t y = 0; y < from.height; ++y) {
    rows.emplace_back(from.row(y), from.row(y) + from.width * 3);
  }
  return png(static_cast<int>(from.width), rows, {.interlace = interlace});
}

struct JpegKind {
  int components = 3;
  J_COLOR_SPACE given = JCS_RGB, stored = JCS_YCbCr;
  bool progressive = false;
};

std::string jpeg(int width, int height, Pixels samples, JpegKind kind) {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &memory, &size);
  info.image_width = static_cast<JDIMENSION>(width);
  info.image_height = static_cast<JDIMENSION>(height);
  info.input_components = kind.components;
  info.in_color_space = kind.given;
  jpeg_set_defaults(&info);
  jpeg_set_colorspace(&info, kind.stored);
  jpeg_set_quality(&info, 100, TRUE);
  if (kind.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  for (int y = 0; y < height; ++y) {
    JSAMPROW row = samples.data() + y * width * kind.components;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::string out(reinterpret_cast<char*>(memory), size);
  std::free(memory);
  return out;
}
/// 8 × 8 of one colour.
std::string plain_jpeg(const Pixels& color, JpegKind kind) {
  Pixels samples;
  for (int i = 0; i < 64; ++i) samples.insert(samples.end(), color.begin(), color.end());
  kind.components = static_cast<int>(color.size());
  return jpeg(8, 8, samples, kind);
}

/// Lossless, RGBA, the colours of transparent pixels kept.
std::string webp(int width, int height, const Pixels& rgba) {
  WebPConfig config;
  WebPPicture source;
  WebPMemoryWriter writer;
  WebPMemoryWriterInit(&writer);
  EXPECT_TRUE(WebPConfigInit(&config) && WebPPictureInit(&source));
  config.lossless = config.exact = 1;
  source.use_argb = 1;
  source.width = width;
  source.height = height;
  source.writer = WebPMemoryWrite;
  source.custom_ptr = &writer;
  EXPECT_TRUE(WebPPictureImportRGBA(&source, rgba.data(), width * 4));
  EXPECT_TRUE(WebPEncode(&config, &source));
  std::string out(reinterpret_cast<char*>(writer.mem), writer.size);
  WebPPictureFree(&source);
  WebPMemoryWriterClear(&writer);
  return out;
}

std::string text(std::initializer_list<int> bytes) {
  std::string out;
  for (const int byte : bytes) out += static_cast<char>(byte);
  return out;
}

/// 1 × 2 pixels of 24 bits; the last row is not filled up.
std::string small_bmp() {
  return "BM" + little(61) + little(0) + little(54) + little(40) + little(1) + little(2) +
         little(uint16_t{1}) + little(uint16_t{24}) + std::string(24, '\0') + "bgr bgr";
}

/// One small file a format.
std::vector<std::string> samples() {
  const Picture small = gradient(11, 9);
  Pixels rgba;
  for (int i = 0; i < 99 * 4; ++i) rgba.push_back(static_cast<uint8_t>(i * i));
  return {jpeg(11, 9, small.pixels, {}),
          jpeg(11, 9, small.pixels, {.progressive = true}),
          png(small),
          png(small, PNG_INTERLACE_ADAM7),
          webp(11, 9, rgba),
          small_bmp()};
}

// ---- JPEG ----

TEST(DecodeJpeg, ReadsColourAndGreyWithinTheRoundingOfTheFormat) {
  const Picture smooth = gradient(16, 16);
  // Quality 100 rounds coefficients to whole numbers; colours are halved in both directions.
  for (const bool progressive : {false, true}) {
    const Picture out = decode(jpeg(16, 16, smooth.pixels, {.progressive = progressive}));
    EXPECT_EQ(std::pair(out.width, out.height), (std::pair<int64_t, int64_t>(16, 16)));
    EXPECT_LE(farthest(out, smooth), 16);
  }
  EXPECT_THAT(decode(plain_jpeg({77}, {.given = JCS_GRAYSCALE, .stored = JCS_GRAYSCALE})).pixels,
              Each(77));
  const Picture red = decode(plain_jpeg({250, 3, 7}, {.stored = JCS_RGB}));
  EXPECT_EQ(Pixels(red.pixels.begin(), red.pixels.begin() + 3), (Pixels{250, 3, 7}));
}

TEST(DecodeJpeg, TakesFourInksAsAdobeStoresThem) {
  // 255 - ink: cyan 55, magenta 155, yellow 0, black 105 of 255, thus a light of 150 and
  // red = 150 - round(55 · 150 / 255) = 118, green = 150 - round(91.2) = 59, blue = 150.
  const Pixels stored = {200, 100, 255, 150};
  const auto expect_near = [&](J_COLOR_SPACE space, int tolerance) {
    const Picture out = decode(plain_jpeg(stored, {.given = JCS_CMYK, .stored = space}));
    ASSERT_EQ(out.pixels.size(), 192u);
    EXPECT_NEAR(out.pixels[0], 118, tolerance);
    EXPECT_NEAR(out.pixels[1], 59, tolerance);
    EXPECT_NEAR(out.pixels[2], 150, tolerance);
  };
  expect_near(JCS_CMYK, 0);
  expect_near(JCS_YCCK, 2);  // there and back through rounded YCbCr
}

TEST(DecodeJpeg, RefusesTwoComponents) {
  EXPECT_THAT(error_of([] {
                decode(plain_jpeg({1, 2}, {.given = JCS_UNKNOWN, .stored = JCS_UNKNOWN}));
              }),
              HasSubstr("p: expected a whole grey, RGB, YCbCr, CMYK or YCCK JPEG picture, "
                        "found 2 components"));
}

TEST(DecodeJpeg, TellsATruncatedFileInLibjpegsWords) {
  const std::string file = jpeg(16, 16, gradient(16, 16).pixels, {});
  EXPECT_THAT(error_of([&] { decode(file.substr(0, file.size() - 2)); }),
              HasSubstr("p: expected a whole JPEG picture, found Premature end of JPEG file"));
}

// ---- PNG ----

TEST(DecodePng, ReadsRgbInterlacedOrNot) {
  const Picture colors = gradient(13, 10);
  EXPECT_EQ(decode(png(colors)), colors);
  EXPECT_EQ(decode(png(colors, PNG_INTERLACE_ADAM7)), colors);
}

TEST(DecodePng, DropsAlphaWithoutBlending) {
  EXPECT_EQ(decode(png(2, {{1, 2, 3, 0, 4, 5, 6, 99}}, {.color = PNG_COLOR_TYPE_RGBA})),
            picture(2, 1, {1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(decode(png(2, {{1, 0, 200, 9}}, {.color = PNG_COLOR_TYPE_GRAY_ALPHA})),
            picture(2, 1, {1, 1, 1, 200, 200, 200}));
}

TEST(DecodePng, SpreadsGreyOfFewBits) {
  const auto grey = [](int width, int depth, uint8_t packed) {
    return decode(png(width, {{packed}}, {.depth = depth, .color = PNG_COLOR_TYPE_GRAY})).pixels;
  };
  EXPECT_EQ(grey(2, 1, 0b01000000), (Pixels{0, 0, 0, 255, 255, 255}));
  EXPECT_EQ(grey(4, 2, 0b00011011), (Pixels{0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255}));
  EXPECT_EQ(grey(2, 4, 0x1e), (Pixels{17, 17, 17, 238, 238, 238}));
  EXPECT_EQ(grey(1, 8, 33), (Pixels{33, 33, 33}));
}

TEST(DecodePng, CutsColoursOf16BitsAndClipsGrey) {
  const auto deep = [](int width, int color, const Pixels& row) {
    return decode(png(width, {row}, {.depth = 16, .color = color})).pixels;
  };
  EXPECT_EQ(deep(1, PNG_COLOR_TYPE_RGB, {1, 255, 2, 128, 3, 0}), (Pixels{1, 2, 3}));
  EXPECT_EQ(deep(1, PNG_COLOR_TYPE_RGBA, {1, 255, 2, 128, 3, 0, 9, 9}), (Pixels{1, 2, 3}));
  EXPECT_EQ(deep(1, PNG_COLOR_TYPE_GRAY_ALPHA, {7, 255, 0, 0}), (Pixels{7, 7, 7}));
  EXPECT_EQ(deep(3, PNG_COLOR_TYPE_GRAY, {0, 254, 1, 0, 255, 255}),
            (Pixels{254, 254, 254, 255, 255, 255, 255, 255, 255}));
}

TEST(DecodePng, LooksUpPalettesAndTakesUnknownIndicesForBlack) {
  const std::vector<png_color> palette = {{10, 20, 30}, {40, 50, 60}, {70, 80, 90}};
  PngKind kind{.color = PNG_COLOR_TYPE_PALETTE, .palette = palette, .transparency = {0, 128}};
  EXPECT_EQ(decode(png(3, {{2, 0, 1}}, kind)), picture(3, 1, {70, 80, 90, 10, 20, 30, 40, 50, 60}));
  kind.depth = 2;
  EXPECT_EQ(decode(png(4, {{0b00011011}}, kind)),
            picture(4, 1, {10, 20, 30, 40, 50, 60, 70, 80, 90, 0, 0, 0}));
}

TEST(DecodePng, TellsDamageAndAFileTooShortForItsSize) {
  std::string file = png(gradient(20, 20));
  file[file.size() - 20] ^= 1;  // in the last bytes of the pixels
  EXPECT_THAT(error_of([&] { decode(file); }),
              HasSubstr("p: expected a whole PNG picture, found "));
  EXPECT_THAT(error_of([&] { decode(png(gradient(20, 20)).substr(0, file.size() - 1)); }),
              HasSubstr("found its end is missing"));
  // The header's sizes at byte 16 and its checksum, of "IHDR" and 13 bytes, at byte 29.
  file.replace(16, 8, text({0, 0, 39, 16, 0, 0, 39, 16}));
  const auto crc = ::crc32(0, reinterpret_cast<const Bytef*>(file.data()) + 12, 17);
  file.replace(29, 4,
               text({static_cast<int>(crc >> 24), static_cast<int>(crc >> 16 & 255),
                     static_cast<int>(crc >> 8 & 255), static_cast<int>(crc & 255)}));
  EXPECT_THAT(error_of([&] { decode(file); }),
              HasSubstr("found fewer bytes than its size can be packed into"));
}

// ---- WebP ----

TEST(DecodeWebp, ReadsLosslessAndDropsAlpha) {
  EXPECT_EQ(decode(webp(2, 1, {1, 2, 3, 0, 250, 5, 6, 99})), picture(2, 1, {1, 2, 3, 250, 5, 6}));
}

TEST(DecodeWebp, ReadsLossyWithinItsRounding) {
  Picture plain{.width = 16, .height = 16};
  for (int i = 0; i < 256; ++i) plain.pixels.insert(plain.pixels.end(), {200, 100, 50});
  uint8_t* memory = nullptr;
  const size_t size = WebPEncodeRGB(plain.pixels.data(), 16, 16, 48, 100, &memory);
  const std::string file(reinterpret_cast<char*>(memory), size);
  WebPFree(memory);
  EXPECT_LE(farthest(decode(file), plain), 4);  // YUV of 8 bits in the narrow range: 219 steps
}

/// `chunks` in a RIFF file.
std::string riff(const std::string& chunks) {
  return "RIFF" + little(static_cast<uint32_t>(chunks.size() + 4)) + "WEBP" + chunks;
}

TEST(DecodeWebp, TakesTheFirstFrameOfAnAnimationOnBlack) {
  const auto frame = [](int width, const Pixels& rgba, int left = 0) {
    const std::string image = webp(width, 1, rgba).substr(12);
    // Left / 2, top / 2, width - 1, height - 1 and the duration, 3 bytes each, then how it is
    // blended.
    return "ANMF" + little(static_cast<uint32_t>(16 + image.size())) +
           text({left / 2, 0, 0, 0, 0, 0, width - 1, 0, 0, 0, 0, 0, 100, 0, 0, 0}) + image;
  };
  const std::string head = "VP8X" + little(10) + text({2, 0, 0, 0, 2, 0, 0, 0, 0, 0}) + "ANIM" +
                           little(6) + text({255, 255, 255, 255, 0, 0});
  const std::string file =
      riff(head + frame(2, {1, 2, 3, 255, 4, 5, 6, 255}) + frame(3, Pixels(12, 255)));
  EXPECT_EQ(decode(file), picture(3, 1, {1, 2, 3, 4, 5, 6, 0, 0, 0}));
  EXPECT_EQ(decode(riff(head + frame(1, {1, 2, 3, 0}, 2))),
            picture(3, 1, {0, 0, 0, 0, 0, 0, 1, 2, 3}));
  for (const std::string& frames : {std::string(), frame(2, Pixels(8, 255), 2)}) {
    EXPECT_THAT(error_of([&] { decode(riff(head + frames)); }),
                HasSubstr("found a damaged animation"));
  }
}

TEST(DecodeWebp, TellsATruncatedFile) {
  const std::string file = webp(2, 1, {1, 2, 3, 0, 250, 5, 6, 99});
  EXPECT_THAT(error_of([&] { decode(file.substr(0, file.size() - 2)); }),
              HasSubstr("p: expected a whole WebP picture, found its end is missing"));
  // Also when all pixels are there, as Pillow.
  const std::string more = riff(file.substr(12) + "EXIF" + little(4) + "abcd");
  EXPECT_EQ(decode(more), decode(file));
  EXPECT_THAT(error_of([&] { decode(more.substr(0, more.size() - 2)); }),
              HasSubstr("found its end is missing"));
}

// ---- all ----

TEST(DecodePicture, RefusesEveryPrefixOfAFileWithoutACrash) {
  for (const std::string& file : samples()) {
    EXPECT_EQ(error_of([&] { decode(file); }), "");
    for (size_t length = 0; length < file.size(); ++length) {
      EXPECT_THAT(error_of([&] { decode(file.substr(0, length)); }), StartsWith("p: expected "))
          << length << " of " << file.size() << " bytes of " << file.substr(1, 3);
    }
  }
}

TEST(DecodePicture, SurvivesEveryDamagedByte) {
  int refused = 0;
  for (const std::string& file : samples()) {
    for (size_t at = 0; at < file.size(); ++at) {
      std::string damaged = file;
      damaged[at] = static_cast<char>(~damaged[at]);
      refused += error_of([&] { decode(damaged, 1 << 20); }).empty() ? 0 : 1;
    }
  }
  EXPECT_GT(refused, 300);
}

TEST(DecodePicture, RefusesMorePixelsThanWanted) {
  for (const std::string& file : samples()) {
    EXPECT_THAT(error_of([&] { decode(file, 1); }),
                HasSubstr("p: expected a picture of 1 to 1 pixels, found "));
  }
}

TEST(DecodePicture, NamesTheFormatsItDoesNotRead) {
  EXPECT_EQ(error_of([] { decode("GIF89a"); }),
            "p: expected a JPEG, PNG, WebP or BMP picture, found a GIF");
  EXPECT_THAT(error_of([] { decode(""); }), HasSubstr("found no bytes"));
  EXPECT_THAT(error_of([] { decode("RIFF\x08\x01\x02\x03WAVE"); }), HasSubstr("another format"));
}

TEST(ReadPicture, NamesTheFile) {
  const fixtures::Folder folder;
  fixtures::put(folder / "a.png", png(gradient(3, 2)));
  EXPECT_EQ(read_picture(folder / "a.png"), gradient(3, 2));
  fixtures::put(folder / "b.jpg", "\xff\xd8\xffnonsense");
  EXPECT_THAT(error_of([&] { read_picture(folder / "b.jpg"); }), StartsWith(folder / "b.jpg: "));
  ASSERT_EQ(::mkfifo((folder / "c.png").c_str(), 0600), 0);
  EXPECT_THAT(error_of([&] { read_picture(folder / "c.png"); }), HasSubstr("a regular file"));
}

}  // namespace
}  // namespace scute::picture_test
