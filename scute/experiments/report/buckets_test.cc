// The report's buckets, pictures and plans.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "scute/base/error.h"
#include "scute/experiments/report/data.h"
#include "scute/experiments/report/report.h"
#include "scute/observe/test_data.h"

namespace scute::buckets_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Statistic normal_values(int64_t n, uint64_t seed) {
  return statistic_of(testing_data::draw({"normal", testing_data::normal}, n, seed));
}

ReportOptions with_statistics(std::map<std::string, Statistic> sites, Json meta = {}) {
  ReportOptions out;
  ReportStatistics statistics;
  statistics.name = "stats.pt";
  statistics.set.sites = std::move(sites);
  statistics.set.meta = std::move(meta);
  out.statistics.push_back(std::move(statistics));
  return out;
}

const Json& member(const Json& json, std::string_view key) { return json.at(key, "test"); }
const Json& item(const Json& json, size_t i) { return json.as_array("test").at(i); }

/// The data that the page carries.
Json data_of(const ReportOptions& options) {
  const std::string page = make_report(options);
  const std::string open = "<script type=\"application/json\" id=\"data\">";
  const size_t from = page.find(open) + open.size();
  return Json::parse(page.substr(from, page.find("</script>", from) - from), "page");
}
Json statistics_of(const ReportOptions& options) {
  return item(member(data_of(options), "statistics"), 0);
}

std::map<std::string, Statistic> cobra_sites() {
  return {{"layer_2.x_proj:input", normal_values(3000, 1)},
          {"layer_10.x_proj:input", normal_values(3000, 2)},
          {"vision.dino.blocks.0.mlp.fc1:input", normal_values(3000, 3)},
          {"projector.0:input", normal_values(3000, 4)},
          {"projector", normal_values(40000, 5)},
          {"llm", normal_values(30000, 6)},
          {"vision.dino", normal_values(20000, 7)},
          {"vision.siglip", normal_values(10000, 8)}};
}

/// What collect writes of pictures.
Json picture_meta(int64_t measured, int64_t unused, int64_t seed) {
  Json meta;
  meta["samples"] = measured;
  meta["tokens"] = 16 * measured;
  meta["pictures_listed"] = measured + unused + 1;
  meta["pictures_unused"] = unused;
  meta["pictures_corrupt"] = 1;
  meta["text"]["source"] = "random";
  meta["text"]["seed"] = seed;
  return meta;
}

TEST(ReportBuckets, ComeFirstAndTheOthersInTheirNaturalOrder) {
  const Json statistics = statistics_of(with_statistics(cobra_sites()));
  std::vector<std::string> names;
  for (const Json& site : member(statistics, "sites").as_array("")) {
    names.push_back(member(site, "name").as_string(""));
    EXPECT_EQ(site.find("bucket") != nullptr, names.size() <= 4) << names.back();
  }
  EXPECT_THAT(names, ElementsAre("vision.siglip", "vision.dino", "llm", "projector",
                                 "layer_2.x_proj:input", "layer_10.x_proj:input",
                                 "projector.0:input", "vision.dino.blocks.0.mlp.fc1:input"));
}

TEST(ReportBuckets, HoldTheirPercentilesAndEachPolicysSentence) {
  const auto sites = cobra_sites();
  const Json statistics = statistics_of(with_statistics(sites));
  EXPECT_EQ(member(statistics, "percentiles").dump(), "[0.1,1,50,99,99.9,99.99,99.999]");
  const Json& bucket = member(item(member(statistics, "sites"), 3), "bucket");
  const Statistic& projector = sites.at("projector");
  const Distribution distribution(projector);
  const Json& values = member(bucket, "percentiles");
  ASSERT_EQ(values.as_array("").size(), 7u);
  const double shares[] = {0.001, 0.01, 0.5, 0.99, 0.999, 0.9999, 0.99999};
  for (size_t i = 0; i < 7; ++i) {
    const double exact = distribution.quantile(shares[i]);
    // Five significant digits are kept: half a unit of the fifth is 5e-5 relative at most.
    EXPECT_NEAR(item(values, i).as_double(""), exact, 5e-5 * std::abs(exact)) << shares[i];
  }
  const Json& because = member(bucket, "because");
  ASSERT_EQ(because.as_array("").size(), report_policies().size());
  for (size_t i = 0; i < report_policies().size(); ++i) {
    const Policy policy = Policy::parse(report_policies()[i]);
    EXPECT_EQ(item(because, i).as_string(""), decide(policy, "projector", projector, {}).because);
  }
}

