#include <gmock/gmock.h>

#include "scute/io/picture.h"
#include "scute/io/testing.h"

namespace scute::picture_bmp_test {
namespace {

using fixtures::bytes_of;
using fixtures::error_of;
using fixtures::little;
using ::testing::HasSubstr;

using Pixels = std::vector<uint8_t>;

Picture decode(std::string_view file) { return decode_picture(bytes_of(file), "p"); }
Picture picture(int64_t width, int64_t height, Pixels pixels) {
  return {.width = width, .height = height, .pixels = std::move(pixels)};
}
/// A file with the 40 bytes of header that most have; masks go where a palette would.
std::string bmp(int32_t width, int32_t height, uint16_t bits, std::string_view palette,
                std::string_view rows, uint32_t packing = 0) {
  const size_t data = 14 + 40 + palette.size();
  return "BM" + little(static_cast<uint32_t>(data + rows.size())) + little(0) +
         little(static_cast<uint32_t>(data)) + little(40) + little(width) + little(height) +
         little(uint16_t{1}) + little(bits) + little(packing) + little(0) + little(0) + little(0) +
         little(static_cast<uint32_t>(packing == 3 ? 0 : palette.size() / 4)) + little(0) +
         std::string(palette) + std::string(rows);
}
std::string text(std::initializer_list<int> bytes) {
  std::string out;
  for (const int byte : bytes) out += static_cast<char>(byte);
  return out;
}

TEST(DecodeBmp, ReadsEitherWayUp) {
  const std::string rows = text({3, 2, 1, 0, 6, 5, 4});  // the last row lacks its filling
  EXPECT_EQ(decode(bmp(1, 2, 24, "", rows)), picture(1, 2, {4, 5, 6, 1, 2, 3}));
  EXPECT_EQ(decode(bmp(1, -2, 24, "", rows)), picture(1, 2, {1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(decode(bmp(2, 1, 32, "", text({3, 2, 1, 77, 6, 5, 4, 0}))),
            picture(2, 1, {1, 2, 3, 4, 5, 6}));
}

TEST(DecodeBmp, ReadsPalettesOfAllWidths) {
  const std::string palette = text({30, 20, 10, 0, 60, 50, 40, 0, 90, 80, 70, 0});
  const Pixels expected = {70, 80, 90, 10, 20, 30, 0, 0, 0};  // an unknown index is black
  EXPECT_EQ(decode(bmp(3, 1, 8, palette, text({2, 0, 9, 0}))), picture(3, 1, expected));
  EXPECT_EQ(decode(bmp(3, 1, 4, palette, text({0x20, 0x90, 0, 0}))), picture(3, 1, expected));
  EXPECT_EQ(decode(bmp(3, 1, 1, palette.substr(0, 8), text({0b01000000, 0, 0, 0}))),
            picture(3, 1, {10, 20, 30, 40, 50, 60, 10, 20, 30}));
}

TEST(DecodeBmp, ReadsMasks) {
  const std::string rgbx = little(0xff) + little(0xff00) + little(0xff0000);
  EXPECT_EQ(decode(bmp(1, 1, 32, rgbx, text({1, 2, 3, 4}), 3)), picture(1, 1, {1, 2, 3}));
  const std::string mask565 = little(0xf800) + little(0x7e0) + little(0x1f);
  // 31 of 31, 32 of 63 and 1 of 31: 255, floor(129.5), floor(8.2).
  EXPECT_EQ(decode(bmp(1, 1, 16, mask565, little(uint16_t{0xf800 | 32 << 5 | 1}), 3)),
            picture(1, 1, {255, 129, 8}));
  const std::string torn = little(0xff) + little(0) + little(0xff0000);
  EXPECT_THAT(error_of([&] {
                decode(bmp(1, 1, 32, torn, text({1, 2, 3, 4}), 3));
              }),
              HasSubstr("a colour mask 0x0"));
}

TEST(DecodeBmp, NamesWhatItRefuses) {
  EXPECT_THAT(error_of([] { decode(bmp(1, 1, 8, "", "x", 1)); }),
              HasSubstr("found RLE8 (save it unpacked)"));
  EXPECT_THAT(error_of([] { decode(bmp(1, 1, 2, "", "x")); }), HasSubstr("found 2 bits a pixel"));
  EXPECT_THAT(error_of([] { decode(bmp(9, 9, 24, "", "x")); }),
              HasSubstr("p: expected a whole BMP picture, found 55 bytes where its header asks"));
}

TEST(DecodeBmp, RefusesSizesThatCannotBe) {
  const std::string huge = bmp(0x7fffffff, 0x7fffffff, 24, "", "x");
  EXPECT_THAT(error_of([&] { decode(huge); }),
              HasSubstr("1 to 178956970 pixels, found 2147483647 x 2147483647"));
  EXPECT_THAT(error_of([] { decode(bmp(0, 3, 24, "", "x")); }), HasSubstr("found 0 x 3"));
}

TEST(DecodeBmp, ReadsTheOldHeaderAndAnOffsetThatForgetsThePalette) {
  // 12 bytes of header, colours of three bytes.
  const std::string old = "BM" + little(0) + little(0) + little(32) + little(12) +
                          little(uint16_t{2}) + little(uint16_t{1}) + little(uint16_t{1}) +
                          little(uint16_t{1}) + text({3, 2, 1, 6, 5, 4}) + text({64, 0, 0, 0});
  EXPECT_EQ(decode(old), picture(2, 1, {1, 2, 3, 4, 5, 6}));
  std::string file = bmp(1, 1, 8, text({3, 2, 1, 0}), text({0, 0, 0, 0}));
  file[10] = 54;  // where the palette is
  EXPECT_EQ(decode(file), picture(1, 1, {1, 2, 3}));
}

}  // namespace
}  // namespace scute::picture_bmp_test
