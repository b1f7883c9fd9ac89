// What a decoder may take besides the picture: a file of a few bytes can claim a large canvas.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>
#include <webp/encode.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
//
#include <jpeglib.h>

#include "scute/io/picture.h"
#include "scute/io/testing.h"
#include "scute/io/testing_cost.h"

namespace scute::picture_memory_test {
namespace {

using fixtures::bytes_of;
using fixtures::error_of;
using fixtures::little;

constexpr int kSide = 2000;
constexpr int64_t kCanvas = int64_t{3} * kSide * kSide;

std::string three_bytes(int value) { return little(value).substr(0, 3); }

/// One colour, losslessly: a few dozen bytes.
std::string lossless(int width, int height) {
  const std::vector<uint8_t> pixels(static_cast<size_t>(width) * static_cast<size_t>(height) * 3,
                                    7);
  uint8_t* memory = nullptr;
  const size_t size = WebPEncodeLosslessRGB(pixels.data(), width, height, width * 3, &memory);
  std::string file(reinterpret_cast<char*>(memory), size);
  WebPFree(memory);
  return file;
}

/// `frames` frames of the whole canvas.
std::string animated(int side, int frames) {
  const std::string image = lossless(side, side).substr(12);
  std::string chunks = "VP8X" + little(10) + std::string("\2\0\0\0", 4) + three_bytes(side - 1) +
                       three_bytes(side - 1) + "ANIM" + little(6) + std::string(6, '\0');
  for (int i = 0; i < frames; ++i) {
    chunks += "ANMF" + little(static_cast<uint32_t>(16 + image.size())) + std::string(6, '\0') +
              three_bytes(side - 1) + three_bytes(side - 1) + three_bytes(100) +
              std::string(1, '\0') + image;
  }
  return "RIFF" + little(static_cast<uint32_t>(chunks.size() + 4)) + "WEBP" + chunks;
}

std::string progressive_jpeg(int side) {
  jpeg_compress_struct info = {};
  jpeg_error_mgr errors = {};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* memory = nullptr;
  unsigned long size = 0;  // NOLINT(google-runtime-int): libjpeg's
  jpeg_mem_dest(&info, &memory, &size);
  info.image_width = info.image_height = static_cast<JDIMENSION>(side);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  std::vector<uint8_t> row(static_cast<size_t>(side) * 3, 7);
  uint8_t* line = row.data();
  for (int y = 0; y < side; ++y) jpeg_write_scanlines(&info, &line, 1);
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::string file(reinterpret_cast<char*>(memory), size);
  std::free(memory);
  return file;
}

std::string interlaced_png(int side) {
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  std::string file;
  png_set_write_fn(
      png, &file,
      [](png_structp to, png_bytep bytes, size_t size) {
        static_cast<std::string*>(png_get_io_ptr(to))
            ->append(reinterpret_cast<const char*>(bytes), size);
      },
      nullptr);
  png_set_IHDR(png, info, static_cast<png_uint_32>(side), static_cast<png_uint_32>(side), 8,
               PNG_COLOR_TYPE_RGB, PNG_INTERLACE_ADAM7, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  std::vector<uint8_t> row(static_cast<size_t>(side) * 3, 7);
  for (int pass = png_set_interlace_handling(png); pass > 0; --pass) {
    for (int y = 0; y < side; ++y) png_write_row(png, row.data());
  }
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return file;
}

/// Bytes by which a process of its own grows at most while it decodes; -1 when it fails.
int64_t growth(const std::string& file) {
  const auto decode = [&] {
    Picture picture;
    const bool refused = !error_of([&] { picture = decode_picture(bytes_of(file), "p"); }).empty();
    return !refused && std::ranges::count(picture.pixels, 7) > kSide;
  };
  const auto cost = fixtures::cost_of(decode, RLIM_INFINITY);
  return cost ? cost->bytes : -1;
}

// libwebp holds 4 bytes a pixel of a lossless frame besides the picture's 3, libjpeg the
// coefficients of a progressive JPEG, 2 bytes each: 3 a pixel where colours are halved. The player
// of libwebp's animations would hold three canvases of 4.
TEST(PictureMemory, IsASmallMultipleOfTheCanvas) {
  const std::pair<const char*, std::string> files[] = {
      {"animated WebP", animated(kSide, 3)},
      {"WebP", lossless(kSide, kSide)},
      {"progressive JPEG", progressive_jpeg(kSide)},
      {"interlaced PNG", interlaced_png(kSide)},
  };
  for (const auto& [name, file] : files) {
    ASSERT_LT(file.size(), 2'000'000U) << name;
    const int64_t bytes = growth(file);
    EXPECT_GE(bytes, kCanvas) << name;
    EXPECT_LE(bytes, kCanvas * 5 / 2) << name;
  }
}

TEST(PictureMemory, ACanvasBeyondTheLimitTakesNone) {
  // 16384 x 16384 by its header alone.
  std::string file = animated(16, 1);
  file.replace(24, 6, three_bytes(16383) + three_bytes(16383));
  EXPECT_THAT(error_of([&] { decode_picture(bytes_of(file), "p"); }),
              ::testing::HasSubstr("178956970 pixels, found 16384 x 16384"));
  EXPECT_EQ(growth(file), -1);
}

}  // namespace
}  // namespace scute::picture_memory_test
