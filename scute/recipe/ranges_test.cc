#include "scute/recipe/ranges.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "scute/base/error.h"

namespace scute::ranges_test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::ThrowsMessage;

constexpr RangeNeed kInput{.reason = "inputs have 8 (scute decide --bits 8)", .hint = "look there"};

/// Sites a, b and c; first_a is another name of a.
SiteList three_sites() {
  SiteList out;
  for (const char* name : {"a", "b", "c"}) out.add(name, {4});
  out.alias("first_a", "a");
  return out;
}

Decision kept(double lo, double hi) {
  Decision out;
  out.lo = lo;
  out.hi = hi;
  return out;
}

/// As decided from data whose least and largest value were these.
Decision measured(double lo, double hi, double least, double most) {
  Decision out = kept(lo, hi);
  out.policy = "minmax";
  out.before_lo = least;
  out.before_hi = most;
  return out;
}

TEST(ModelRanges, FindsASiteUnderItsOtherName) {
  Plan plan;
  plan.sites["first_a"] = kept(-2, 1);
  plan.meta["seed"] = 7;
  ModelRanges ranges("m", three_sites(), plan);
  ASSERT_NE(ranges.planned("a"), nullptr);
  EXPECT_EQ(ranges.magnitude("a", *ranges.planned("a"), kInput), 2.0);
  EXPECT_EQ(ranges.planned("b"), nullptr);
  EXPECT_EQ(ranges.used().meta, plan.meta);
  plan.sites["a"] = kept(-1, 1);
  EXPECT_THAT([&] { ModelRanges("m", three_sites(), plan); },
              ThrowsMessage<Error>(AllOf(HasSubstr("one range for a"), HasSubstr("first_a"))));
}

TEST(ModelRanges, NamesSitesThatTheModelLacksAndTheNearest) {
  Plan plan;
  for (const char* name : {"first_b", "q1", "q2", "q3", "q4", "q5", "q6"}) {
    plan.sites[name] = kept(-1, 1);
  }
  EXPECT_THAT([&] { ModelRanges("m", three_sites(), plan); },
              ThrowsMessage<Error>(AllOf(HasSubstr("sites of m"), HasSubstr("first_b, q1"),
                                         HasSubstr("q4 and 2 more"), Not(HasSubstr("q5")),
                                         HasSubstr("did you mean first_a"),
                                         HasSubstr("scute sites MODEL"))));
}

TEST(ModelRanges, DecidesWhatThePlanLacksFromStatistics) {
  Plan plan;
  plan.sites["a"] = kept(-1, 1);
  StatisticsSet statistics;
  statistics.sites.emplace("a", statistic_of(std::vector<float>{-9, 9}));
  statistics.sites.emplace("b", statistic_of(std::vector<float>{-3, 2}));
  statistics.sites.emplace("c", statistic_of(std::vector<float>{NAN, 2}));
  ModelRanges ranges("m", three_sites(), plan, &statistics);
  const Policy minmax = Policy::parse("minmax");
  EXPECT_EQ(ranges.find("a", minmax)->hi, 1);
  EXPECT_EQ(ranges.find("b", minmax)->lo, -3);
  EXPECT_EQ(ranges.find("c", minmax), std::nullopt);
  EXPECT_EQ(ModelRanges("m", three_sites(), plan).find("b", minmax), std::nullopt);
  EXPECT_THAT([&] { ranges.finish("ranges", 9); },
              ThrowsMessage<Error>(AllOf(HasSubstr("1 problem: c"), HasSubstr("1 NaN"))));
}

