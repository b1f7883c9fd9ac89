#include "scute/experiments/report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <regex>

#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/base/random.h"
#include "scute/experiments/difference.h"
#include "scute/experiments/report/data.h"
#include "scute/observe/test_data.h"

namespace scute::report_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kHostile =
    "</script><script>alert(1)</script><!-- \" ' & \u2028 <img src=x onerror=alert(2)>";

Statistic normal_values(int64_t n, uint64_t seed) {
  return statistic_of(testing_data::draw({"normal", testing_data::normal}, n, seed));
}

ReportOptions with_statistics(std::map<std::string, Statistic> sites) {
  ReportOptions out;
  ReportStatistics statistics;
  statistics.name = "stats.safetensors";
  statistics.set.sites = std::move(sites);
  out.statistics.push_back(std::move(statistics));
  return out;
}

/// The data that a page carries, read as strictly as a browser does.
std::string data_text(const std::string& page) {
  const std::string open = "<script type=\"application/json\" id=\"data\">";
  const size_t from = page.find(open) + open.size();
  return page.substr(from, page.find("</script>", from) - from);
}
Json data_of(const std::string& page) { return Json::parse(data_text(page), "page"); }

const Json& member(const Json& json, std::string_view key) { return json.at(key, "test"); }
const Json& item(const Json& json, size_t i) { return json.as_array("test").at(i); }

int64_t total(const Json& counts) {
  int64_t sum = 0;
  for (const Json& count : counts.as_array("test")) sum += count.as_int("test");
  return sum;
}

/// Two experiments of one log, in memory.
struct Made {
  std::string lines;
  ExperimentLog log;
};
Made make_log(const std::string& model) {
  Made out;
  out.log.path = "logs/percentile_experiments.jsonl";
  for (const double perplexity : {27.0, 30.0}) {
    LogEntry entry;
    entry.number = static_cast<int64_t>(out.log.entries.size()) + 1;
    entry.id = "0123456789ab";
    entry.timestamp = "2026-01-02 03:04:05";
    entry.command = "scute run " + model;
    entry.config["model"] = model;
    entry.config["a_bits"] = 8;
    entry.config["limit"] = std::numeric_limits<double>::infinity();
    Json task;
    task["perplexity"] = perplexity;
    task["perplexity_stderr"] = 0.5;
    task["n"] = 64;
    task["file"] = "held.txt";
    task["sha256"] = "cd";
    for (const char* key : {"window", "stride", "context", "predictions"}) task[key] = 512;
    entry.results["tasks"]["perplexity"] = task;
    out.log.entries.push_back(std::move(entry));
  }
  return out;
}
/// The lines that record() reads; they must outlive the log.
void add_lines(Made& made, const std::string& stats) {
  made.lines = "{\"version\":\"0.1.0\",\"activation_stats\":" + stats + "}";
  for (LogEntry& entry : made.log.entries) entry.text = made.lines;
}

TEST(Report, BinsHoldEveryValueAndTheOutermostOnesTheExtremes) {
  std::vector<float> values = testing_data::draw({"normal", testing_data::normal}, 20000, 1);
  values.insert(values.end(), {-40.0F, 55.0F, 0.0F, 0.0F, 1e-30F});
  const Distribution distribution(statistic_of(values));
  const LinearBins linear = linear_bins(distribution);
  EXPECT_EQ(linear.lo, -40);
  EXPECT_EQ(linear.hi, 55);
  EXPECT_EQ(linear.counts.size(), 112u);
  EXPECT_EQ(std::accumulate(linear.counts.begin(), linear.counts.end(), uint64_t{0}),
            values.size());
  EXPECT_EQ(linear.counts.front(), 1u);
  EXPECT_EQ(linear.counts.back(), 1u);

  const OctaveBins octaves = octave_bins(distribution);
  EXPECT_LE(octaves.counts.size(), 112u);
  EXPECT_EQ(octaves.zeros, 2u);
  EXPECT_EQ(std::accumulate(octaves.counts.begin(), octaves.counts.end(), octaves.zeros),
            values.size());
  EXPECT_EQ(octaves.counts.front(), 1u);  // 1e-30
  const double last = octaves.first + octaves.step * static_cast<double>(octaves.counts.size());
  EXPECT_GE(last, std::log2(55.0));
  EXPECT_LT(last - octaves.step, std::log2(55.0));
}

