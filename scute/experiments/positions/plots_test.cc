#include "scute/experiments/positions/plots.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <utility>

#include "scute/base/error.h"
#include "scute/io/testing.h"

namespace scute::plots_test {
namespace {

using fixtures::error_of;
using fixtures::floats;
using fixtures::Folder;
using fixtures::get;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// Windows at the origin, predicted that far to the right.
PositionSet at_origin(int64_t n) { return {Tensor(DType::f32, {n, 2}), {{"s", 0, n}}}; }
PositionStage off_by(const std::string& name, const std::vector<float>& errors) {
  std::vector<float> values;
  for (const float e : errors) values.insert(values.end(), {e, 0});
  return {name, floats({static_cast<int64_t>(errors.size()), 2}, values)};
}

/// Data of the path with exactly these classes; "" when there is none.
std::string path_of(const std::string& svg, const std::string& classes) {
  const size_t end = svg.find("\" class=\"" + classes + "\"/></svg>");
  if (end == std::string::npos) return "";
  const size_t begin = svg.rfind("d=\"", end) + 3;
  return svg.substr(begin, end - begin);
}
/// Points of path data.
std::vector<std::pair<double, double>> points_of(const std::string& data) {
  std::vector<std::pair<double, double>> out;
  const char* at = data.c_str();
  while (*at != '\0') {
    if (*at == 'M' || *at == 'L') {
      char* next = nullptr;
      const double x = std::strtod(at + 1, &next);
      const double y = std::strtod(next, &next);
      out.emplace_back(x, y);
      at = next;
    } else {
      ++at;
    }
  }
  return out;
}
int64_t count(const std::string& text, const std::string& part) {
  int64_t out = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++out;
  return out;
}

/// Whether every element that is opened is closed, in order, and no quote or bracket is open.
bool well_formed(const std::string& text) {
  std::vector<std::string> open;
  for (size_t at = text.find('<'); at != std::string::npos; at = text.find('<', at + 1)) {
    const size_t end = text.find('>', at);
    if (end == std::string::npos || text.find('<', at + 1) < end) return false;
    const std::string tag = text.substr(at + 1, end - at - 1);
    if (count(tag, "\"") % 2 != 0) return false;
    if (tag[0] == '/') {
      if (open.empty() || open.back() != tag.substr(1)) return false;
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
  }
  return open.empty();
}

TEST(ErrorCdf, RisesByOneWindowAtEachError) {
  const std::string svg =
      error_cdf_svg(at_origin(2), {off_by("float", {0.3f, 0.1f}), off_by("int8", {0.2f, 0.3f})});
  const auto points = points_of(path_of(svg, "c0 d0 series"));
  ASSERT_EQ(points.size(), 5u);
  const double zero = points[0].second, left = points[0].first, width = points[4].first - left;
  const double full = zero - points[4].second;
  EXPECT_NEAR(points[1].first - left, width / 3, 0.2);
  EXPECT_EQ(points[1].second, zero);
  EXPECT_EQ(points[2].first, points[1].first);
  EXPECT_NEAR(zero - points[2].second, full / 2, 0.1);
  EXPECT_EQ(points[3].second, points[2].second);
  EXPECT_NE(path_of(svg, "c1 d1 series"), "");
}

TEST(ErrorCdf, CountsWhatIsNoNumberAndNeverReachesAll) {
  const std::string svg = error_cdf_svg(at_origin(4), {off_by("float", {0.1f, 0.2f, 0.3f, 0.4f}),
                                                       off_by("int8", {0.4f, kNaN, 0.2f, 0.1f})});
  EXPECT_THAT(svg, HasSubstr("4 windows; int8: 1 not finite, not drawn"));
  const auto all = points_of(path_of(svg, "c0 d0 series"));
  const auto some = points_of(path_of(svg, "c1 d1 series"));
  const double zero = all.front().second;
  EXPECT_NEAR((zero - some.back().second) / (zero - all.back().second), 0.75, 1e-3);
}

TEST(ErrorCdf, EnlargesItsBeginning) {
  const std::string svg = error_cdf_svg(at_origin(2), {off_by("float", {0.25f, 2})}, 0.5);
  EXPECT_THAT(svg, HasSubstr("up to 0.5 m"));
  const auto points = points_of(path_of(svg, "c0 d0 series"));
  ASSERT_GE(points.size(), 5u);
  // The plot is 528 pixels wide: half of it is 0.25 m.
  EXPECT_NEAR(points[1].first - points[0].first, 264, 0.2);
  EXPECT_THAT(svg, HasSubstr(">0.5</text>"));
  EXPECT_THAT(svg, Not(HasSubstr(">2.0</text>")));
}

TEST(ErrorCdf, StaysShortForManyWindows) {
  std::vector<float> errors;
  for (int i = 0; i < 60000; ++i) errors.push_back(static_cast<float>(i) * 1e-5f);
  // Along 528 and 300 pixels at most one point every 0.3 in either: 2760 of some 15 bytes.
  EXPECT_LT(error_cdf_svg(at_origin(60000), {off_by("float", errors)}).size(), 60000u);
}

TEST(ErrorHistogram, HasFiftyBinsFromZeroToTheLargestError) {
  const std::string svg =
      error_histogram_svg(at_origin(4), {off_by("float", {0.001f, 0.002f, 0.015f, 0.5f})});
  EXPECT_THAT(svg, HasSubstr("50 bins of 10 mm"));
  const auto points = points_of(path_of(svg, "c0 d0 series"));
  ASSERT_GE(points.size(), 8u);
  const double zero = points[0].second, unit = (zero - points[1].second) / 2;
  EXPECT_GT(unit, 0);
  EXPECT_NEAR(zero - points[3].second, unit, 0.11) << "one window in the second bin";
  EXPECT_NEAR(points[2].first - points[0].first, 528.0 / 50, 0.11);
  EXPECT_NEAR(zero - points[points.size() - 2].second, unit, 0.11) << "and one in the last";
  EXPECT_EQ(points.back().second, zero);
}

/// Three steps of 0.1 m, a jump of 3 m, two steps more; then another sequence.
PositionSet two_sequences() {
  return {floats({9, 2}, {0, 0, 0.1f, 0, 0.2f, 0, 0.3f, 0, 3.3f, 0, 3.4f, 0, 3.4f, 0.1f, 3.4f, 0.2f,
                          3.4f, 0.3f}),
          {{"first", 0, 6}, {"second", 6, 3}}};
}

TEST(Path, IsBrokenBetweenSequencesAndAtJumps) {
  const PositionSet set = two_sequences();
  const std::vector<PositionStage> stages = {{"float", set.actual}};
  for (const std::string classes : {"truth", "c0 thin"}) {
    EXPECT_EQ(count(path_of(path_svg(set, stages), classes), "M"), 3) << classes;
    EXPECT_EQ(count(path_of(path_svg(set, stages, {.break_jump = 5}), classes), "M"), 2);
    EXPECT_EQ(count(path_of(path_svg(set, stages, {.break_jump = 0.05}), classes), "M"), 9);
  }
}

TEST(Path, IsNotShrunkByAWildPredictionNorJoinedAcrossALostOne) {
  const PositionSet set = two_sequences();
  Tensor wild = set.actual.reshaped({9, 2});
  wild = Tensor::of<float>({9, 2}, wild.values<float>());
  wild.mutable_values<float>()[2] = 1e6f;
  wild.mutable_values<float>()[15] = kNaN;
  const std::string plain = path_svg(set, {{"float", set.actual}});
  const std::string svg = path_svg(set, {{"float", wild}});
  EXPECT_EQ(path_of(svg, "truth"), path_of(plain, "truth"));
  EXPECT_THAT(svg, HasSubstr("2 predictions outside"));
  EXPECT_EQ(count(path_of(svg, "c0 thin"), "M"), 4);
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(ErrorMap, GivesTheMeanOfEachCell) {
  const PositionSet set = {floats({4, 2}, {0.1f, 0.1f, 0.2f, 0.2f, -0.6f, 0.1f, 1.9f, 1.2f}),
                           {{"s", 0, 4}}};
  Tensor predicted = Tensor::of<float>({4, 2}, set.actual.values<float>());
  const float errors[] = {0.1f, 0.3f, 0.05f, 0.4f};
  for (size_t i = 0; i < 4; ++i) predicted.mutable_values<float>()[2 * i + 1] += errors[i];
  const std::string svg = error_map_svg(set, {{"float", predicted}}, {.cell = 0.5});
  EXPECT_THAT(svg, HasSubstr("cells of 0.5 m"));
  EXPECT_THAT(svg, HasSubstr("x 0 … 0.5 m, y 0 … 0.5 m: mean error 200.0 mm, 2 windows<"));
  EXPECT_THAT(svg, HasSubstr("x -1 … -0.5 m, y 0 … 0.5 m: mean error 50.0 mm, 1 window<"));
  EXPECT_EQ(count(svg, "<title>"), 3);
  EXPECT_THAT(svg, HasSubstr("fill=\"#fae03c\"><title>x 1.5 … 2 m, y 1 … 1.5 m")) << "the largest";
}

/// The number of attribute `name` in the element that begins at `at`.
double attribute(const std::string& svg, size_t at, const std::string& name) {
  const size_t begin = svg.find(" " + name + "=\"", at) + name.size() + 3;
  return std::strtod(svg.c_str() + begin, nullptr);
}

TEST(ErrorMap, ShowsWholeCellsInsideOfItsFrame) {
  const PositionSet set = two_sequences();
  const std::string svg = error_map_svg(set, {{"float", set.actual}}, {.cell = 0.25});
  // The one stage's plot: 68 pixels from the left, 548 wide; cells are squares.
  int cells = 0;
  for (size_t at = svg.find("<title>"); at != std::string::npos; at = svg.find("<title>", at + 1)) {
    const size_t rect = svg.rfind("<rect", at);
    const double left = attribute(svg, rect, "x"), width = attribute(svg, rect, "width");
    EXPECT_GE(left, 68 - 0.1);
    EXPECT_LE(left + width, 68 + 548 + 0.2);
    EXPECT_NEAR(width, attribute(svg, rect, "height"), 0.11);
    // x from 0 to 3.5 m and no further: 14 cells.
    EXPECT_NEAR(width, 548.0 / 14, 0.11);
    ++cells;
  }
  EXPECT_EQ(cells, 4);
}

TEST(ErrorMap, HasAPanelForEachStageAndSurvivesTinyCells) {
  const PositionSet set = two_sequences();
  std::vector<PositionStage> stages;
  for (const char* name : {"one", "two", "three", "four"}) stages.push_back({name, set.actual});
  const std::string svg = error_map_svg(set, stages, {.cell = 1e-30});
  for (const char* name : {">one<", ">two<", ">three<", ">four<"})
    EXPECT_THAT(svg, HasSubstr(name));
  EXPECT_EQ(count(svg, ">x (m)<"), 4);
  EXPECT_TRUE(well_formed(svg));
}

TEST(PositionPlots, AreWellFormedSafeAndTheSameEveryTime) {
  const PositionSet set = two_sequences();
  const std::vector<PositionStage> stages = {{"</svg><script>alert(1)</script>\"'&", set.actual},
                                             {"a\xFF\x01", set.actual}};
  const std::vector<PositionPlot> plots = position_plots(set, stages),
                                  again = position_plots(set, stages);
  ASSERT_EQ(plots.size(), 5u);
  for (size_t i = 0; i < plots.size(); ++i) {
    EXPECT_TRUE(well_formed(plots[i].svg)) << plots[i].file;
    EXPECT_THAT(plots[i].svg, Not(HasSubstr("<script"))) << plots[i].file;
    EXPECT_THAT(plots[i].svg, HasSubstr("(m)</text>")) << plots[i].file;
    EXPECT_EQ(plots[i].svg, again[i].svg) << plots[i].file;
  }
}

TEST(PositionPlots, OfOneWindowOrAllInOnePlaceAreStillDrawn) {
  for (const int64_t n : {1, 3}) {
    const PositionSet set = at_origin(n);
    for (const PositionPlot& plot : position_plots(set, {{"float", set.actual}})) {
      EXPECT_TRUE(well_formed(plot.svg)) << plot.file;
      EXPECT_THAT(plot.svg, Not(HasSubstr("nan"))) << plot.file;
      EXPECT_THAT(plot.svg, Not(HasSubstr("inf"))) << plot.file;
    }
  }
}

TEST(PositionPlots, RefuseWhatCannotBeDrawn) {
  const PositionSet set = two_sequences();
  EXPECT_EQ(error_of([&] { error_cdf_svg(set, {}); }),
            "figures of positions: expected windows and a stage that predicted them, found no "
            "stage");
  const PositionSet none = at_origin(0);
  EXPECT_THAT(error_of([&] { path_svg(none, {{"float", none.actual}}); }), HasSubstr("no window"));
  EXPECT_THROW(error_map_svg(set, {off_by("float", {1})}), Error);
  EXPECT_THROW(error_histogram_svg(set, {{"float", set.actual}, off_by("int8", {1})}), Error);
  PositionSet lost = two_sequences();
  lost.actual.mutable_values<float>()[3] = kNaN;
  EXPECT_THAT(error_of([&] {
                path_svg(lost, {{"float", set.actual}});
              }),
              HasSubstr("none in window 1"));
  PositionSet outside = two_sequences();
  outside.parts[1].count = 4;
  EXPECT_THROW(path_svg(outside, {{"float", set.actual}}), Error);
}

TEST(PositionPlots, AreWrittenUnderTheNamesOfThisField) {
  const Folder folder;
  const PositionSet set = two_sequences();
  const std::vector<PositionStage> stages = {{"float", set.actual}};
  write_position_plots(folder / "a/b", set, stages);
  for (const char* name :
       {"cdf.svg", "cdf_zoom.svg", "err_hist.svg", "pred_vs_true.svg", "error_heatmap.svg"}) {
    EXPECT_THAT(get(folder / "a/b/" + name), ::testing::StartsWith("<svg ")) << name;
  }
}

}  // namespace
}  // namespace scute::plots_test
