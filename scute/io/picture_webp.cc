// WebP through libwebp; alpha is dropped, of an animation the first frame is taken, as Pillow does.
#include <webp/decode.h>
#include <webp/demux.h>

#include <algorithm>
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

/// Into the rows of `picture` from (left, top) on.
void decode_into(const PictureSource& source, const WebPData& data, int left, int top, int height,
                 Picture& picture) {
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) source.refuse("WebP", "another version of libwebp");
  const auto stride = static_cast<size_t>(picture.width) * 3;
  const size_t begin = static_cast<size_t>(top) * stride + static_cast<size_t>(left) * 3;
  // The last row ends where the frame does, which is before the canvas does.
  const size_t needed = begin + static_cast<size_t>(height) * stride;
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = picture.pixels.data() + begin;
  config.output.u.RGBA.stride = static_cast<int>(stride);
  config.output.u.RGBA.size = std::min(needed, picture.pixels.size()) - begin;
  const VP8StatusCode status = WebPDecode(data.bytes, data.size, &config);
  WebPFreeDecBuffer(&config.output);
  if (status != VP8_STATUS_OK) source.refuse("WebP", describe(status));
}

void decode_still(const PictureSource& source, Picture& picture) {
  decode_into(source, {source.data(), source.bytes.size()}, 0, 0, static_cast<int>(picture.height),
              picture);
}

/// The first frame on its canvas, which is black where the frame is not. libwebp's own player would
/// hold three canvases of four bytes a pixel: 1.8 GB for the largest picture that is read.
void decode_first_frame(const PictureSource& source, Picture& picture) {
  const WebPData data = {source.data(), source.bytes.size()};
  const std::unique_ptr<WebPDemuxer, void (*)(WebPDemuxer*)> demuxer(WebPDemux(&data),
                                                                     WebPDemuxDelete);
  WebPIterator frame;
  if (!demuxer || WebPDemuxGetFrame(demuxer.get(), 1, &frame) == 0) {
    source.refuse("WebP", "a damaged animation");
  }
  const std::unique_ptr<WebPIterator, void (*)(WebPIterator*)> release(&frame,
                                                                       WebPDemuxReleaseIterator);
  WebPBitstreamFeatures features;
  const bool sound =
      frame.complete != 0 && frame.x_offset >= 0 && frame.y_offset >= 0 && frame.width > 0 &&
      frame.height > 0 && frame.width <= picture.width - frame.x_offset &&
      frame.height <= picture.height - frame.y_offset &&
      WebPGetFeatures(frame.fragment.bytes, frame.fragment.size, &features) == VP8_STATUS_OK &&
      features.width == frame.width && features.height == frame.height;
  if (!sound) source.refuse("WebP", "a damaged animation");
  decode_into(source, frame.fragment, frame.x_offset, frame.y_offset, frame.height, picture);
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
