#include "scute/base/json_difference.h"

#include <gtest/gtest.h>

#include <string>

namespace scute::json_difference_test {
namespace {

std::string between(const char* found, const char* expected) {
  return difference_text(Json::parse(found, "found"), Json::parse(expected, "expected"));
}

TEST(JsonDifference, NamesEveryMemberThatDiffers) {
  EXPECT_EQ(between(R"({"a": 1, "b": [2]})", R"({"b": [2], "a": 1})"), "");
  EXPECT_EQ(between(R"({"a": 1, "b": "x", "c": 3})", R"({"a": 1, "b": "y", "d": null})"),
            "b x, not y; c 3, not none; d none, not null");
  EXPECT_EQ(between(R"("key")", R"("other")"), "key, not other");
}

TEST(JsonDifference, ShowsLongValuesWhereTheyDiffer) {
  EXPECT_EQ(difference_text(Json::object(), Json::object()), "");
  const std::string hash(64, 'a'), other(64, 'b');
  Json a, b;
  a["model"] = hash;
  b["model"] = other;
  EXPECT_EQ(difference_text(a, b),
            "model " + hash.substr(0, 20) + "…, not " + other.substr(0, 20) + "…");
  a["model"] = "scute collect slim.pt --feat-root features --fine 8";
  b["model"] = "scute collect slim.pt --feat-root features --fine 5";
  EXPECT_EQ(difference_text(a, b), "model …8, not …5");
  a["model"] = std::string(15, 'x') + "äöüäöüäöüäöüäöüäöü";
  b["model"] = "short";
  EXPECT_EQ(difference_text(a, b), "model " + std::string(15, 'x') + "äö…, not short");
}

TEST(JsonDifference, WhatDiffersLooksDifferent) {
  EXPECT_EQ(between(R"({"a": "8", "b": ""})", R"({"a": 8, "b": "x"})"),
            R"(a "8", not 8; b "", not x)");
  EXPECT_EQ(between(R"({"a": "x"})", R"({"a": ""})"), R"(a x, not "")");
  EXPECT_EQ(between(R"({"a": "none"})", R"({})"), R"(a "none", not none)");
  // A long word that differs at its end, and one that is the beginning of the other.
  const std::string word(60, 'w');
  Json a, b;
  a["sites"] = word + "1";
  b["sites"] = word + "2";
  EXPECT_EQ(difference_text(a, b), "sites …wwwww1, not …wwwww2");
  b["sites"] = word + "1 more";
  EXPECT_EQ(difference_text(b, a), "sites …wwww1 more, not …wwww1");
}

}  // namespace
}  // namespace scute::json_difference_test
