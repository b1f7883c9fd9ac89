// scute decide for the vision-language model: buckets, and percentile files of other tools.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "scute/base/json.h"
#include "scute/base/random.h"
#include "scute/decide/plan.h"
#include "scute/io/file.h"
#include "scute/io/torch_zip.h"
#include "scute/recipe/statistics_io.h"
#include "tests/program.h"

namespace scute::cli_decide_tables_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Dict = TorchValue::Dict;

std::vector<float> normal_values(uint64_t seed, int count = 20000) {
  Random random(seed);
  std::vector<float> out(static_cast<size_t>(count));
  for (float& value : out) value = static_cast<float>(random.normal());
  return out;
}

/// Two buckets, a site inside a tower and one of the language model.
StatisticsSet bucket_set() {
  StatisticsSet set;
  uint64_t seed = 1;
  for (const char* name :
       {"vision.dino", "llm", "vision.dino.blocks.0.attn.qkv:input", "layer_0.in_proj:input"}) {
    set.sites.emplace(name, statistic_of(normal_values(seed++)));
  }
  return set;
}

/// What the original's collector would have written of a logistic distribution.
TorchValue collected(const std::string& leave_out = "") {
  Dict percentiles, config;
  for (const auto& [key, p] : std::vector<std::pair<std::string, double>>{{"p25.0", 25},
                                                                          {"p50.0", 50},
                                                                          {"p75.0", 75},
                                                                          {"p90.0", 90},
                                                                          {"p99.0", 99},
                                                                          {"p99.9", 99.9},
                                                                          {"p99.99", 99.99},
                                                                          {"p99.999", 99.999}}) {
    if (key != leave_out) percentiles.emplace_back(key, TorchValue{std::log(p / (100 - p))});
  }
  Dict observer{{"mode", TorchValue{std::string("collect")}},
                {"target", TorchValue{std::string("vision.dino")}},
                {"module", TorchValue{std::string("blocks.0.attn.qkv")}},
                {"numel", TorchValue{int64_t{10080000}}},
                {"min", TorchValue{-12.0}},
                {"max", TorchValue{14.0}},
                {"percentiles", TorchValue{percentiles}}};
  config.emplace_back("num_batches", TorchValue{int64_t{8}});
  TorchValue::List targets{TorchValue{std::string("vision.dino")}};
  return TorchValue{Dict{{"config", TorchValue{config}},
                         {"targets", TorchValue{targets}},
                         {"observers", TorchValue{Dict{{"vision.dino", TorchValue{observer}}}}}}};
}

Json answer_of(const std::vector<std::string>& words) {
  const Ended ended = scute_program(words);
  EXPECT_EQ(ended.code, 0) << ended.err;
  return Json::parse(ended.out, "answer");
}

TEST(DecideBuckets, TailIsTheDefaultAndEveryBucketHasALine) {
  const TemporaryFolder folder;
  const std::string path = folder.path("s.pt"), plan = folder.path("new/deeper/o.json");
  write_statistics(path, bucket_set());
  const Ended ended = scute_program({"decide", "--stats", path, "--out", plan});
  ASSERT_EQ(ended.code, 0) << ended.err;
  // Of 20000 normal values the share inside ±p99 of |x| is 99 %, to a rank.
  EXPECT_THAT(ended.out, HasSubstr("\nvision.dino  tail (rule 1): p99, range -2."));
  EXPECT_THAT(ended.out, HasSubstr(", coverage 99.0"));
  EXPECT_THAT(ended.out, HasSubstr("\nllm          tail (rule "));
  EXPECT_THAT(ended.out, HasSubstr("buckets are decided by tail, the sites inside by auto"));
  EXPECT_THAT(ended.out, HasSubstr("minmax 2, tail 2"));
  const Plan read = Plan::from_json(Json::parse(read_text(plan), plan), plan);
  EXPECT_EQ(read.sites.size(), 4u);
  EXPECT_EQ(read.sites.at("llm").policy, "tail");
  EXPECT_NE(read.sites.at("layer_0.in_proj:input").policy, "tail");

  const Ended given = scute_program({"decide", path, "--policy", "minmax"});
  EXPECT_THAT(given.out, AllOf(HasSubstr("vision.dino  minmax: p100, "),
                               HasSubstr("coverage 100.0000 %"), Not(HasSubstr("takes another"))));
  EXPECT_THAT(scute_program({"decide", "--help"}).out, HasSubstr("decided by tail"));
}

