// Experiments as programs run them: what is measured once, what is recorded.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "scute/base/error.h"
#include "scute/experiments/difference.h"
#include "tests/experiments/test_experiment_trial.h"

namespace scute::experiment_test {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::ThrowsMessage;

class Trial : public TrialFixture {};
INSTANTIATE_TEST_SUITE_P(Tiny, Trial, testing::Values(MixerKind::mamba1, MixerKind::mamba2),
                         family_name);

TEST_P(Trial, RecordsEverythingThatTheSchemaNames) {
  Subject subject(options(), how());
  const Experiment experiment = subject.run(percentile(0.99));
  EXPECT_TRUE(experiment.recorded);
  EXPECT_FALSE(experiment.reused);
  EXPECT_THAT(experiment.warnings, IsEmpty());
  const Json record = only_record();
  EXPECT_EQ(record, experiment.record);
  std::vector<std::string> keys;
  for (const auto& [key, value] : record.as_object("")) keys.push_back(key);
  EXPECT_THAT(
      keys, testing::ElementsAre("timestamp", "command", "config", "activation_stats",
                                 "reorder_summary", "results", "activation_data_file", "id",
                                 "hashes", "calibration", "machine", "version", "timing", "files"));
  const Json& config = record.at("config", "");
  for (const char* key :
       {"model", "w_bits", "a_bits", "percentile_alpha", "group_heads", "apply_gptq",
        "quantize_embedding", "quantize_lm_head", "calib_data_num", "calib_seqlen"}) {
    EXPECT_NE(config.find(key), nullptr) << key;
  }
  // Two layers with two percentile sites each.
  EXPECT_EQ(record.at("activation_stats", "").as_object("").size(), 4u);
  const std::string statistics = text_field(record, {"files", "statistics"});
  EXPECT_EQ(text_field(record, {"hashes", "statistics"}),
            hash_file(folder_.path("logs/" + statistics)));
  EXPECT_EQ(text_field(record, {"id"}), text_field(record, {"hashes", "experiment"}).substr(0, 12));
}

TEST_P(Trial, ResultsAreThoseOfTheModelThatIsWritten) {
  Subject subject(options(), how());
  Setting setting = percentile(0.99);
  setting.checkpoint = folder_.path("kept/pa-0.99/low");
  const Experiment experiment = subject.run(setting);
  ASSERT_EQ(experiment.checkpoint, setting.checkpoint);
  const ModelDescription low = describe_model(setting.checkpoint);
  const Scores scores = scores_of(low);
  const Json& results = experiment.record.at("results", "");
  EXPECT_EQ(number_field(results, {"tasks", "perplexity", "perplexity"}),
            scores.perplexity->perplexity);
  EXPECT_EQ(number_field(results, {"tasks", "perplexity", "n"}), 5);
  EXPECT_EQ(number_field(results, {"perplexity"}), scores.last_word->perplexity);
  EXPECT_EQ(number_field(results, {"tasks", "last_word", "n"}), 20);
  std::ofstream(setting.checkpoint + "/config.json", std::ios::app) << "\n";
  EXPECT_THAT([&] { subject.run(setting); },
              ThrowsMessage<Error>(HasSubstr("config.json: changed since scute wrote it")));
}

TEST_P(Trial, AnotherAlphaNeedsNoPassInThisProcessOrTheNext) {
  {
    Subject subject(options(), how());
    subject.run(percentile(0.99));
    EXPECT_THAT(steps_, Contains(Step::collect));
    steps_.clear();
    EXPECT_TRUE(subject.run(percentile(0.999)).reused);
    EXPECT_THAT(steps_, Not(Contains(Step::collect)));
  }
  Subject later(options(), how());
  const Experiment third = later.run(percentile(1));
  EXPECT_TRUE(third.reused);
  EXPECT_EQ(number_field(third.record, {"timing", "collect"}), 0);
  EXPECT_THAT(steps_, Not(Contains(Step::collect)));

  SubjectOptions other = options();
  other.collect.windows.seqlen = 40;
  Subject different(other, how());
  EXPECT_FALSE(different.run(percentile(1)).reused);
}

TEST_P(Trial, TheSameExperimentHasTheSameKeyHoweverItIsSpelled) {
  Subject subject(options(), how());
  const std::string key = subject.key(percentile(0.99));
  Setting words;
  words.policy = "percentile:0.99";
  EXPECT_EQ(subject.key(words), key);
  EXPECT_NE(subject.key(percentile(0.999)), key);
  Setting rounded = percentile(0.99);
  rounded.quantize.hadamard = false;
  EXPECT_NE(subject.key(rounded), key);
  fs::rename(folder_.path("model"), folder_.path("elsewhere"));
  SubjectOptions moved = options();
  moved.model = folder_.path("elsewhere");
  EXPECT_EQ(Subject(moved, how()).key(percentile(0.99)), key);
  moved.score.max_items = 7;
  EXPECT_NE(Subject(moved, how()).key(percentile(0.99)), key);
}

TEST_P(Trial, TwoExperimentsAreComparedItemByItem) {
  Subject subject(options(), how());
  subject.run(percentile(0.9));
  subject.run(percentile(1));
  const ExperimentLog log = read_log(options().log);
  const auto differences = compare_results(log.entries[0], log.entries[1], log.folder());
  ASSERT_EQ(differences.size(), 3u);
  for (const Difference& difference : differences) EXPECT_TRUE(difference.paired);
  EXPECT_EQ(differences[0].items, 5);
}

TEST_P(Trial, TheFloatModelIsAReferenceWithoutRanges) {
  Subject subject(options(), how());
  Setting setting;
  setting.quantize.format = {16, 16};
  const Experiment experiment = subject.run(setting);
  EXPECT_THAT(steps_, Not(Contains(Step::collect)));
  EXPECT_THAT(experiment.record.at("activation_stats", "").as_object(""), IsEmpty());
  EXPECT_EQ(number_field(experiment.record, {"config", "w_bits"}), 16);
  EXPECT_EQ(number_field(experiment.record, {"results", "perplexity"}),
            scores_of(subject.model()).last_word->perplexity);
}

TEST_P(Trial, WithoutTasksStatisticsAloneAreRecorded) {
  SubjectOptions alone = options();
  alone.score = {};
  Subject subject(alone, how());
  const Experiment experiment = subject.run(percentile(0.99));
  EXPECT_TRUE(experiment.recorded);
  EXPECT_THAT(experiment.record.at("results", "").as_object(""), IsEmpty());
  EXPECT_TRUE(experiment.record.at("files", "").at("items", "").is_null());
  EXPECT_THAT(steps_, testing::ElementsAre(Step::collect));
}

TEST_P(Trial, WhereNothingIsRoundedNoRangesAreRecorded) {
  Subject subject(options(), how());
  subject.run(percentile(0.99));  // statistics are there
  Setting weights;
  weights.quantize.format = {4, 16};
  weights.quantize.group = 32;
  weights.quantize.group_heads = GetParam() == MixerKind::mamba2;
  const Json record = subject.run(weights).record;
  EXPECT_THAT(record.at("activation_stats", "").as_object(""), IsEmpty());
  EXPECT_FALSE(flag_field(record, {"reorder_summary", "enabled"}));
  EXPECT_TRUE(record.at("config", "").at("policy", "").is_null());
  EXPECT_TRUE(record.at("hashes", "").at("statistics", "").is_null());
}

TEST_P(Trial, OneItemHasNoStandardError) {
  SubjectOptions one = options();
  one.score.windows.max_windows = 1;
  Subject subject(one, how());
  const Json task =
      *field(subject.run(percentile(0.99)).record, {"results", "tasks", "perplexity"});
  EXPECT_TRUE(task.at("perplexity_stderr", "").is_null());
  EXPECT_TRUE(task.at("mean_nll_stderr", "").is_null());
}

TEST_P(Trial, GroupedHeadsRecordTheirEffectAndNeedMamba2) {
  Subject subject(options(), how());
  Setting setting = percentile(0.99);
  setting.quantize.group_heads = true;
  if (GetParam() == MixerKind::mamba1) {
    EXPECT_THAT([&] { subject.run(setting); }, ThrowsMessage<Error>(HasSubstr("Mamba-2")));
    return;
  }
  const Json record = subject.run(setting).record;
  EXPECT_TRUE(flag_field(record, {"reorder_summary", "enabled"}));
  EXPECT_EQ(number_field(record, {"reorder_summary", "total_layers"}), 2);
  double sum = 0;
  for (const auto& [site, stats] : record.at("activation_stats", "").as_object("")) {
    const double before = *number_field(stats, {"before_reorder", "range"});
    const double after = *number_field(stats, {"after_reorder", "range"});
    const double percent = *number_field(stats, {"range_reduction_pct"});
    EXPECT_NEAR(percent, 100 * (1 - after / before), 1e-9) << site;
    sum += percent;
  }
  EXPECT_NEAR(*number_field(record, {"reorder_summary", "avg_range_reduction"}), sum / 4, 1e-9);
}

TEST_P(Trial, WhatDoesNotFitIsSaidBeforeAnyPass) {
  Subject subject(options(), how());
  Setting share;
  share.policy = "mse";
  share.alpha = 0.9;
  EXPECT_THAT([&] { subject.run(share); }, ThrowsMessage<Error>(HasSubstr("--percentile-alpha")));
  SubjectOptions without = options();
  without.collect.data.clear();
  Subject blind(without, how());
  EXPECT_THAT([&] { blind.run(percentile(0.99)); }, ThrowsMessage<Error>(HasSubstr("--data")));
  EXPECT_THAT(steps_, IsEmpty());
  Setting weights_alone;
  weights_alone.quantize.format = {4, 16};
  weights_alone.quantize.group = 32;
  EXPECT_TRUE(blind.run(weights_alone).recorded);
}

TEST_P(Trial, WhatProgressThrowsEndsTheExperimentWithoutARecord) {
  for (const Step at : {Step::collect, Step::perplexity, Step::last_word}) {
    RunHow stopping = how();
    stopping.progress = [at](Step step, int64_t done, int64_t) {
      if (step == at && done > 0) throw Error("interrupted");
    };
    Subject subject(options(), stopping);
    EXPECT_THAT([&] { subject.run(percentile(0.99)); }, ThrowsMessage<Error>("interrupted"));
    EXPECT_FALSE(fs::exists(options().log));
  }
  // What was measured before the interruption is kept.
  Subject subject(options(), how());
  EXPECT_TRUE(subject.run(percentile(0.99)).reused);
}

}  // namespace
}  // namespace scute::experiment_test
