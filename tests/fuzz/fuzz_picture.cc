// Any bytes as a picture: one with all its pixels, which a small resize takes, or an Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "scute/base/error.h"
#include "scute/data/pictures.h"
#include "scute/io/picture.h"

namespace scute::fuzz_picture {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // A header of 20 bytes may ask for a second of work; a quarter of a million pixels will do.
  constexpr int64_t kMostPixels = 1 << 18;
  try {
    const auto picture =
        scute::decode_picture(std::as_bytes(std::span(data, size)), "fuzz", kMostPixels);
    const auto pixels = static_cast<int64_t>(picture.pixels.size());
    if (picture.width * picture.height * 3 != pixels || pixels == 0) std::abort();
    const auto square = scute::to_square(picture, 5, scute::ResizeStrategy::naive, {});
    if (square.pixels.size() != 5 * 5 * 3) std::abort();
  } catch (const scute::Error&) {
  }
  return 0;
}

}  // namespace scute::fuzz_picture
