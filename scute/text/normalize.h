// Unicode's normal forms, small letters, and what else utf8proc knows of characters.
#pragma once

#include <string>
#include <string_view>

namespace scute {

/// C: characters composed, D: decomposed; K: compatible ones (ligatures, wide letters) made plain.
enum class NormalForm { nfc, nfd, nfkc, nfkd };

/// `text`, which is valid UTF-8, in a normal form of Unicode 9 (the Hugging Face library's): `text`
/// itself when a glance shows that it is, else a copy in `storage`. Time n·log n at worst, also for
/// long runs of combining marks.
std::string_view normal_form(std::string_view text, NormalForm form, std::string& storage);

/// The small letters of a capital: itself for other characters, two code points for U+0130 alone.
/// Each character by itself, so that a sigma at a word's end is like any other.
void append_small_letters(char32_t code_point, std::string& out);

/// Columns that a character takes on a terminal: 2 of wide ones, 0 of those that combine with the
/// one before and of controls, else 1.
int columns_of_character(char32_t code_point);

}  // namespace scute
