#include "scute/text/columns.h"

#include <gtest/gtest.h>

namespace scute::columns_test {
namespace {

TEST(Columns, AreThoseOfATerminal) {
  EXPECT_EQ(columns_of(""), 0U);
  EXPECT_EQ(columns_of("layer_0"), 7U);
  EXPECT_EQ(columns_of("± 3 …"), 5U);
  EXPECT_EQ(columns_of("日本語"), 6U);
  EXPECT_EQ(columns_of("e\xCC\x81"), 1U);      // e and a combining accent
  EXPECT_EQ(columns_of("a\xFF z"), 4U);        // a byte that is no UTF-8
  EXPECT_EQ(columns_of("\xEF\xB7\x90x"), 1U);  // U+FDD0, no character
}

TEST(Columns, AreCutBetweenCharacters) {
  EXPECT_EQ(end_of_columns("abc", 2), 2U);
  EXPECT_EQ(end_of_columns("abc", 9), 3U);
  EXPECT_EQ(end_of_columns("日本語", 3), 3U);  // half of the second does not fit
  EXPECT_EQ(begin_of_columns("abc", 2), 1U);
  EXPECT_EQ(begin_of_columns("abc", 9), 0U);
  EXPECT_EQ(begin_of_columns("日本語", 3), 6U);
  EXPECT_EQ(end_of_columns("ab", 0), 0U);
  EXPECT_EQ(begin_of_columns("ab", 0), 2U);
}

}  // namespace
}  // namespace scute::columns_test
