#include "scute/text/normalize.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "scute/base/error.h"
#include "scute/text/later_characters.h"
#include "scute/text/utf8.h"

namespace scute {
namespace {

bool is_ascii(char byte) { return static_cast<unsigned char>(byte) < 0x80; }
bool composes(NormalForm form) { return form == NormalForm::nfc || form == NormalForm::nfkc; }
bool is_compatible(NormalForm form) { return form == NormalForm::nfkc || form == NormalForm::nfkd; }

/// The least lead byte of a character that the form changes or that changes its neighbours; those
/// of continuation bytes are below. U+00A0 is the first of the compatible ones, U+00C0 the first
/// that is decomposed, and U+0300 that joins what stands before.
unsigned char first_lead_byte(NormalForm form) {
  if (is_compatible(form)) return 0xC2;
  return form == NormalForm::nfd ? 0xC3 : 0xCC;
}

int combining_class(int32_t code_point) {
  if (is_normalized_later(static_cast<char32_t>(code_point))) return 0;
  return utf8proc_get_property(code_point)->combining_class;
}

/// The longest decomposition, of U+FDFA, has 18 code points.
constexpr int kLongest = 18;

void append_decomposed(char32_t code_point, NormalForm form, std::vector<int32_t>& out) {
  if (is_normalized_later(code_point)) {
    out.push_back(static_cast<int32_t>(code_point));
    return;
  }
  utf8proc_int32_t parts[kLongest];
  int boundary = 0;
  const int options =
      UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (is_compatible(form) ? UTF8PROC_COMPAT : 0);
  const auto count = utf8proc_decompose_char(static_cast<int32_t>(code_point), parts, kLongest,
                                             static_cast<utf8proc_option_t>(options), &boundary);
  if (count < 0 || count > kLongest) fail("text", "Unicode text", utf8proc_errmsg(count));
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

/// What composes with nothing, but utf8proc thinks otherwise: the text is cut there and it never
/// sees one. utf8proc 2.8 takes U+11A7, one before the first Hangul final, for a final and drops it
/// after a syllable.
bool is_alone(int32_t point) {
  return point == 0x11A7 || is_normalized_later(static_cast<char32_t>(point));
}

void append_normal(std::string_view text, NormalForm form, std::vector<int32_t>& points,
                   std::string& out) {
  points.clear();
  for (size_t at = 0; at < text.size();) {
    const CodePoint next = read_code_point(text, at);
    append_decomposed(next.value, form, points);
    at += next.bytes;
  }
  order_marks(points);
  if (!composes(form)) {
    for (const int32_t point : points) append_utf8(static_cast<char32_t>(point), out);
    return;
  }
  for (auto begin = points.begin();;) {
    const auto end = std::find_if(begin, points.end(), is_alone);
    append_composed({begin, end}, out);
    if (end == points.end()) return;
    append_utf8(static_cast<char32_t>(*end), out);
    begin = end + 1;
  }
}

}  // namespace

std::string_view normal_form(std::string_view text, NormalForm form, std::string& storage) {
  const auto may_need_work = [least = first_lead_byte(form)](char byte) {
    return static_cast<unsigned char>(byte) >= least;
  };
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
    append_normal({begin, end}, form, points, storage);
    done = end;
  }
  storage.append(done, text.end());
  return storage;
}

void append_small_letters(char32_t code_point, std::string& out) {
  constexpr char32_t kCapitalWithDot = 0x130;  // İ: i and a dot above
  if (code_point == kCapitalWithDot) {
    out += "i\xCC\x87";
    return;
  }
  const char32_t later = later_small_letter(code_point);
  append_utf8(later != code_point
                  ? later
                  : static_cast<char32_t>(utf8proc_tolower(static_cast<int32_t>(code_point))),
              out);
}

int columns_of_character(char32_t code_point) {
  return std::max(0, utf8proc_charwidth(static_cast<int32_t>(code_point)));
}

}  // namespace scute