TEST(DecideBuckets, LanguageModelsKeepAuto) {
  const TemporaryFolder folder;
  StatisticsSet set;
  set.sites.emplace("layer_0.in_proj:input", statistic_of(normal_values(1)));
  write_statistics(folder.path("s.pt"), set);
  const Json answer = answer_of({"decide", folder.path("s.pt"), "--json"});
  EXPECT_EQ(answer.at("summary", "").at("policy", "").as_string(""), "auto");
  EXPECT_EQ(answer.find("buckets"), nullptr);
}

TEST(DecideBuckets, ThePercentileMayBeGiven) {
  const TemporaryFolder folder;
  const std::string path = folder.path("s.pt");
  write_statistics(path, bucket_set());
  const Json answer = answer_of({"decide", path, "--percentile-override", "99.95", "--json"});
  const Json& dino = answer.at("buckets", "").at("vision.dino", "");
  EXPECT_EQ(dino.at("percentile", "").as_double(""), 99.95);
  EXPECT_TRUE(dino.at("rule", "").is_null());
  // 20000 · 0.9995 = 19990 values are kept, of both signs together.
  EXPECT_NEAR(dino.at("coverage", "").as_double(""), 0.9995, 1e-12);
}

TEST(DecideBuckets, TargetsSkipTheOthers) {
  const TemporaryFolder folder;
  const std::string path = folder.path("s.pt");
  write_statistics(path, bucket_set());
  const Json answer = answer_of({"decide", path, "--targets", "dino", "--json"});
  EXPECT_EQ(answer.at("summary", "").at("sites", "").as_int(""), 1);
  const Ended missing = scute_program({"decide", path, "--targets", "projector"});
  EXPECT_EQ(missing.code, 1);
  EXPECT_THAT(missing.err, AllOf(HasSubstr("s.pt"), HasSubstr("the bucket projector"),
                                 HasSubstr("only llm, vision.dino"), HasSubstr("not recorded"),
                                 HasSubstr("--targets projector")));
  const Ended wrong = scute_program({"decide", path, "--targets", "projektor"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("projector?"));
}

TEST(DecideBuckets, NothingRecordedAndNaNNameBucketCauseAndRemedy) {
  const TemporaryFolder folder;
  const std::string path = folder.path("s.pt"), plan = folder.path("o.json");
  StatisticsSet set = bucket_set();
  set.sites.insert_or_assign("vision.dino", statistic_of(std::vector<float>{}));
  set.sites.insert_or_assign("llm", statistic_of(std::vector<float>{1, NAN, 2}));
  write_statistics(path, set);
  const Ended ended = scute_program({"decide", path, "--out", plan});
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("vision.dino: "), HasSubstr("never recorded"),
                               HasSubstr("--targets vision.dino"), HasSubstr("llm: "),
                               HasSubstr("1 NaN"), HasSubstr("--allow-nonfinite")));
  EXPECT_THAT(folder.names(), ::testing::ElementsAre("s.pt"));
}

TEST(DecideBuckets, AConstantBucketSaysWhatMayBeWrong) {
  const TemporaryFolder folder;
  const std::string path = folder.path("s.pt");
  StatisticsSet set;
  set.sites.emplace("projector", statistic_of(std::vector<float>(100, 0.5f)));
  write_statistics(path, set);
  const Ended ended = scute_program({"decide", path});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("S = 0"), HasSubstr("constant slice or too few samples"),
                               HasSubstr("collect more batches"), HasSubstr(": projector\n")));
}

