#include "scute/data/pictures.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "scute/base/error.h"
#include "scute/base/names.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr std::pair<std::string_view, ResizeStrategy> kStrategies[] = {
    {"resize-naive", ResizeStrategy::naive},
    {"resize-crop", ResizeStrategy::crop},
    {"letterbox", ResizeStrategy::letterbox},
};

/// Half of a difference, rounded half to even, as Python's round does it: 1 gives 0, 3 gives 2.
int64_t rounded_half(int64_t difference) {
  const int64_t down = difference / 2;
  return down + (difference % 2 != 0 && down % 2 != 0 ? 1 : 0);
}

/// The middle size × size; no side is shorter than that.
Picture center_crop(const Picture& picture, int64_t size) {
  const int64_t top = rounded_half(picture.height - size);
  const int64_t left = rounded_half(picture.width - size);
  Picture out{.width = size, .height = size};
  out.pixels.resize(static_cast<size_t>(size * size * 3));
  for (int64_t y = 0; y < size; ++y) {
    std::memcpy(out.row(y), picture.row(top + y) + left * 3, static_cast<size_t>(size) * 3);
  }
  return out;
}

/// The shorter side becomes `size`, the longer one ⌊size · long / short⌋ of a double quotient.
Picture crop_to_square(const Picture& picture, int64_t size) {
  const auto [short_side, long_side] = std::minmax(picture.width, picture.height);
  if (short_side < 1 || size < 1 || size > kMostPicturePixels) {
    return resize_bicubic(picture, size, size);  // which says what is wrong
  }
  const auto longer =
      static_cast<int64_t>(static_cast<double>(size * long_side) / static_cast<double>(short_side));
  const bool upright = picture.width <= picture.height;
  return center_crop(resize_bicubic(picture, upright ? size : longer, upright ? longer : size),
                     size);
}

/// Half the difference on both sides: after an odd one the square lacks a pixel, as in Cobra.
Picture pad_to_square(const Picture& picture, const PixelNormalization& normalization) {
  const int64_t side = std::max(picture.width, picture.height);
  const int64_t left = (side - picture.width) / 2, top = (side - picture.height) / 2;
  Picture out{.width = picture.width + 2 * left, .height = picture.height + 2 * top};
  if (out.width < 1 || out.height > kMostPicturePixels / out.width) {
    fail("letterbox of a picture of " + std::to_string(picture.width) + " x " +
             std::to_string(picture.height),
         "a square of 1 to " + std::to_string(kMostPicturePixels) + " pixels",
         "sides of " + std::to_string(side));
  }
  std::array<uint8_t, 3> fill = {};
  for (size_t c = 0; c < 3; ++c) {
    fill[c] = static_cast<uint8_t>(std::clamp(double{normalization.mean[c]} * 255, 0.0, 255.0));
  }
  out.pixels.resize(static_cast<size_t>(out.width * out.height * 3));
  for (size_t i = 0; i < out.pixels.size(); ++i) out.pixels[i] = fill[i % 3];
  for (int64_t y = 0; y < picture.height; ++y) {
    std::memcpy(out.row(top + y) + left * 3, picture.row(y),
                static_cast<size_t>(picture.width) * 3);
  }
  return out;
}

bool is_picture_name(const fs::path& path) {
  // What macOS leaves beside every file of an archive has its name and no picture inside.
  if (path.filename().string().starts_with("._")) return false;
  std::string extension = path.extension().string();
  for (char& c : extension) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  constexpr std::string_view kExtensions[] = {".jpg", ".jpeg", ".png", ".webp", ".bmp"};
  return std::ranges::find(kExtensions, extension) != std::end(kExtensions);
}

}  // namespace

ResizeStrategy parse_resize_strategy(std::string_view name) {
  std::vector<std::string> names;
  for (const auto& [known, strategy] : kStrategies) {
    if (known == name) return strategy;
    names.emplace_back(known);
  }
  fail("image resize strategy", "resize-naive, resize-crop or letterbox",
       std::string(name) + did_you_mean(name, names));
}

Picture to_square(const Picture& picture, int64_t size, ResizeStrategy strategy,
                  const PixelNormalization& normalization) {
  switch (strategy) {
    case ResizeStrategy::naive:
      break;
    case ResizeStrategy::crop:
      return crop_to_square(picture, size);
    case ResizeStrategy::letterbox:
      return crop_to_square(pad_to_square(picture, normalization), size);
  }
  return resize_bicubic(picture, size, size);
}

Tensor to_pixels(const Picture& picture, const PixelNormalization& normalization) {
  std::array<std::array<float, 256>, 3> values = {};
  for (size_t c = 0; c < 3; ++c) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const float share = static_cast<float>(byte) / 255.0f;
      values[c][byte] = (share - normalization.mean[c]) / normalization.deviation[c];
    }
  }
  Tensor out(DType::f32, {3, picture.height, picture.width});
  float* to = out.mutable_values<float>().data();
  for (size_t c = 0; c < 3; ++c) {
    for (size_t i = c; i < picture.pixels.size(); i += 3) *to++ = values[c][picture.pixels[i]];
  }
  return out;
}

std::vector<std::string> list_pictures(const std::string& folder) {
  constexpr std::string_view kExpected = "a folder with .jpg, .jpeg, .png, .webp or .bmp files";
  std::error_code problem;
  if (!fs::is_directory(folder, problem)) {
    fail(folder, kExpected, fs::exists(folder, problem) ? "a file" : "no such folder");
  }
  // By the path below the folder: the same order wherever the folder is.
  std::vector<std::pair<std::string, std::string>> found;
  fs::recursive_directory_iterator entry(folder, problem);
  for (; !problem && entry != fs::recursive_directory_iterator(); entry.increment(problem)) {
    std::error_code gone;
    if (!is_picture_name(entry->path()) || !entry->is_regular_file(gone)) continue;
    found.emplace_back(entry->path().lexically_relative(folder).generic_string(),
                       entry->path().string());
  }
  if (problem) fail(folder, kExpected, problem.message());
  if (found.empty()) fail(folder, kExpected, "none of these in it");
  std::ranges::sort(found);
  std::vector<std::string> paths;
  for (auto& [key, path] : found) paths.push_back(std::move(path));
  return paths;
}

}  // namespace scute
