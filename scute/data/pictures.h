// From pictures to what a vision tower sees: files in a folder, resize strategies, normalization.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "scute/io/picture.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// How a picture becomes square (scute/models/vision/README.md).
enum class ResizeStrategy {
  naive,      ///< "resize-naive": both sides to the size, whatever the aspect
  crop,       ///< "resize-crop": the shorter side to the size, then the middle
  letterbox,  ///< "letterbox": padded to a square with the mean colour, then as crop
};
/// Error naming the three when it is another.
ResizeStrategy parse_resize_strategy(std::string_view name);

/// Of one tower.
struct PixelNormalization {
  std::array<float, 3> mean = {}, deviation = {};
  bool operator==(const PixelNormalization&) const = default;
};

/// Pillow's bicubic resize to the exact byte: Keys kernel a = −0.5, antialiased, weights quantized
/// to 22 fractional bits, horizontal pass first, each pass rounded and clipped to bytes; a side of
/// equal length skips its pass. Error unless the sizes are ≥ 1 and the result has at most
/// kMostPicturePixels.
Picture resize_bicubic(const Picture& picture, int64_t width, int64_t height);

/// size × size. `normalization` gives letterbox its colour, ⌊255·mean⌋. Error as resize_bicubic's
/// when the picture is so long and narrow that what it is cut from would be too large.
Picture to_square(const Picture& picture, int64_t size, ResizeStrategy strategy,
                  const PixelNormalization& normalization);

/// F32 [3, height, width]: (byte / 255 − mean) / deviation, in f32 as torchvision computes it.
Tensor to_pixels(const Picture& picture, const PixelNormalization& normalization);

/// The paths of *.jpg, *.jpeg, *.png, *.webp, *.bmp (any case) in the folder and below it, sorted
/// by their path in it (bytes). Folders that are links are not entered. Error when there is no such
/// folder, one that cannot be read, or no picture in it.
std::vector<std::string> list_pictures(const std::string& folder);

}  // namespace scute
