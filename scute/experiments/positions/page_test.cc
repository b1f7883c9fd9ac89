#include "scute/experiments/positions/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/io/testing.h"

namespace scute::page_test {
namespace {

using fixtures::error_of;
using fixtures::floats;
using ::testing::HasSubstr;
using ::testing::Not;

/// Windows on a line, at no regular distances; float is 0.1 and 0.3 m off in turn, int8 twice as
/// far.
PositionReport example(int64_t n = 20) {
  PositionReport out;
  out.title = "logo";
  out.subtitle = {"one", "two"};
  std::vector<float> actual, near, far;
  for (int64_t i = 0; i < n; ++i) {
    const float x = std::sqrt(static_cast<float>(i)), off = i % 2 == 0 ? 0.1f : 0.3f;
    actual.insert(actual.end(), {x, 0});
    near.insert(near.end(), {x, off});
    far.insert(far.end(), {x, 2 * off});
  }
  out.set = {floats({n, 2}, actual), {{"Grid1", 0, n / 2}, {"Grid2", n / 2, n - n / 2}}};
  out.stages = {{"float", floats({n, 2}, near)}, {"int8", floats({n, 2}, far)}};
  return out;
}

TEST(PositionReport, NamesBothDefinitionsAndComparesWithFloat) {
  const std::string page = make_position_report(example());
  EXPECT_THAT(page, HasSubstr("<h1>logo</h1>\n<p>one</p>\n<p>two</p>"));
  EXPECT_THAT(page, HasSubstr("NumPy: linear between ranks (m)"));
  EXPECT_THAT(page, HasSubstr("training loop: by rank (m)"));
  EXPECT_THAT(page, HasSubstr("RMS deviation from float (mm)"));
  // Ten errors of 0.1 and ten of 0.3: deviation 0.1 √(20/19), over √20: 0.02294. P80 and P90 are
  // 0.3 in both; the median 0.2 between the ranks and 0.1 at the lower.
  EXPECT_THAT(page, HasSubstr("<th scope=\"row\">float</th><td>20</td><td>0.20000 ± 0.02294</td>"
                              "<td></td><td></td>"));
  EXPECT_THAT(page, HasSubstr("<td>0.20000</td><td>0.30000</td><td>0.30000</td><td>0.10000</td>"
                              "<td>0.30000</td><td>0.30000</td>"));
  // Twice every error: a ratio without spread has no error. Predictions √(0.05) m apart.
  EXPECT_THAT(page, HasSubstr("<td>2.0000</td><td>223.61</td>"));
}

TEST(PositionReport, HasTheFiguresSequencesAndTables) {
  PositionReport report = example();
  report.tables = {{"Saturation", {"layer", "share"}, {{"proj", "0.5 %"}, {"head"}}}};
  const std::string page = make_position_report(report);
  size_t figures = 0;
  for (size_t at = page.find("class=\"sp\""); at != std::string::npos;
       at = page.find("class=\"sp\"", at + 1)) {
    ++figures;
  }
  EXPECT_EQ(figures, 5u);
  EXPECT_THAT(page, HasSubstr("<th scope=\"row\">Grid2</th><td>10</td><td>0.20000 ± "));
  EXPECT_THAT(page, HasSubstr("<caption>Saturation</caption>"));
  EXPECT_THAT(page, HasSubstr("<th scope=\"row\">proj</th><td>0.5 %</td>"));
  EXPECT_EQ(page, make_position_report(report));
}

TEST(PositionReport, OpensFromDiskWithNothingElseAndEscapesEveryText) {
  PositionReport report = example();
  const std::string hostile = "<img src=x onerror=alert(1)>\"'&";
  report.title = hostile;
  report.subtitle = {hostile};
  report.set.parts[0].name = hostile;
  report.stages[1].name = hostile;
  report.tables = {{hostile, {hostile}, {{hostile}}}};
  const std::string page = make_position_report(report);
  EXPECT_THAT(page, Not(HasSubstr("<img")));
  EXPECT_THAT(page, HasSubstr("<h1>&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;</h1>"));
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  // The one address is SVG's name, which nothing loads.
  size_t addresses = 0, names = 0;
  for (size_t at = page.find("://"); at != std::string::npos; at = page.find("://", at + 1)) {
    ++addresses;
    names += page.compare(at, 20, "://www.w3.org/2000/svg", 20) == 0 ? 1 : 0;
  }
  EXPECT_EQ(addresses, 5u);
  EXPECT_EQ(names, addresses);
}

TEST(PositionReport, WarnsOfPredictionsOnAGrid) {
  PositionReport report = example();
  EXPECT_THAT(make_position_report(report), Not(HasSubstr("class=\"warn\"")));
  Random random(3);
  for (float& value : report.stages[1].predicted.mutable_values<float>()) {
    value = static_cast<float>(std::round(32 * random.uniform()) / 16);
  }
  EXPECT_THAT(
      make_position_report(report),
      HasSubstr("<p class=\"warn\">int8: its predictions stand on a grid of 62.5 × 62.5 mm"));
}

TEST(PositionReport, LeavesOutStandardErrorsThatNobodyKnows) {
  const std::string page = make_position_report(example(1));
  EXPECT_THAT(page, HasSubstr("<td>1</td><td>0.10000</td>"));
  EXPECT_THAT(page, Not(HasSubstr("nan")));
}

TEST(PositionReport, RefusesRowsLongerThanTheirHeaderAndNoStages) {
  PositionReport report = example();
  report.tables = {{"T", {"a"}, {{"1", "2"}}}};
  EXPECT_EQ(error_of([&] { make_position_report(report); }),
            "table 'T': expected 1 cells a row, found 2");
  report = example();
  report.stages.clear();
  EXPECT_THROW(make_position_report(report), Error);
}

}  // namespace
}  // namespace scute::page_test