TEST(DecideTables, AnswersFromAnotherToolsPercentiles) {
  const TemporaryFolder folder;
  const std::string path = folder.path("s.pt"), plan = folder.path("outputs/o.json");
  write_torch(path, collected());
  const Ended ended = scute_program({"decide", "--stats", path, "--out", plan, "--wide"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("another tool"), HasSubstr("without counts"),
                               HasSubstr("vision.dino  tail (rule 1): p99, range -4.595 .. 4.595, "
                                         "at least 99 % at or below hi, coverage 74 … 99.9 %"),
                               HasSubstr("SQNR is not known"), HasSubstr("10,080,000"),
                               HasSubstr("buckets are decided by tail")));
  const Json json = Json::parse(read_text(plan), plan);
  const Json& entry = json.at("vision.dino", "");
  EXPECT_EQ(entry.at("percentile", "").as_double(""), 99);
  EXPECT_EQ(entry.at("hi", "").as_double(""), std::log(99.0));
  EXPECT_TRUE(entry.at("coverage", "").is_null());
  EXPECT_EQ(entry.find("sqnr_db"), nullptr);
  EXPECT_THAT(json.at("meta", "").dump(), HasSubstr("not known"));
  EXPECT_EQ(Plan::from_json(json, plan).sites.size(), 1u);

  const Json answer =
      answer_of({"decide", path, "--percentile-override", "99.99", "--bits", "4", "--json"});
  const Json& bucket = answer.at("buckets", "").at("vision.dino", "");
  EXPECT_EQ(bucket.at("percentile", "").as_double(""), 99.99);
  EXPECT_TRUE(bucket.at("coverage", "").is_null());
  EXPECT_EQ(answer.at("plan", "").at("vision.dino", "").at("bits", "").as_int(""), 4);
  const Json all = answer_of({"decide", path, "--policy", "minmax", "--json"});
  EXPECT_EQ(all.at("buckets", "").at("vision.dino", "").at("coverage", "").as_double(""), 1);
}

TEST(DecideTables, WhatCannotBeAnsweredSaysWhy) {
  const TemporaryFolder folder;
  const std::string path = folder.path("s.pt"), partial = folder.path("partial.pt");
  write_torch(path, collected());
  write_torch(partial, collected("p99.999"));
  const auto refused = [](const std::vector<std::string>& words, int code = 1) {
    const Ended ended = scute_program(words);
    EXPECT_EQ(ended.code, code) << ended.err;
    EXPECT_EQ(ended.out, "");
    return ended.err;
  };
  for (const char* policy : {"auto", "mse", "entropy"}) {
    EXPECT_THAT(refused({"decide", path, "--policy", policy}),
                AllOf(HasSubstr("vision.dino: "), HasSubstr("shape of the distribution"),
                      HasSubstr("collect with scute")));
  }
  EXPECT_THAT(refused({"decide", path, "--policy", "percentile:99.95"}),
              AllOf(HasSubstr("p99.95"), HasSubstr("only p25, p50")));
  EXPECT_THAT(refused({"decide", path, "--asymmetric", "--per-side"}, 2), HasSubstr("lower side"));
  EXPECT_THAT(refused({"decide", partial}),
              AllOf(HasSubstr("vision.dino: "), HasSubstr("no p99.999"), HasSubstr("not recorded"),
                    HasSubstr("collect again")));
  EXPECT_EQ(scute_program({"decide", partial, "--policy", "percentile:99.9"}).code, 0);
  // Other verbs need the counts and say so.
  EXPECT_THAT(refused({"merge", path, path, "--out", folder.path("m.safetensors")}),
              HasSubstr("scute decide"));
}

}  // namespace
}  // namespace scute::cli_decide_tables_test
