#include "scute/data/pictures.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "scute/base/random.h"
#include "scute/io/safetensors.h"
#include "scute/io/testing.h"

namespace scute::pictures_test {
namespace {

using fixtures::error_of;
using fixtures::Folder;
using ::testing::HasSubstr;

const PixelNormalization kDino = {.mean = {0.485f, 0.456f, 0.406f},
                                  .deviation = {0.229f, 0.224f, 0.225f}};
const PixelNormalization kSiglip = {.mean = {0.5f, 0.5f, 0.5f}, .deviation = {0.5f, 0.5f, 0.5f}};

Picture noise(int64_t width, int64_t height, uint64_t seed) {
  Picture out{.width = width, .height = height};
  Random random(seed);
  for (int64_t i = 0; i < width * height * 3; ++i) {
    // Mostly extremes, so that overshoots are clipped at both ends.
    const uint64_t value = random.below(4);
    out.pixels.push_back(static_cast<uint8_t>(value == 0   ? 0
                                              : value == 1 ? 255
                                                           : random.below(256)));
  }
  return out;
}

/// A picture whose pixel (x, y) is (x, y, 7).
Picture coordinates(int64_t width, int64_t height) {
  Picture out{.width = width, .height = height};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      out.pixels.insert(out.pixels.end(), {static_cast<uint8_t>(x), static_cast<uint8_t>(y), 7});
    }
  }
  return out;
}

Picture transposed(const Picture& picture) {
  Picture out{.width = picture.height, .height = picture.width};
  out.pixels.resize(picture.pixels.size());
  for (int64_t y = 0; y < picture.height; ++y) {
    for (int64_t x = 0; x < picture.width; ++x) {
      std::memcpy(out.row(x) + 3 * y, picture.row(y) + 3 * x, 3);
    }
  }
  return out;
}

/// What every input weighs for output i, in units of 2^-22, from the plain form of the kernel.
std::vector<int64_t> slow_weights(int64_t from, int64_t to, int64_t i) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double wide = scale > 1 ? scale : 1;
  const double center = (static_cast<double>(i) + 0.5) * scale;
  const double first = std::trunc(center - 2 * wide + 0.5);
  const double end = std::trunc(center + 2 * wide + 0.5);
  std::vector<double> weights;
  double total = 0;
  for (double x = 0; x < static_cast<double>(from); ++x) {
    const double t = std::abs((x + 0.5 - center) / wide);
    const double w = t < 1   ? 1.5 * t * t * t - 2.5 * t * t + 1
                     : t < 2 ? -0.5 * t * t * t + 2.5 * t * t - 4 * t + 2
                             : 0;
    weights.push_back(x < first || x >= end ? 0 : w);
    total += weights.back();
  }
  std::vector<int64_t> out;
  for (const double w : weights) out.push_back(std::llround(w / total * 4194304.0));
  return out;
}

/// One pass as it is defined: for every output position all inputs are asked for their weight.
Picture slow_horizontal(const Picture& in, int64_t width) {
  if (width == in.width) return in;
  Picture out{.width = width, .height = in.height};
  out.pixels.resize(static_cast<size_t>(width * in.height * 3));
  for (int64_t i = 0; i < width; ++i) {
    const std::vector<int64_t> weights = slow_weights(in.width, width, i);
    for (int64_t y = 0; y < in.height; ++y) {
      for (int64_t c = 0; c < 3; ++c) {
        int64_t sum = 0;
        for (int64_t x = 0; x < in.width; ++x) {
          sum += weights[static_cast<size_t>(x)] * in.row(y)[3 * x + c];
        }
        const double rounded = std::floor(static_cast<double>(sum) / 4194304.0 + 0.5);
        out.row(y)[3 * i + c] = static_cast<uint8_t>(std::clamp(rounded, 0.0, 255.0));
      }
    }
  }
  return out;
}

Picture slow_resize(const Picture& in, int64_t width, int64_t height) {
  return transposed(slow_horizontal(transposed(slow_horizontal(in, width)), height));
}

