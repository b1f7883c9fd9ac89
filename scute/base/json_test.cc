#include "scute/base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "scute/base/error.h"

namespace scute::json_test {
namespace {

using testing::HasSubstr;

std::string problem(std::string_view text) {
  try {
    Json::parse(text, "f.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Json, KeepsOrderAndRoundTrips) {
  const std::string text =
      R"({"b":[1,2.5,-0.0,1e-300,true,null],"a":{"x":"q\"\\é\u0001"},"n":9007199254740993})";
  const Json json = Json::parse(text, "f");
  EXPECT_EQ(json.as_object("f")[0].first, "b");
  EXPECT_EQ(Json::parse(json.dump(), "g"), json);
  EXPECT_EQ(Json::parse(json.dump(2), "g"), json);
  EXPECT_EQ(json.at("n", "f").as_int("f"), 9007199254740993);
}

TEST(Json, ReadsBareInfinityAsRealConfigsContainIt) {
  const Json json =
      Json::parse(R"({"limit": [0.0, Infinity], "low": -Infinity, "t": "Infinity"})", "f");
  EXPECT_EQ(json.at("limit", "f").as_array("f")[1].as_double("f"),
            std::numeric_limits<double>::infinity());
  EXPECT_EQ(json.at("low", "f").as_double("f"), -std::numeric_limits<double>::infinity());
  EXPECT_EQ(json.at("t", "f").as_string("f"), "Infinity");
  EXPECT_TRUE(std::isnan(Json::parse("[NaN]", "f").as_array("f")[0].as_double("f")));
  EXPECT_EQ(Json::parse("[\"NaN \\\"NaN\", 1]", "f").as_array("f")[0].as_string("f"), "NaN \"NaN");
  EXPECT_EQ(json.dump_config(), R"({"limit":[0.0,Infinity],"low":-Infinity,"t":"Infinity"})");
}

TEST(Json, WritesWhatIsNotFiniteAsNull) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const Json json = Json::Array{Json(kNan), Json(-kNan), Json(kInfinity), Json(-kInfinity)};
  EXPECT_EQ(json.dump(), "[null,null,null,null]");
  EXPECT_EQ(json.dump_config(), "[null,null,Infinity,-Infinity]");
  EXPECT_THAT([&] { json.as_array("f")[0].as_string("f"); },
              testing::ThrowsMessage<Error>(HasSubstr("the number nan")));
}

TEST(Json, RefusesBadTextNamingFileAndByte) {
  EXPECT_THAT(problem("{\"a\": 1"),
              HasSubstr("f.json: expected valid JSON, found a problem at byte"));
  EXPECT_THAT(problem("{\"a\": 1} x"), HasSubstr("f.json"));
  EXPECT_THAT(problem(""), HasSubstr("f.json"));
  EXPECT_THAT(problem("Infinit"), HasSubstr("f.json"));
  EXPECT_THAT(problem("1e999"), HasSubstr("byte 5: number overflow"));
  EXPECT_LT(problem("1" + std::string(9999, '0')).size(), 200u);
  EXPECT_THAT(problem("{\"a\":1,\"a\":2}"), HasSubstr("\"a\" twice"));
  EXPECT_THAT(problem(std::string(200, '[')), HasSubstr("nested at most 128"));
  EXPECT_THAT(problem("\"\xff\""), HasSubstr("f.json"));
  EXPECT_EQ(problem(std::string(120, '[') + std::string(120, ']')), "");
}

TEST(Json, ANulIsNotTheEndOfTheText) {
  using namespace std::string_literals;
  for (const std::string& text : {"{}\0garbage"s, "{}\0"s, "\0{}"s, "{\"a\":\"\0\"}"s}) {
    EXPECT_THAT([&] { Json::parse(text, "f"); }, ThrowsMessage<Error>(HasSubstr("NUL at byte")));
  }
}

TEST(Json, GettersNameWhatTheyFound) {
  const Json json = Json::parse(R"({"a": "x", "b": 1.5, "big": 18446744073709551615})", "f");
  EXPECT_THROW(json.at("a", "f").as_int("f: a"), Error);
  EXPECT_THROW(json.at("b", "f").as_int("f: b"), Error);
  EXPECT_EQ(json.at("big", "f").as_double("f"), 18446744073709551615.0);
  EXPECT_EQ(json.find("c"), nullptr);
  EXPECT_THROW(json.at("c", "f"), Error);
  EXPECT_EQ(Json(2.0).as_int("f"), 2);
  EXPECT_EQ(Json(2.0).dump(), "2.0");
}

TEST(Json, AMemberIsSetInObjectsAlone) {
  Json text("t"), list = Json::array();
  EXPECT_THROW(text["key"], Error);
  EXPECT_THROW(list["key"], Error);
  EXPECT_THROW(text.push_back(1), Error);
  Json nothing;
  nothing["key"].push_back(1);
  EXPECT_EQ(nothing.dump(), R"({"key":[1]})");
}

TEST(Json, DoublesReadBackTheSame) {
  for (const double x : {0.1, 1.0 / 3, 1e22, 5e-324, 1.7976931348623157e308, -0.0}) {
    EXPECT_EQ(Json::parse(Json(x).dump(), "f").as_double("f"), x);
  }
}

}  // namespace
}  // namespace scute::json_test