TEST(Report, OneValueGivesOneBinAndZerosAloneNoOctave) {
  const std::vector<float> ones(7, 1.5F), zeros(5, 0.0F);
  EXPECT_THAT(linear_bins(Distribution(statistic_of(ones))).counts, ElementsAre(7u));
  EXPECT_THAT(octave_bins(Distribution(statistic_of(ones))).counts, ElementsAre(7u));
  EXPECT_EQ(octave_bins(Distribution(statistic_of(zeros))).zeros, 5u);
  EXPECT_TRUE(octave_bins(Distribution(statistic_of(zeros))).counts.empty());
}

TEST(Report, ClipLinesAndQualityAreWhatDecideSays) {
  const std::string site = "layer_3.x_proj:input";
  const Statistic statistic = normal_values(30000, 2);
  const Json data = data_of(make_report(with_statistics({{site, statistic}})));
  const Json& page_site = item(member(item(member(data, "statistics"), 0), "sites"), 0);
  EXPECT_EQ(member(page_site, "layer").as_int(""), 3);
  EXPECT_EQ(member(page_site, "op").as_string(""), "x_proj:input");
  EXPECT_EQ(total(item(member(page_site, "linear"), 2)), 30000);
  const Json& rows = member(page_site, "policies");
  ASSERT_EQ(rows.as_array("").size(), report_policies().size());
  for (size_t i = 0; i < report_policies().size(); ++i) {
    const Policy policy = Policy::parse(report_policies()[i]);
    const Decision at8 = decide(policy, site, statistic, {.bits = 8});
    EXPECT_EQ(item(item(rows, i), 0).as_double(""), at8.lo) << report_policies()[i];
    EXPECT_EQ(item(item(rows, i), 1).as_double(""), at8.hi) << report_policies()[i];
    // Four significant digits are kept: half a unit of the fourth is 5e-4 relative at most.
    EXPECT_NEAR(item(item(rows, i), 2).as_double(""), at8.clipped, 5e-4 * at8.clipped);
    const int bits[] = {4, 8, 16};
    for (size_t b = 0; b < 3; ++b) {
      const double sqnr = decide(policy, site, statistic, {.bits = bits[b]}).sqnr;
      EXPECT_NEAR(item(item(rows, i), 3 + b).as_double(""), sqnr, 5e-4 * sqnr)
          << report_policies()[i] << " at " << bits[b];
    }
  }
}

TEST(Report, SensitivityCountsEachTensorOfALayerOnce) {
  const auto page = [](std::map<std::string, Statistic> sites) {
    const Json data = data_of(make_report(with_statistics(std::move(sites))));
    return member(item(member(data, "statistics"), 0), "sensitivity");
  };
  const Statistic a = normal_values(5000, 3), b = normal_values(5000, 4);
  const Json twice = page({{"layer_1.in_proj:input", a},
                           {"layer_1.in_proj:input@rotated", b},
                           {"layer_1.in_proj:output", a},
                           {"layer_1.ssm_state_act:input", a},
                           {"layer_1.ssm_state_act:steps", b},
                           {"embedding:output", a}});
  ASSERT_EQ(twice.as_array("").size(), 1u);
  EXPECT_EQ(item(item(twice, 0), 0).as_int(""), 1);
  EXPECT_EQ(item(item(twice, 0), 1).as_int(""), 2);  // @rotated and :steps
  const Decision one =
      decide({}, "layer_1.in_proj:input@rotated", b, {.bits = 8, .symmetric = true});
  const double noise = 2 * std::pow(10, -one.sqnr / 10);
  EXPECT_NEAR(item(item(twice, 0), 3).as_double(""), noise, 5e-4 * noise);
}

TEST(Report, SitesWithoutAFiniteValueAreListed) {
  const std::vector<float> values{std::numeric_limits<float>::quiet_NaN()};
  const Json data = data_of(make_report(with_statistics({{"x", statistic_of(values)}})));
  const Json& site = item(member(item(member(data, "statistics"), 0), "sites"), 0);
  EXPECT_EQ(member(site, "nans").as_int(""), 1);
  EXPECT_EQ(site.find("linear"), nullptr);
}

