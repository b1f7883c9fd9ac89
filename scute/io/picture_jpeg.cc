// JPEG with libjpeg-turbo's defaults (exact DCT, smooth upsampling), which Pillow keeps as well.
#include <csetjmp>
#include <cstddef>
#include <cstdio>  // jpeglib.h needs it
#include <cstring>
#include <vector>
//
#include <jerror.h>
#include <jpeglib.h>

#include "scute/io/picture_formats.h"

namespace scute {
namespace {

/// Each scan of a progressive JPEG walks over the whole picture, whatever its length: a small file
/// could keep a program busy for hours. Encoders write about 10, 64 per component is the most that
/// refines each coefficient once.
constexpr int kMostScans = 500;

class Jpeg {
 public:
  explicit Jpeg(const PictureSource& source) : source_(source) {}
  ~Jpeg() { jpeg_destroy_decompress(&info_); }
  Jpeg(const Jpeg&) = delete;
  Jpeg& operator=(const Jpeg&) = delete;

  Picture decode() {
    step([this] { open(); });
    // Two components mean nothing; without this, libjpeg would hand them over as they are.
    const int channels = info_.num_components;
    if (channels != 1 && channels != 3 && channels != 4) {
      source_.refuse("grey, RGB, YCbCr, CMYK or YCCK JPEG",
                     std::to_string(channels) + " components");
    }
    Picture picture = sized_picture(source_, info_.image_width, info_.image_height);
    info_.out_color_space = channels == 4 ? JCS_CMYK : JCS_RGB;
    step([this] { jpeg_start_decompress(&info_); });
    std::vector<uint8_t> inks(channels == 4 ? static_cast<size_t>(picture.width) * 4 : 0);
    while (info_.output_scanline < info_.output_height) {
      uint8_t* row = add_row(picture);
      uint8_t* line = inks.empty() ? row : inks.data();
      step([this, line] { read_line(line); });
      if (!inks.empty()) to_rgb(inks, row);
    }
    step([this] { jpeg_finish_decompress(&info_); });  // looks for the end marker
    return picture;
  }

 private:
  /// Runs libjpeg's code, whose errors jump back here: between here and there is no frame with
  /// anything to destroy, and none of C++ that an exception would have to cross.
  template <class Call>
  [[gnu::noinline]] void step(const Call& call) {
    if (setjmp(jump_) != 0) source_.refuse("JPEG", message_);
    call();
  }

  void open() {
    info_.err = jpeg_std_error(&errors_);
    info_.client_data = this;
    errors_.error_exit = [](j_common_ptr info) { self(info).stop(); };
    errors_.emit_message = [](j_common_ptr info, int level) {
      // Other warnings are of data that Pillow decodes without a word, too.
      if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) self(info).stop();
    };
    jpeg_create_decompress(&info_);
    progress_.progress_monitor = [](j_common_ptr info) {
      if (self(info).info_.input_scan_number > kMostScans) self(info).stop("more than 500 scans");
    };
    info_.progress = &progress_;
    jpeg_mem_src(&info_, source_.data(), source_.bytes.size());
    jpeg_read_header(&info_, TRUE);
  }

  void read_line(uint8_t* line) { jpeg_read_scanlines(&info_, &line, 1); }

  /// Files hold 255 minus the ink (Adobe's habit, which Pillow takes for granted), so that each
  /// value is already a share of light: colour · black / 255, in Pillow's rounding.
  static void to_rgb(const std::vector<uint8_t>& inks, uint8_t* row) {
    for (size_t at = 0; at + 4 <= inks.size(); at += 4, row += 3) {
      const int light = inks[at + 3];
      for (size_t c = 0; c < 3; ++c) {
        const int product = (255 - inks[at + c]) * light + 128;
        row[c] = static_cast<uint8_t>(light - ((product + (product >> 8)) >> 8));
      }
    }
  }

  static Jpeg& self(j_common_ptr info) { return *static_cast<Jpeg*>(info->client_data); }
  [[noreturn]] void stop() {
    errors_.format_message(reinterpret_cast<j_common_ptr>(&info_), message_);
    longjmp(jump_, 1);
  }
  [[noreturn]] void stop(const char* message) {
    std::strncpy(message_, message, sizeof(message_) - 1);
    longjmp(jump_, 1);
  }

  const PictureSource& source_;
  jpeg_decompress_struct info_ = {};  // destroying it before it was created does nothing
  jpeg_error_mgr errors_ = {};
  jpeg_progress_mgr progress_ = {};
  std::jmp_buf jump_ = {};
  char message_[JMSG_LENGTH_MAX] = "";
};

}  // namespace

Picture decode_jpeg(const PictureSource& source) { return Jpeg(source).decode(); }

}  // namespace scute
