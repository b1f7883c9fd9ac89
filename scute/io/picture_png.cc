// PNG, all kinds, through libpng: no gamma, no blending, as Pillow.
#include <png.h>

#include <csetjmp>
#include <cstring>
#include <utility>
#include <vector>

#include "scute/io/picture_formats.h"

namespace scute {
namespace {

/// No deflate stream grows by more when it is unpacked (zlib's technical details).
constexpr int64_t kMostInflation = 1032;

class Png {
 public:
  explicit Png(const PictureSource& source) : source_(source) {}
  ~Png() { png_destroy_read_struct(&png_, &info_, nullptr); }
  Png(const Png&) = delete;
  Png& operator=(const Png&) = delete;

  Picture decode() {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, stop, [](png_structp, auto) {});
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
    if (info_ == nullptr) source_.refuse("PNG", "no memory to read it");
    step([this] { open(); });
    Picture picture =
        sized_picture(source_, png_get_image_width(png_, info_), png_get_image_height(png_, info_));
    check_length(picture);
    bool deep_grey = false;
    int passes = 1;
    step([&] { passes = set_conversion(deep_grey); });
    if (deep_grey) {
      read_deep_grey(picture, passes);
    } else if (passes == 1) {
      for (int64_t y = 0; y < picture.height; ++y) read_row(add_row(picture));
    } else {
      add_all_rows(picture);
      for (int64_t y = 0; y < picture.height * passes; ++y) {
        read_row(picture.row(y % picture.height));
      }
    }
    step([this] { png_read_end(png_, nullptr); });
    return picture;
  }

 private:
  /// Runs libpng's code, whose errors jump back here: there is nothing to destroy in between.
  template <class Call>
  [[gnu::noinline]] void step(const Call& call) {
    if (setjmp(jump_) != 0) source_.refuse("PNG", message_);
    call();
  }

  void open() {
    png_set_read_fn(png_, this, give);
    // Colour profiles, texts and times are not looked at, but their checksums are.
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_set_crc_action(png_, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_read_info(png_, info_);
  }

  /// Tells a file of a few bytes that says it is huge before memory is taken for it.
  void check_length(const Picture& picture) const {
    const int64_t bits = int64_t{png_get_bit_depth(png_, info_)} * png_get_channels(png_, info_);
    const int64_t most = kMostInflation * static_cast<int64_t>(source_.bytes.size());
    if (picture.width * picture.height / 8 * bits > most) {
      source_.refuse("PNG", "fewer bytes than its size can be packed into");
    }
  }

  /// To RGB of 8 bits each, except for grey of 16 bits. The number of passes.
  int set_conversion(bool& deep_grey) {
    const int color = png_get_color_type(png_, info_);
    deep_grey = color == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(png_, info_) == 16;
    if (!deep_grey) {
      if (color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png_);
      if (color == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(png_);
      png_set_strip_16(png_);
      png_set_strip_alpha(png_);
      png_set_gray_to_rgb(png_);
    }
    const int passes = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return passes;
  }

  void read_row(uint8_t* row) {
    step([this, row] { png_read_row(png_, row, nullptr); });
  }

  /// Pillow holds them as 16-bit integers and clips these on the way to RGB.
  void read_deep_grey(Picture& picture, int passes) {
    const auto stride = static_cast<size_t>(picture.width) * 2;
    std::vector<uint8_t> raw(stride * static_cast<size_t>(picture.height));
    for (int64_t y = 0; y < picture.height * passes; ++y) {
      read_row(raw.data() + stride * static_cast<size_t>(y % picture.height));
    }
    add_all_rows(picture);
    for (size_t i = 0; i < raw.size() / 2; ++i) {
      const uint8_t value = raw[2 * i] != 0 ? uint8_t{255} : raw[2 * i + 1];
      std::memset(&picture.pixels[3 * i], value, 3);
    }
  }

  static void give(png_structp png, png_bytep to, size_t count) {
    Png& self = *static_cast<Png*>(png_get_io_ptr(png));
    if (count > self.source_.bytes.size() - self.position_) {
      png_error(png, "its end is missing");
    }
    std::memcpy(to, self.source_.data() + self.position_, count);
    self.position_ += count;
  }
  [[noreturn]] static void stop(png_structp png, png_const_charp message) {
    Png& self = *static_cast<Png*>(png_get_error_ptr(png));
    std::strncpy(self.message_, message, sizeof(self.message_) - 1);
    longjmp(self.jump_, 1);
  }

  const PictureSource& source_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  size_t position_ = 0;
  std::jmp_buf jump_ = {};
  char message_[200] = "";
};

}  // namespace

Picture decode_png(const PictureSource& source) { return Png(source).decode(); }

}  // namespace scute