TEST(ReportBuckets, OneThatSawNothingFiniteIsListed) {
  const std::vector<float> values{std::numeric_limits<float>::quiet_NaN()};
  const Json statistics = statistics_of(with_statistics({{"llm", statistic_of(values)}}));
  const Json& site = item(member(statistics, "sites"), 0);
  EXPECT_EQ(member(site, "bucket").dump(), "{}");
  EXPECT_EQ(member(site, "nans").as_int(""), 1);
}

TEST(ReportBuckets, LanguageModelsHaveNeitherBucketsNorPictures) {
  Json meta;
  meta["samples"] = 4;
  meta["tokens"] = 280;
  const Json statistics =
      statistics_of(with_statistics({{"layer_0.x_proj:input", normal_values(100, 1)}}, meta));
  EXPECT_EQ(statistics.dump().find("\"bucket\""), std::string::npos);
  EXPECT_EQ(member(statistics, "meta").find("pictures"), nullptr);
  EXPECT_EQ(member(statistics, "meta").find("text"), nullptr);
}

TEST(ReportBuckets, SayWhichPicturesAndTextsWentIn) {
  const Json meta = origin(picture_meta(8, 2, 42));
  EXPECT_EQ(member(meta, "pictures").dump(),
            R"({"measured":8,"listed":11,"unused":2,"corrupt":1})");
  EXPECT_EQ(member(meta, "text").dump(), R"([{"source":"random","seed":42}])");
}

TEST(ReportBuckets, PicturesOfMergedPartsAreAddedAndTheirTextsListedOnce) {
  Json merged = picture_meta(8, 2, 42);  // equal members stay in front: they are of one part
  merged["samples"] = 20;
  for (const auto& [measured, seed] : {std::pair{8, 42}, std::pair{8, 42}, std::pair{4, 43}}) {
    merged["parts"].push_back(picture_meta(measured, 2, seed));
  }
  const Json meta = origin(merged);
  EXPECT_EQ(member(meta, "pictures").dump(),
            R"({"measured":20,"listed":29,"unused":6,"corrupt":3})");
  EXPECT_EQ(member(meta, "text").as_array("").size(), 2u);
}

TEST(ReportBuckets, AMetaOfAnyShapeIsShownAsNotKnown) {
  Json meta;
  meta["pictures_listed"] = "many";
  meta["samples"] = -1;
  meta["pictures_corrupt"] = std::numeric_limits<int64_t>::max();
  meta["text"] = Json::Array{1, std::numeric_limits<double>::infinity()};
  meta["data"] = Json::Array{"x", Json()};
  const Json out = origin(meta);
  EXPECT_EQ(member(out, "pictures").dump(),
            R"({"measured":null,"listed":null,"unused":null,"corrupt":null})");
  EXPECT_EQ(member(out, "text").dump(), "[[1,null]]");
}

TEST(ReportBuckets, OfManyFilesTheFirstAreNamedAndAllCounted) {
  Json meta = picture_meta(250, 0, 1), part;
  for (int i = 0; i < 250; ++i) {
    Json file;
    file["file"] = std::to_string(i) + ".png";
    part["files"].push_back(std::move(file));
  }
  meta["data"].push_back(std::move(part));
  const Json out = origin(meta);
  EXPECT_EQ(member(out, "files").as_int(""), 250);
  ASSERT_EQ(member(out, "data").as_array("").size(), 200u);
  EXPECT_EQ(member(item(member(out, "data"), 199), "file").as_string(""), "199.png");
}

