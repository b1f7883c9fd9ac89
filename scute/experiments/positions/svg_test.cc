#include "scute/experiments/positions/svg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace scute::svg_test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Markup, EscapesWhatWouldBeReadAsMarkup) {
  EXPECT_EQ(escape_markup("<a b=\"c\">&'"), "&lt;a b=&quot;c&quot;&gt;&amp;&#39;");
  EXPECT_EQ(escape_markup("a\x01\n\x7F"
                          "b ±"),
            "a   b ±");
  EXPECT_EQ(escape_markup("a\xFF"
                          "b"),
            "a\xEF\xBF\xBD"
            "b");
}

TEST(Ticks, AreOneTwoOrFiveTimesAPowerOfTen) {
  EXPECT_DOUBLE_EQ(tick_step(1, 10), 0.1);
  EXPECT_DOUBLE_EQ(tick_step(1, 9), 0.2);
  EXPECT_DOUBLE_EQ(tick_step(0.158, 8), 0.02);
  EXPECT_DOUBLE_EQ(tick_step(100, 3), 50);
  EXPECT_DOUBLE_EQ(tick_step(7000, 1), 10000);
}

TEST(Ticks, ShowTheDigitsTheyNeed) {
  EXPECT_EQ(tick_text(0.25, 0.05), "0.25");
  EXPECT_EQ(tick_text(0.30000000000000004, 0.1), "0.3");
  EXPECT_EQ(tick_text(-1e-17, 0.1), "0.0");
  EXPECT_EQ(tick_text(1200, 200), "1200");
  EXPECT_EQ(tick_text(3, 1), "3");
}

TEST(Panel, GivesBothAxesOneScaleAndKeepsTheData) {
  for (const double height : {0.1, 1.0, 2.0, 50.0}) {
    const SvgPanel panel =
        equal_panel({10, 20, 400, 0}, {"x", 1, 2}, {"y", -3, -3 + height}, 200, 600);
    const double x_scale = panel.box.width / (panel.x.high - panel.x.low);
    EXPECT_NEAR(panel.box.height / (panel.y.high - panel.y.low), x_scale, 1e-9 * x_scale);
    EXPECT_GE(panel.box.height, 200);
    EXPECT_LE(panel.box.height, 600);
    EXPECT_LE(panel.x.low, 1 + 1e-12);
    EXPECT_GE(panel.x.high, 2 - 1e-12);
    EXPECT_LE(panel.y.low, -3 + 1e-9);
    EXPECT_GE(panel.y.high, -3 + height - 1e-9);
    EXPECT_NEAR(panel.px(1.5), 210, 1e-9) << "the middle stays the middle";
  }
}

TEST(Panel, PutsLargeValuesAtTheTopAndWildOnesNotFarAway) {
  const SvgPanel panel{{10, 20, 100, 50}, {"", 0, 1}, {"", 0, 10}};
  EXPECT_EQ(panel.py(10), 20);
  EXPECT_EQ(panel.py(0), 70);
  EXPECT_EQ(panel.px(1e300), 1e5);
  EXPECT_EQ(panel.py(1e300), -1e5);
}

TEST(Line, LeavesOutPointsThatNobodySees) {
  SvgLine line;
  line.add(1, 2);
  line.add(1.1, 2.1);
  line.add(1.2, 2.6);
  EXPECT_EQ(line.data(), "M1 2h0L1.2 2.6");
}

TEST(Line, BeginsAnewWhenLifted) {
  SvgLine line;
  line.add(1, 2);
  line.lift();
  line.add(1, 2);
  line.add(-0.01, 5);
  EXPECT_EQ(line.data(), "M1 2h0M1 2h0L0 5");
}

TEST(Svg, WrapsTheLegendAndShortensItsEntries) {
  Svg one(400), many(400);
  const Svg::Entry entry{"a stage of twenty two", "c0"};
  const double low = one.legend(10, {entry});
  EXPECT_EQ(many.legend(10, {entry, entry, entry}), low + 2 * 19);
  Svg narrow(100);
  std::string name;
  for (int i = 0; i < 100; ++i) name += "ä";
  EXPECT_EQ(narrow.legend(10, {{name, "c0"}}), low);
  EXPECT_THAT(narrow.finish(50, ""), HasSubstr("ää…</text>"));
}

TEST(Svg, IsAFileOfItsOwnForBothThemes) {
  Svg svg(300);
  svg.heading("a < b", "");
  svg.axes({{50, 60, 200, 100}, {"x (m)", 0, 1}, {"y (m)", 0, 1}});
  const std::string text = svg.finish(200, "\"quoted\"");
  EXPECT_THAT(text, ::testing::StartsWith("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_THAT(text, HasSubstr("viewBox=\"0 0 300 200\""));
  EXPECT_THAT(text, HasSubstr("aria-label=\"&quot;quoted&quot;\""));
  EXPECT_THAT(text, HasSubstr("a &lt; b"));
  EXPECT_THAT(text, HasSubstr(">x (m)</text>"));
  EXPECT_THAT(text, HasSubstr(">y (m)</text>"));
  EXPECT_THAT(text, HasSubstr("@media (prefers-color-scheme:dark)"));
  EXPECT_THAT(text, Not(HasSubstr("<script")));
  EXPECT_THAT(text, Not(HasSubstr("@import")));
  EXPECT_THAT(text, Not(HasSubstr("url(")));
}

TEST(Series, TwentyEightLookDifferent) {
  std::vector<std::string> seen;
  for (size_t k = 0; k < 28; ++k) {
    EXPECT_THAT(seen, Not(::testing::Contains(series_classes(k)))) << k;
    seen.push_back(series_classes(k));
  }
  EXPECT_EQ(series_classes(28), series_classes(0));
}

}  // namespace
}  // namespace scute::svg_test
