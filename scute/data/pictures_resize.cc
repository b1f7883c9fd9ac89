// Pillow's bicubic resize: two passes of integer weights, each rounded to bytes.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "scute/base/error.h"
#include "scute/data/pictures.h"

namespace scute {
namespace {

/// Weights are integers of 2^-22: 255 · 2^22 · (the sum of their magnitudes, at most 1.3 for this
/// kernel) stays below 2^31.
constexpr int kFraction = 22;
constexpr int32_t kHalf = 1 << (kFraction - 1);
/// The kernel is zero from here on.
constexpr double kSupport = 2;

/// Keys' cubic convolution with a = −1/2 (IEEE Trans. ASSP 29 (1981) 1153), in Horner's form.
double keys_kernel(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < kSupport) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

/// What one output position is made of: weights[i] of input position first + i.
struct Taps {
  int64_t first = 0;
  size_t weights = 0;  ///< where they begin in TapTable::weights
  int64_t count = 0;
};

/// Of one axis, by output position; first and first + count never decrease.
struct TapTable {
  std::vector<Taps> all;
  std::vector<int32_t> weights;
  int64_t longest = 0;
};

int32_t quantized(double weight) {
  const double scaled = weight * (1 << kFraction);
  return static_cast<int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}

TapTable make_windows(int64_t from, int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double stretch = std::max(scale, 1.0);  // a shrunk picture is smoothed, a grown one is not
  // Multiplied with, not divided by, as Pillow does: the last bit of a weight may depend on it.
  const double shrink = 1 / stretch;
  const double support = kSupport * stretch;
  TapTable out;
  std::vector<double> exact;
  for (int64_t i = 0; i < to; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const auto first = std::max<int64_t>(0, static_cast<int64_t>(center - support + 0.5));
    const auto end = std::min(from, static_cast<int64_t>(center + support + 0.5));
    exact.clear();
    double sum = 0;
    for (int64_t x = first; x < end; ++x) {
      exact.push_back(keys_kernel((static_cast<double>(x) - center + 0.5) * shrink));
      sum += exact.back();
    }
    out.all.push_back({first, out.weights.size(), end - first});
    for (const double weight : exact) out.weights.push_back(quantized(weight / sum));
    out.longest = std::max(out.longest, end - first);
  }
  return out;
}

uint8_t to_byte(int32_t sum) {
  return static_cast<uint8_t>(std::clamp((sum + kHalf) >> kFraction, 0, 255));
}

void resize_row(const uint8_t* from, const TapTable& windows, uint8_t* to) {
  for (const Taps& window : windows.all) {
    const uint8_t* pixel = from + window.first * 3;
    const int32_t* weights = windows.weights.data() + window.weights;
    int32_t red = 0, green = 0, blue = 0;
    for (int64_t i = 0; i < window.count; ++i, pixel += 3) {
      red += pixel[0] * weights[i];
      green += pixel[1] * weights[i];
      blue += pixel[2] * weights[i];
    }
    *to++ = to_byte(red);
    *to++ = to_byte(green);
    *to++ = to_byte(blue);
  }
}

/// The rows after the horizontal pass, of which only one window's worth is kept: a picture of a
/// million rows takes no more memory than its result needs.
class WideRows {
 public:
  WideRows(const Picture& picture, int64_t width, int64_t kept)
      : picture_(picture), kept_(kept), width_(width) {
    if (width == picture.width) return;
    windows_ = make_windows(picture.width, width);
    rows_.resize(static_cast<size_t>(kept * width * 3));
  }

  /// Row y; asked for in order, and again while y > newest − kept.
  const uint8_t* row(int64_t y) {
    if (windows_.all.empty()) return picture_.row(y);
    for (; next_ <= y; ++next_) resize_row(picture_.row(next_), windows_, slot(next_));
    return slot(y);
  }
  /// Rows before y are not needed.
  void skip_to(int64_t y) { next_ = std::max(next_, y); }

 private:
  uint8_t* slot(int64_t y) { return rows_.data() + y % kept_ * width_ * 3; }

  const Picture& picture_;
  int64_t kept_, width_, next_ = 0;
  TapTable windows_;
  std::vector<uint8_t> rows_;
};

void check_sizes(const Picture& picture, int64_t width, int64_t height) {
  if (picture.width < 1 || picture.height < 1) {
    fail("resize", "a picture with pixels", "an empty one");
  }
  if (width < 1 || height < 1 || width > kMostPicturePixels / height) {
    fail("resize of a picture of " + std::to_string(picture.width) + " x " +
             std::to_string(picture.height),
         "a result of 1 to " + std::to_string(kMostPicturePixels) + " pixels",
         std::to_string(width) + " x " + std::to_string(height));
  }
}

}  // namespace

Picture resize_bicubic(const Picture& picture, int64_t width, int64_t height) {
  check_sizes(picture, width, height);
  const TapTable down =
      height == picture.height ? TapTable{} : make_windows(picture.height, height);
  WideRows rows(picture, width, std::max<int64_t>(down.longest, 1));
  const auto row_bytes = static_cast<size_t>(width) * 3;
  Picture out{.width = width, .height = height};
  out.pixels.resize(row_bytes * static_cast<size_t>(height));
  std::vector<int32_t> sums(row_bytes);
  for (int64_t y = 0; y < height; ++y) {
    if (down.all.empty()) {
      std::memcpy(out.row(y), rows.row(y), row_bytes);
      continue;
    }
    const Taps& window = down.all[static_cast<size_t>(y)];
    rows.skip_to(window.first);
    std::ranges::fill(sums, 0);
    for (int64_t i = 0; i < window.count; ++i) {
      const uint8_t* row = rows.row(window.first + i);
      const int32_t weight = down.weights[window.weights + static_cast<size_t>(i)];
      for (size_t x = 0; x < row_bytes; ++x) sums[x] += row[x] * weight;
    }
    std::ranges::transform(sums, out.row(y), to_byte);
  }
  return out;
}

}  // namespace scute