TEST(Report, NothingInTheDataCanLeaveItsElement) {
  Made made = make_log(kHostile);
  add_lines(made, "{}");
  ReportOptions options = with_statistics({{kHostile, normal_values(100, 5)}});
  options.statistics[0].name = kHostile;
  options.statistics[0].set.meta["model"] = kHostile;
  options.log = &made.log;
  const std::string page = make_report(options), text = data_text(page);
  EXPECT_THAT(text, Not(HasSubstr("<")));
  EXPECT_THAT(page, Not(HasSubstr("alert(1)</script>")));
  const Json data = data_of(page);
  EXPECT_EQ(member(item(member(data, "statistics"), 0), "name").as_string(""), kHostile);
  const Json& first = item(member(member(data, "log"), "experiments"), 0);
  EXPECT_EQ(member(member(first, "config"), "model").as_string(""), kHostile);
}

TEST(Report, NumbersThatJsonHasNotBecomeNull) {
  Made made = make_log("m");
  add_lines(made, R"({"layer_0.x:input":{"before_percentile":{"min":-Infinity,"max":1},
                      "after_percentile":{"min":-1,"max":1}}})");
  ReportOptions options;
  options.log = &made.log;
  const std::string page = make_report(options);
  EXPECT_THAT(data_text(page), Not(HasSubstr("Infinity")));
  const Json data = data_of(page);
  const Json& first = item(member(member(data, "log"), "experiments"), 0);
  EXPECT_TRUE(member(member(first, "config"), "limit").is_null());
  EXPECT_TRUE(member(first, "ranges").as_array("").empty());
}

TEST(Report, PairsSayWhatComparingSays) {
  Made made = make_log("m");
  add_lines(made, "{}");
  ReportOptions options;
  options.log = &made.log;
  const Json data = data_of(make_report(options));
  const auto& entries = made.log.entries;
  const auto expected = compare_results(entries[0], entries[1], made.log.folder());
  ASSERT_EQ(expected.size(), 1u);
  const Json& pair = item(member(member(data, "log"), "pairs"), 0);
  ASSERT_EQ(pair.as_array("").size(), 3u);
  const Json& row = item(pair, 2);
  // Kept to three or four digits.
  EXPECT_NEAR(item(row, 1).as_double(""), expected[0].difference, 1e-3 * expected[0].difference);
  EXPECT_NEAR(item(row, 3).as_double(""), expected[0].p, 5e-3 * expected[0].p);
  const auto words = static_cast<size_t>(item(row, 7).as_int(""));
  EXPECT_EQ(item(member(member(data, "log"), "words"), words).as_string(""),
            verdict_text(expected[0]));
}

TEST(Report, RangesAndReorderingOfExperimentsAreShown) {
  Made made = make_log("m");
  add_lines(made, R"({"layer_2.x_conv_out:input":{"before_percentile":{"min":-2,"max":3},
      "after_percentile":{"min":-1,"max":1.5},"clipped_ratio":0.25,"sqnr_db":30,
      "before_reorder":{"range":4},"after_reorder":{"range":3},"range_reduction_pct":25}})");
  ReportOptions options;
  options.log = &made.log;
  const Json data = data_of(make_report(options));
  const Json& first = item(member(member(data, "log"), "experiments"), 0);
  EXPECT_EQ(member(first, "ranges").dump(), "[[0,-2,3,-1,1.5,0.25,30]]");
  EXPECT_EQ(member(member(first, "reorder"), "sites").dump(), "[[0,4,3,25]]");
  EXPECT_EQ(member(member(data, "log"), "layers").dump(), "[[2,\"x_conv_out:input\"]]");
}

TEST(Report, ALineThatIsNoJsonCostsItsRangesOnly) {
  Made made = make_log("m");
  add_lines(made, "{}");
  made.log.entries[0].text = "{\"activation_stats\": nonsense}";
  ReportOptions options;
  options.log = &made.log;
  const Json data = data_of(make_report(options));
  EXPECT_EQ(member(member(data, "log"), "experiments").as_array("").size(), 2u);
  EXPECT_EQ(member(member(data, "log"), "remarks").as_array("").size(), 1u);
}