TEST(ReportBuckets, ATowersLayersAreNotAddedToThoseOfTheLanguageModel) {
  const Json statistics =
      statistics_of(with_statistics({{"layer_0.x_proj:input", normal_values(500, 1)},
                                     {"vision.dino.blocks.0.mlp.fc1:input", normal_values(500, 2)},
                                     {"vision.dino.blocks.0.mlp.fc2:input", normal_values(500, 3)},
                                     {"vision.siglip.blocks.0.mlp.fc1:input",  //
                                      normal_values(500, 4)}}));
  std::vector<std::string> layers;
  for (const Json& row : member(statistics, "sensitivity").as_array("")) {
    layers.push_back(item(row, 0).dump() + ": " + item(row, 1).dump());
  }
  EXPECT_THAT(layers, ElementsAre("0: 1", "\"vision.dino 0\": 2", "\"vision.siglip 0\": 1"));
}

TEST(ReportPlans, AreMeasuredOnTheStatistics) {
  const auto sites = cobra_sites();
  ReportOptions options = with_statistics(sites);
  ReportPlan plan{"plan.json", {}};
  plan.plan.sites["llm"] = decide(Policy::parse("tail"), "llm", sites.at("llm"), {.bits = 8});
  const Decision decided = plan.plan.sites["llm"];
  plan.plan.sites["llm"].clipped = 0.5;  // of other data: not to be believed
  plan.plan.sites["llm"].sqnr = 3;
  options.plans.push_back(plan);
  const Json data = data_of(options);
  EXPECT_EQ(member(data, "plans").dump(), R"([{"name":"plan.json","sites":1}])");
  const Json& shown = member(item(member(data, "statistics"), 0), "sites");
  const Json& row = item(member(item(shown, 2), "plans"), 0);
  // Six digits of the range are kept, four of the shares: half a unit of the last one.
  EXPECT_NEAR(item(row, 0).as_double(""), decided.lo, 5e-6 * std::abs(decided.lo));
  EXPECT_NEAR(item(row, 1).as_double(""), decided.hi, 5e-6 * std::abs(decided.hi));
  EXPECT_NEAR(item(row, 2).as_double(""), decided.clipped, 5e-4 * decided.clipped);
  EXPECT_NEAR(item(row, 3).as_double(""), decided.sqnr, 5e-4 * decided.sqnr);
  EXPECT_EQ(item(row, 4).as_int(""), 8);
  EXPECT_THAT(item(row, 5).as_string(""), HasSubstr(decided.because));
  EXPECT_TRUE(item(member(item(shown, 0), "plans"), 0).is_null());  // vision.siglip
}

TEST(ReportPlans, RangesWithoutAReasonSaySo) {
  const Plan plan = Plan::from_json(
      Json::parse(R"({"llm":{"percentile":99.9,"lo":-1,"hi":1.5}})", "test"), "test");
  const Json row = plan_row(plan, "llm", Distribution(normal_values(1000, 1)));
  EXPECT_EQ(item(row, 1).dump(), "1.5");
  EXPECT_EQ(item(row, 5).as_string(""), "no reason given");
}

TEST(ReportPlans, NeedStatisticsOfTheirSites) {
  ReportPlan plan{"plan.json", {}};
  plan.plan.sites["elsewhere"].hi = 1;
  ReportOptions options = with_statistics(cobra_sites());
  options.plans.push_back(plan);
  try {
    make_report(options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("plan.json: expected ranges of sites in stats.pt"));
    EXPECT_THAT(error.what(), HasSubstr("elsewhere"));
  }
  options.statistics.clear();
  options.checkpoint.emplace();
  EXPECT_THROW(make_report(options), Error);
}

}  // namespace
}  // namespace scute::buckets_test