TEST(ResizeBicubic, EqualsTheDefinitionWrittenDownSlowly) {
  const int64_t sizes[][4] = {{5, 4, 17, 13},  {40, 30, 7, 9},  {64, 48, 24, 24}, {13, 50, 29, 11},
                              {20, 12, 20, 5}, {20, 12, 7, 12}, {1, 1, 3, 3},     {9, 7, 1, 1},
                              {1, 40, 6, 8},   {31, 1, 8, 2},   {3, 200, 4, 3},   {2, 2, 2, 2}};
  uint64_t seed = 1;
  for (const auto& [w, h, width, height] : sizes) {
    const Picture in = noise(w, h, ++seed);
    const Picture out = resize_bicubic(in, width, height);
    // The two forms of a kernel weight differ by a few 2^-52, and so may the integer of 22 bits and
    // with it the byte, but only where weight · 2^22 is within 2^-28 of a tie; none is here.
    EXPECT_EQ(out, slow_resize(in, width, height))
        << w << " x " << h << " to " << width << " x " << height;
  }
}

TEST(ResizeBicubic, OfTheSameSizeIsTheSamePicture) {
  const Picture in = noise(9, 5, 3);
  EXPECT_EQ(resize_bicubic(in, 9, 5), in);
}

TEST(ResizeBicubic, KeepsAPlainColour) {
  Picture in{.width = 30, .height = 20};
  for (int i = 0; i < 600; ++i) in.pixels.insert(in.pixels.end(), {255, 1, 128});
  const Picture out = resize_bicubic(in, 47, 7);
  for (size_t i = 0; i < out.pixels.size(); i += 3) {
    ASSERT_EQ((std::vector<int>{out.pixels[i], out.pixels[i + 1], out.pixels[i + 2]}),
              (std::vector<int>{255, 1, 128}));
  }
}

TEST(ResizeBicubic, RefusesSizesThatCannotBe) {
  const Picture in = noise(4, 2, 3);
  EXPECT_THAT(error_of([&] { resize_bicubic(in, 0, 5); }), HasSubstr("found 0 x 5"));
  EXPECT_THAT(error_of([&] { resize_bicubic(in, 1 << 20, 1 << 20); }),
              HasSubstr("picture of 4 x 2: expected a result of 1 to 178956970 pixels"));
  EXPECT_THAT(error_of([&] { resize_bicubic({}, 5, 5); }), HasSubstr("an empty one"));
}

TEST(ResizeStrategy, IsParsedByItsNameInCobra) {
  EXPECT_EQ(parse_resize_strategy("resize-naive"), ResizeStrategy::naive);
  EXPECT_EQ(parse_resize_strategy("resize-crop"), ResizeStrategy::crop);
  EXPECT_EQ(parse_resize_strategy("letterbox"), ResizeStrategy::letterbox);
  EXPECT_THAT(
      error_of([] { parse_resize_strategy("resize-crops"); }),
      HasSubstr("resize-naive, resize-crop or letterbox, found resize-crops; did you mean"));
}

TEST(ToSquare, NaiveIgnoresTheAspect) {
  const Picture in = noise(20, 10, 4);
  EXPECT_EQ(to_square(in, 8, ResizeStrategy::naive, kDino), resize_bicubic(in, 8, 8));
}

/// Left and top of the crop when a picture whose shorter side is `size` already is cut.
std::pair<int, int> crop_corner(int64_t width, int64_t height, int64_t size) {
  const Picture out = to_square(coordinates(width, height), size, ResizeStrategy::crop, kDino);
  EXPECT_EQ(std::pair(out.width, out.height), std::pair(size, size));
  EXPECT_EQ(out.pixels.at(2), 7);
  return {out.pixels.at(0), out.pixels.at(1)};
}

