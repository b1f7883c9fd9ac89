#include "scute/text/normalize.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "scute/base/error.h"
#include "scute/text/utf8.h"

namespace scute {
namespace {

bool is_ascii(char byte) { return static_cast<unsigned char>(byte) < 0x80; }
/// U+0300 is the first code point that normalization changes or that changes its neighbours; its
/// lead byte is 0xCC. Continuation bytes are below 0xC0.
bool may_need_work(char byte) { return static_cast<unsigned char>(byte) >= 0xCC; }

int combining_class(int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

void append_decomposed(char32_t code_point, std::vector<int32_t>& out) {
  // The longest canonical decomposition has 4 code points.
  utf8proc_int32_t parts[8];
  int boundary = 0;
  const auto count = utf8proc_decompose_char(
      static_cast<int32_t>(code_point), parts, 8,
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE), &boundary);
  if (count < 0 || count > 8) fail("text", "Unicode text", utf8proc_errmsg(count));
  out.insert(out.end(), parts, parts + count);
}

/// Sorts each run of combining marks by class. utf8proc_decompose does this too, but by exchanging
/// neighbours: minutes for a megabyte of marks in the wrong order.
void order_marks(std::vector<int32_t>& points) {
  const auto is_starter = [](int32_t point) { return combining_class(point) == 0; };
  const auto before = [](int32_t a, int32_t b) { return combining_class(a) < combining_class(b); };
  auto begin = points.begin();
  while (begin != points.end()) {
    const auto end = std::find_if(begin, points.end(), is_starter);
    if (end - begin > 1) std::stable_sort(begin, end, before);
    begin = end == points.end() ? end : end + 1;
  }
}

void append_composed(std::span<int32_t> points, std::string& out) {
  const auto count =
      utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  if (count < 0) fail("text", "Unicode text", utf8proc_errmsg(count));
  for (const int32_t point : points.first(static_cast<size_t>(count))) {
    append_utf8(static_cast<char32_t>(point), out);
  }
}

/// utf8proc 2.8 takes U+11A7, one before the first Hangul final, for a final and drops it after a
/// syllable. It composes with nothing, so the text is cut there and it never sees one.
constexpr int32_t kNoFinal = 0x11A7;

void append_nfc(std::string_view text, std::vector<int32_t>& points, std::string& out) {
  points.clear();
  for (size_t at = 0; at < text.size();) {
    const CodePoint next = read_code_point(text, at);
    append_decomposed(next.value, points);
    at += next.bytes;
  }
  order_marks(points);
  for (auto begin = points.begin();;) {
    const auto end = std::find(begin, points.end(), kNoFinal);
    append_composed({begin, end}, out);
    if (end == points.end()) return;
    append_utf8(kNoFinal, out);
    begin = end + 1;
  }
}

}  // namespace

std::string_view nfc(std::string_view text, std::string& storage) {
  const auto first = std::find_if(text.begin(), text.end(), may_need_work);
  if (first == text.end()) return text;
  storage.clear();
  storage.reserve(text.size());
  std::vector<int32_t> points;
  // An ASCII character never joins what stands before it, so the text can be cut there. Only the
  // pieces from the last one before a suspect to the next one after it are normalized.
  auto done = text.begin();
  for (auto suspect = first; suspect != text.end();
       suspect = std::find_if(done, text.end(), may_need_work)) {
    auto begin = suspect;
    while (begin != done && !is_ascii(*begin)) --begin;
    const auto end = std::find_if(suspect, text.end(), is_ascii);
    storage.append(done, begin);
    append_nfc({begin, end}, points, storage);
    done = end;
  }
  storage.append(done, text.end());
  return storage;
}

int columns_of_character(char32_t code_point) {
  return std::max(0, utf8proc_charwidth(static_cast<int32_t>(code_point)));
}

}  // namespace scute
