#include "scute/text/utf8.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>

namespace scute::utf8_test {
namespace {

const std::string kBad = "\uFFFD";

std::string valid(std::string_view text) {
  std::string storage;
  return std::string(with_valid_utf8(text, storage));
}

TEST(Utf8, ValidTextIsReturnedWithoutACopy) {
  const std::string text = "aé漢🙂\U0010FFFF";
  std::string storage;
  EXPECT_EQ(with_valid_utf8(text, storage).data(), text.data());
  EXPECT_TRUE(storage.empty());
  EXPECT_TRUE(with_valid_utf8({}, storage).empty());
}

TEST(Utf8, BadSequencesAreReplacedAsPythonDoes) {
  // Right: what Python 3.11 prints for bytes.decode(errors="replace").
  const std::pair<std::string, std::string> cases[] = {
      {"a\xFFz", "a" + kBad + "z"},                     // no lead byte
      {"\x80\xBF", kBad + kBad},                        // continuations alone
      {"\xC0\xAF", kBad + kBad},                        // overlong
      {"\xE0\x80\xAF", kBad + kBad + kBad},             // overlong
      {"\xE2\x82", kBad},                               // truncated at the end
      {"\xE2\x82z", kBad + "z"},                        // truncated in the middle
      {"\xF0\x9F\x99\xE6\xBC\xA2", kBad + "漢"},        // truncated before a good one
      {"\xED\xA0\x80", kBad + kBad + kBad},             // a surrogate
      {"\xF4\x90\x80\x80", kBad + kBad + kBad + kBad},  // beyond U+10FFFF
      {"\xF5\x80", kBad + kBad},                        // no such lead byte
      {"\xC3", kBad},
  };
  for (const auto& [bad, good] : cases) EXPECT_EQ(valid(bad), good);
}

TEST(Utf8, EveryScalarValueIsWrittenAndReadBack) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c == 0xD800) c = 0xE000;
    std::string text = "x";
    append_utf8(c, text);
    const CodePoint forward = read_code_point(text, 1);
    const CodePoint backward = read_code_point_before(text, text.size());
    ASSERT_TRUE(forward.valid && forward.value == c && 1 + forward.bytes == text.size())
        << uint32_t{c};
    ASSERT_TRUE(backward.value == c && backward.bytes == forward.bytes) << uint32_t{c};
  }
}

TEST(Utf8, WhiteSpaceIsUnicodesTwentyFive) {
  int count = 0;
  for (char32_t c = 0; c <= 0x10FFFF; ++c) count += is_white_space(c);
  EXPECT_EQ(count, 25);
  EXPECT_TRUE(is_white_space(0x3000));
  EXPECT_TRUE(is_white_space(0x85));
  EXPECT_FALSE(is_white_space(0x180E)) << "no white space since Unicode 6.3";
  EXPECT_FALSE(is_white_space(0x200B));
}

}  // namespace
}  // namespace scute::utf8_test
