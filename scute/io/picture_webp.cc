// WebP through libwebp; alpha is dropped, of an animation the first frame is taken, as Pillow does.
#include <webp/decode.h>
#include <webp/demux.h>

#include <cstring>
#include <memory>

#include "scute/io/picture_formats.h"

namespace scute {
namespace {

std::string_view describe(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_OUT_OF_MEMORY:
      return "no memory to read it";
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
      return "its end is missing";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return "a feature that libwebp does not read";
    default:
      return "damaged data";
  }
}

void decode_still(const PictureSource& source, Picture& picture) {
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) source.refuse("WebP", "another version of libwebp");
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = picture.pixels.data();
  config.output.u.RGBA.stride = static_cast<int>(picture.width * 3);
  config.output.u.RGBA.size = picture.pixels.size();
  const VP8StatusCode status = WebPDecode(source.data(), source.bytes.size(), &config);
  WebPFreeDecBuffer(&config.output);
  if (status != VP8_STATUS_OK) source.refuse("WebP", describe(status));
}

/// The first frame on its canvas, which is black where the frame is not.
void decode_first_frame(const PictureSource& source, Picture& picture) {
  const WebPData data = {source.data(), source.bytes.size()};
  const std::unique_ptr<WebPAnimDecoder, void (*)(WebPAnimDecoder*)> decoder(
      WebPAnimDecoderNew(&data, nullptr), WebPAnimDecoderDelete);
  uint8_t* canvas = nullptr;
  int time = 0;
  if (!decoder || WebPAnimDecoderGetNext(decoder.get(), &canvas, &time) == 0) {
    source.refuse("WebP", "a damaged animation");
  }
  for (size_t i = 0; i < picture.pixels.size() / 3; ++i) {
    std::memcpy(&picture.pixels[3 * i], canvas + 4 * i, 3);
  }
}

}  // namespace

Picture decode_webp(const PictureSource& source) {
  WebPBitstreamFeatures features;
  const VP8StatusCode status = WebPGetFeatures(source.data(), source.bytes.size(), &features);
  if (status != VP8_STATUS_OK) source.refuse("WebP", describe(status));
  Picture picture = sized_picture(source, features.width, features.height);
  add_all_rows(picture);
  if (features.has_animation != 0) {
    decode_first_frame(source, picture);
  } else {
    decode_still(source, picture);
  }
  return picture;
}

}  // namespace scute