TEST(ModelRanges, ReportsEveryProblemAtOnceAndEachOnce) {
  ModelRanges ranges("m", three_sites(), {});
  Decision narrow = kept(-1, 1), asymmetric = kept(-1, 1);
  narrow.grid.bits = 4;
  asymmetric.grid.symmetric = false;
  for (int twice = 0; twice < 2; ++twice) {
    EXPECT_EQ(ranges.magnitude("a", narrow, kInput), std::nullopt);
    EXPECT_EQ(ranges.magnitude("b", asymmetric, kInput), std::nullopt);
    EXPECT_EQ(ranges.magnitude("c", kept(-1e-40, 0), kInput), std::nullopt);
  }
  EXPECT_THAT([&] { ranges.finish("what is needed", 9); },
              ThrowsMessage<Error>(AllOf(
                  HasSubstr("plan: expected what is needed"), HasSubstr("3 problems: "),
                  HasSubstr("a was decided for 4 bits; inputs have 8 (scute decide --bits 8)"),
                  HasSubstr("b was decided for 8 bits, asymmetric;"),
                  HasSubstr("c: the range -1e-40 .. 0 leaves no scale (look there)"))));
  EXPECT_THAT([&] { ranges.finish("what is needed", 1); },
              ThrowsMessage<Error>(AllOf(HasSubstr("3 problems: a was"), HasSubstr("and 2 more"),
                                         Not(HasSubstr("asymmetric")))));
  EXPECT_EQ(ranges.magnitude("b", asymmetric, {.symmetric = false, .reason = {}, .hint = {}}), 1.0);
}

TEST(ModelRanges, ZerosThatWereMeasuredHaveAnyScaleButZerosByHandNone) {
  ModelRanges ranges("m", three_sites(), {});
  EXPECT_EQ(ranges.magnitude("a", measured(0, 0, 0, 0), kInput), 0.0);
  EXPECT_NO_THROW(ranges.finish("", 9));
  EXPECT_TRUE(ranges.note_constant("a", measured(0, 0, 0, 0)));
  EXPECT_TRUE(ranges.note_constant("b", measured(3, 3, 3, 3)));
  EXPECT_FALSE(ranges.note_constant("c", measured(0, 3, 0, 3)));
  EXPECT_THAT(ranges.constants(), ElementsAre("a (0)", "b (3)"));
  EXPECT_EQ(ranges.magnitude("a", kept(0, 0), kInput), std::nullopt);
  EXPECT_EQ(ranges.magnitude("a", measured(0, 0, -1, 1), kInput), std::nullopt);
  EXPECT_THROW(ranges.finish("", 9), Error);
  EXPECT_TRUE(std::isnormal(scale_of_range(0)));
}

TEST(ModelRanges, TellTheUsedFromTheUnused) {
  Plan plan;
  for (const char* name : {"a", "b", "c"}) plan.sites[name] = kept(-1, 1);
  ModelRanges ranges("m", three_sites(), plan);
  EXPECT_THAT(ranges.unused(), ElementsAre("a", "b", "c"));
  ranges.use("b", plan.sites["b"]);
  ranges.use("b", kept(-5, 5));
  EXPECT_EQ(ranges.used().sites.at("b").hi, 1);
  ranges.replace("b", kept(-5, 5));
  EXPECT_EQ(ranges.used().sites.at("b").hi, 5);
  EXPECT_THAT(ranges.unused(), ElementsAre("a", "c"));
}

TEST(RecordedModel, IsComparedWhereThereIsOne) {
  Json meta;
  EXPECT_EQ(recorded_model(meta, "plan"), nullptr);
  EXPECT_NO_THROW(check_recorded_model(meta, "plan", "m", "abc"));
  meta["model_sha256"] = "abc";
  EXPECT_NO_THROW(check_recorded_model(meta, "plan", "m", "abc"));
  EXPECT_THAT([&] { check_recorded_model(meta, "plan", "m", "abd"); },
              ThrowsMessage<Error>(AllOf(HasSubstr("plan: expected ranges of m (SHA-256 abd)"),
                                         HasSubstr("those of a model with SHA-256 abc"))));
  EXPECT_THAT([&] { check_recorded_model(meta, "statistics", "m", "abd"); },
              ThrowsMessage<Error>(HasSubstr("statistics: expected those of m")));
}

}  // namespace
}  // namespace scute::ranges_test