TEST(ToSquare, CropsTheMiddleRoundingHalvesToEven) {
  EXPECT_EQ(crop_corner(14, 10, 10), std::pair(2, 0));  // 4 / 2
  EXPECT_EQ(crop_corner(11, 10, 10), std::pair(0, 0));  // round(0.5) = 0
  EXPECT_EQ(crop_corner(13, 10, 10), std::pair(2, 0));  // round(1.5) = 2
  EXPECT_EQ(crop_corner(15, 10, 10), std::pair(2, 0));  // round(2.5) = 2
  EXPECT_EQ(crop_corner(10, 17, 10), std::pair(0, 4));  // round(3.5) = 4
}

TEST(ToSquare, CropRoundsTheLongerSideDown) {
  const Picture in = noise(23, 11, 5);  // 8 · 23 / 11 = 16.7, and 16 − 8 leaves 4 on the left
  const Picture whole = resize_bicubic(in, 16, 8);
  const Picture out = to_square(in, 8, ResizeStrategy::crop, kDino);
  for (int64_t y = 0; y < 8; ++y) {
    EXPECT_EQ(std::memcmp(out.row(y), whole.row(y) + 4 * 3, 24), 0) << y;
  }
}

TEST(ToSquare, LetterboxPadsWithTheMeanColour) {
  // 6 × 10 becomes 10 × 10, two columns of the mean on each side.
  const Picture out = to_square(coordinates(6, 10), 10, ResizeStrategy::letterbox, kDino);
  ASSERT_EQ(std::pair(out.width, out.height), (std::pair<int64_t, int64_t>(10, 10)));
  for (int64_t y = 0; y < 10; ++y) {
    for (int64_t x = 0; x < 10; ++x) {
      const uint8_t* pixel = out.row(y) + 3 * x;
      const bool padded = x < 2 || x >= 8;
      EXPECT_EQ(pixel[0], padded ? 123 : x - 2);
      EXPECT_EQ(pixel[1], padded ? 116 : y);
      EXPECT_EQ(pixel[2], padded ? 103 : 7);
    }
  }
  const Picture gray = to_square(coordinates(6, 10), 10, ResizeStrategy::letterbox, kSiglip);
  EXPECT_EQ((std::vector<int>(gray.pixels.begin(), gray.pixels.begin() + 3)),
            (std::vector<int>{127, 127, 127}));
}

TEST(ToSquare, LetterboxOfAnOddDifferenceLacksAPixel) {
  // 7 × 10: one column on each side gives 9 × 10, whose shorter side is the size already, so that
  // nothing is resized: 10 − 9 = 1 row is cut, round(0.5) = 0 of them above.
  const Picture out = to_square(coordinates(7, 10), 9, ResizeStrategy::letterbox, kDino);
  const uint8_t* first = out.row(0);
  EXPECT_EQ(int{first[0]}, 123);
  EXPECT_EQ(int{first[3]}, 0);
  EXPECT_EQ(int{first[3 * 7]}, 6);
  EXPECT_EQ(int{first[3 * 8]}, 123);
  EXPECT_EQ(int{out.row(8)[3 + 1]}, 8);
}

TEST(ToSquare, RefusesWhatWouldNotFitIntoMemory) {
  Picture thread{.width = 1, .height = 2'000'000};
  thread.pixels.resize(6'000'000);
  EXPECT_THAT(error_of([&] { to_square(thread, 384, ResizeStrategy::crop, kDino); }),
              HasSubstr("found 384 x 768000000"));
  EXPECT_THAT(error_of([&] { to_square(thread, 384, ResizeStrategy::letterbox, kDino); }),
              HasSubstr("letterbox of a picture of 1 x 2000000"));
  EXPECT_THAT(error_of([&] { to_square(thread, 0, ResizeStrategy::crop, kDino); }),
              HasSubstr("found 0 x 0"));
  EXPECT_EQ(to_square(thread, 8, ResizeStrategy::naive, kDino).pixels,
            std::vector<uint8_t>(8 * 8 * 3, 0));
}