TEST(Report, TheNewestExperimentsAreKept) {
  Made made = make_log("m");
  add_lines(made, "{}");
  ReportOptions options;
  options.log = &made.log;
  options.most_experiments = 1;
  const Json data = data_of(make_report(options));
  const Json& shown = member(member(data, "log"), "experiments");
  ASSERT_EQ(shown.as_array("").size(), 1u);
  EXPECT_EQ(member(item(shown, 0), "number").as_int(""), 2);
  EXPECT_EQ(member(member(data, "log"), "total").as_int(""), 2);
}

TEST(Report, NothingToShowIsAnError) {
  EXPECT_THROW(make_report({}), Error);
  const ExperimentLog empty;
  ReportOptions options;
  options.log = &empty;
  EXPECT_THROW(make_report(options), Error);
}

TEST(Report, TheSameInputGivesTheSameBytesOnAnyNumberOfThreads) {
  std::map<std::string, Statistic> sites;
  for (int i = 0; i < 12; ++i) {
    sites.emplace("layer_" + std::to_string(i) + ".x_proj:input",
                  normal_values(2000, static_cast<uint64_t>(i)));
  }
  Made made = make_log("m");
  add_lines(made, "{}");
  ReportOptions options = with_statistics(std::move(sites));
  options.log = &made.log;
  options.threads = 1;
  const std::string page = make_report(options);
  options.threads = 5;
  EXPECT_EQ(make_report(options), page);
}

/// Hexadecimal digits of what base 64 stands for, written independently of the report's encoder.
std::string hex_of_base64(const std::string& text) {
  std::string out;
  uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    if (c == '=') break;
    const int value = c >= 'a'   ? c - 'a' + 26
                      : c >= 'A' ? c - 'A'
                      : c >= '0' ? c - '0' + 52
                      : c == '+' ? 62
                                 : 63;
    bits = (bits << 6) | static_cast<uint32_t>(value);
    held += 6;
    while (held >= 4) {
      held -= 4;
      out += "0123456789abcdef"[(bits >> held) & 15];
    }
  }
  out.resize(64);
  return out;
}

TEST(Report, OnlyItsOwnScriptsAndStyleMayRun) {
  const std::string page = make_report(with_statistics({{"x", normal_values(100, 6)}}));
  const std::regex hash("'sha256-([^']+)'");
  std::vector<std::string> allowed;
  for (std::sregex_iterator at(page.begin(), page.end(), hash), end; at != end; ++at) {
    allowed.push_back(hex_of_base64((*at)[1]));
  }
  std::vector<std::string> found;
  for (const std::string tag : {"script", "style"}) {
    const std::string open = "<" + tag + ">", close = "</" + tag + ">";
    for (size_t at = page.find(open); at != std::string::npos; at = page.find(open, at + 1)) {
      const size_t from = at + open.size();
      found.push_back(sha256(page.substr(from, page.find(close, from) - from)));
    }
  }
  EXPECT_EQ(allowed, found);
  EXPECT_EQ(found.size(), 3u);
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  EXPECT_THAT(page, HasSubstr("Released under the MIT License"));  // Chart.js's banner
}

TEST(Report, SitesAreSplitIntoLayerAndOp) {
  const auto split = [](std::string_view site) {
    const SiteName name = split_site(site);
    return std::to_string(name.layer) + " " + name.op;
  };
  EXPECT_EQ(split("layer_12.x_proj:input"), "12 x_proj:input");
  EXPECT_EQ(split("vision.dino.blocks.3.mlp.fc1:input"), "3 vision.dino.blocks.mlp.fc1:input");
  EXPECT_EQ(split("embedding:output"), "-1 embedding:output");
  EXPECT_EQ(split("layer_:input"), "-1 layer_:input");
  EXPECT_EQ(split("layer_5"), "-1 layer_5");
  EXPECT_EQ(split("layer_99999999999999999999.x"), "-1 layer_99999999999999999999.x");
}

}  // namespace
}  // namespace scute::report_test
