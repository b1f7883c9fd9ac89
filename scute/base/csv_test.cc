#include "scute/base/csv.h"

#include <gtest/gtest.h>

namespace scute::csv_test {
namespace {

TEST(Csv, FormulasBecomeTextAndQuotesAreDoubled) {
  EXPECT_EQ(csv_text("plain"), "plain");
  EXPECT_EQ(csv_text(""), "");
  EXPECT_EQ(csv_text("a,\"b\"\n"), "\"a,\"\"b\"\"\n\"");
  for (const char* formula : {"=1", "+1", "-x", "-1+1", "@x", "\tx", "--"}) {
    EXPECT_EQ(csv_text(formula), "'" + std::string(formula));
  }
  EXPECT_EQ(csv_text("=HYPERLINK(\"a\",\"b\")"), "\"'=HYPERLINK(\"\"a\"\",\"\"b\"\")\"");
  EXPECT_EQ(csv_text("\n=1"), "\"'\n=1\"");
}

TEST(Csv, NumbersAndNoneAreNoFormulas) {
  for (const char* text : {"", "-", "-1", "-0.25", "1+1", "a=b", "layer_0.in_proj:input"}) {
    EXPECT_FALSE(is_formula(text)) << text;
  }
}

}  // namespace
}  // namespace scute::csv_test