TEST(ToPixels, SeparatesColoursAndNormalizesInFloat) {
  const Picture in{.width = 2, .height = 1, .pixels = {0, 128, 255, 51, 1, 2}};
  const Tensor out = to_pixels(in, kDino);
  EXPECT_EQ(out.shape(), (Shape{3, 1, 2}));
  const auto at = [&](int64_t c, int byte) {
    const auto i = static_cast<size_t>(c);
    const float share = static_cast<float>(byte) / 255.0f;
    const float centered = share - kDino.mean[i];
    return centered / kDino.deviation[i];
  };
  EXPECT_EQ(fixtures::elements<float>(out),
            (std::vector<float>{at(0, 0), at(0, 51), at(1, 128), at(1, 1), at(2, 255), at(2, 2)}));
}

TEST(ListPictures, GoesBelowTheFolderInTheOrderOfPathsAndIgnoresOtherFiles) {
  const Folder folder;
  std::filesystem::create_directories(folder / "b/c");
  for (const char* name : {"z.JPG", "b/c/a.png", "b/x.WebP", "b.bmp", "Z.jpeg", "b/note.txt", "jpg",
                           "b/c/a.png.part", "b/._a.png"}) {
    fixtures::put(folder / name, "x");
  }
  std::filesystem::create_directories(folder / "folder.png");
  const std::vector<std::string> expected = {folder / "Z.jpeg", folder / "b.bmp",
                                             folder / "b/c/a.png", folder / "b/x.WebP",
                                             folder / "z.JPG"};
  EXPECT_EQ(list_pictures(folder.path()), expected);
  EXPECT_EQ(list_pictures(folder.path() + "/").size(), 5u);
}

TEST(ListPictures, NamesAFolderThatIsMissingOrHasNone) {
  const Folder folder;
  EXPECT_THAT(error_of([&] { list_pictures(folder.path()); }),
              HasSubstr(folder.path() + ": expected a folder with .jpg"));
  EXPECT_THAT(error_of([&] { list_pictures(folder / "no"); }), HasSubstr("found no such folder"));
  fixtures::put(folder / "a.png", "x");
  EXPECT_THAT(error_of([&] { list_pictures(folder / "a.png"); }), HasSubstr("found a file"));
}

/// What Pillow and torchvision made of the shared pictures.
class GoldenPictures : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string file = "../shared/models/tiny-cobra/golden.safetensors";
    if (!std::filesystem::exists(file)) GTEST_SKIP() << "SKIPPED: ../shared not present";
    for (const NamedTensor& named : read_safetensors(file).tensors) {
      if (named.name == "resized_uint8") resized_ = named.tensor;
      if (named.name == "pixels.dino") dino_ = named.tensor;
      if (named.name == "pixels.siglip") siglip_ = named.tensor;
    }
    for (const std::string& path : list_pictures("../shared/images")) {
      squares_.push_back(to_square(read_picture(path), 56, ResizeStrategy::naive, kDino));
    }
    ASSERT_EQ(resized_.shape(), (Shape{8, 56, 56, 3}));
    ASSERT_EQ(squares_.size(), 8u);
  }
  /// The share of `golden` that belongs to picture i equals `bytes`.
  static void expect_part(const Tensor& golden, size_t i, std::span<const std::byte> bytes) {
    ASSERT_EQ(golden.bytes().size(), 8 * bytes.size());
    EXPECT_TRUE(std::ranges::equal(golden.bytes().subspan(i * bytes.size(), bytes.size()), bytes))
        << "picture " << i;
  }
  Tensor resized_, dino_, siglip_;
  std::vector<Picture> squares_;
};

TEST_F(GoldenPictures, AreResizedToTheBytesOfPillow) {
  for (size_t i = 0; i < 8; ++i) {
    expect_part(resized_, i, std::as_bytes(std::span(squares_[i].pixels)));
  }
}

TEST_F(GoldenPictures, AreNormalizedToTheBitsOfTorchvision) {
  for (size_t i = 0; i < 8; ++i) {
    expect_part(dino_, i, to_pixels(squares_[i], kDino).bytes());
    expect_part(siglip_, i, to_pixels(squares_[i], kSiglip).bytes());
  }
}

}  // namespace
}  // namespace scute::pictures_test
