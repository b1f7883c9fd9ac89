// Experiments as programs run them: what is measured once, what is recorded, what may fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <mutex>
#include <set>

#include "scute/base/error.h"
#include "scute/experiments/difference.h"
#include "scute/experiments/fields.h"
#include "scute/experiments/log.h"
#include "scute/experiments/run.h"
#include "scute/recipe/test_models.h"

namespace scute {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::ThrowsMessage;
using testing_models::Dialect;
using testing_models::Folder;

/// A small model, texts of random ids, and a log in a folder of their own.
class Trial : public testing::TestWithParam<MixerKind> {
 protected:
  void SetUp() override {
    testing_models::make_model(folder_.path("model"), GetParam(), Dialect::state_spaces);
    write_ids("data.npy", {6, 80}, 5);
    write_ids("text.npy", {1, 300}, 6);
    std::string passages;
    Random random(7);
    for (int i = 0; i < 20; ++i) {
      Json item;
      for (int k = 0; k < 12; ++k) item["ids"].push_back(static_cast<int64_t>(random.below(256)));
      item["target"] = 1;
      passages += item.dump() + "\n";
    }
    write_file(folder_.path("words.jsonl"), passages);
  }
  void write_ids(const char* name, Shape shape, uint64_t seed) const {
    Tensor ids(DType::i32, std::move(shape));
    Random random(seed);
    for (int32_t& id : ids.mutable_values<int32_t>()) id = static_cast<int32_t>(random.below(256));
    write_npy(folder_.path(name), ids);
  }

  SubjectOptions options() const {
    SubjectOptions out;
    out.model = folder_.path("model");
    out.collect.data = {folder_.path("data.npy")};
    out.collect.windows.seqlen = 80;
    out.score.perplexity = folder_.path("text.npy");
    out.score.last_word = folder_.path("words.jsonl");
    out.score.windows = {.window = 60, .stride = 60};
    out.log = folder_.path("logs/log.jsonl");
    return out;
  }
  /// Steps that were taken are noted.
  RunHow how() {
    RunHow out;
    out.threads = 1;
    out.local_time = [](const char* format) {
      return std::string(format) == "%Y-%m-%d %H:%M:%S" ? "2026-11-21 10:00:00" : "20261121_100000";
    };
    out.progress = [this](Step step, int64_t, int64_t) {
      const std::lock_guard lock(guard_);
      steps_.insert(step);
    };
    return out;
  }
  static Setting percentile(double alpha) {
    Setting out;
    out.policy = "percentile";
    out.alpha = alpha;
    out.command = "scute run …";
    return out;
  }
  /// Of a model folder, as eval scores it.
  Scores scores_of(const ModelDescription& model) const {
    const ScoreOptions how_scored = options().score;
    return score(load_model(model, {}, LanguageModel::Head::packed),
                 read_score_work(model, how_scored), how_scored, Threads(1));
  }
  Json only_record() const {
    const ExperimentLog log = read_log(options().log);
    EXPECT_EQ(log.entries.size(), 1u);
    return log.entries.back().record(log.path);
  }

  Folder folder_;
  std::mutex guard_;
  std::set<Step> steps_;
};
INSTANTIATE_TEST_SUITE_P(Tiny, Trial, testing::Values(MixerKind::mamba1, MixerKind::mamba2),
                         [](const auto& tested) {
                           return tested.param == MixerKind::mamba1 ? "mamba1" : "mamba2";
                         });

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
  EXPECT_THAT([&] { subject.run(setting); },
              ThrowsMessage<Error>(HasSubstr("a folder that does not exist (or --force)")));
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

TEST_P(Trial, ALogThatCannotBeWrittenWarnsAndLosesNothing) {
  SubjectOptions blocked = options();
  fs::create_directories(blocked.log);  // a folder where the log should be
  Subject subject(blocked, how());
  const Experiment experiment = subject.run(percentile(0.99));
  EXPECT_FALSE(experiment.recorded);
  EXPECT_THAT(experiment.warnings, Contains(HasSubstr("record not kept")));
  EXPECT_GT(number_field(experiment.record, {"results", "perplexity"}), 1);
}

TEST_P(Trial, AFolderThatCannotBeMadeWarnsForEveryFileAndLosesNothing) {
  write_file(folder_.path("logs"), "a file where the folder should be");
  Subject subject(options(), how());
  const Experiment experiment = subject.run(percentile(0.99));
  EXPECT_FALSE(experiment.recorded);
  EXPECT_THAT(experiment.warnings, Contains(HasSubstr("statistics not kept")));
  EXPECT_THAT(experiment.warnings, Contains(HasSubstr("scores of items not kept")));
  EXPECT_TRUE(experiment.record.at("files", "").at("statistics", "").is_null());
  EXPECT_GT(number_field(experiment.record, {"results", "perplexity"}), 1);
}

TEST_P(Trial, DamagedStoredStatisticsAreMeasuredAgain) {
  std::string file;
  {
    Subject subject(options(), how());
    file = text_field(subject.run(percentile(0.99)).record, {"files", "statistics"});
  }
  const std::string path = folder_.path("logs/" + file), whole = read_text(path);
  write_file(path, whole.substr(0, whole.size() / 2));
  Subject subject(options(), how());
  const Experiment experiment = subject.run(percentile(0.99));
  EXPECT_FALSE(experiment.reused);
  EXPECT_THAT(experiment.warnings, Contains(HasSubstr("measured again")));
  EXPECT_EQ(read_text(path), whole);
}

TEST_P(Trial, ValidStatisticsOfAnotherCollectionUnderItsNameAreMeasuredAgain) {
  std::string one, two;
  {
    one =
        text_field(Subject(options(), how()).run(percentile(0.99)).record, {"files", "statistics"});
    SubjectOptions shorter = options();
    shorter.collect.windows.seqlen = 70;
    two = text_field(Subject(shorter, how()).run(percentile(0.99)).record, {"files", "statistics"});
  }
  const std::string path = folder_.path("logs/" + one), whole = read_text(path);
  write_file(path, read_text(folder_.path("logs/" + two)));
  Subject subject(options(), how());
  const Experiment experiment = subject.run(percentile(0.99));
  EXPECT_FALSE(experiment.reused);
  EXPECT_THAT(experiment.warnings, Contains(HasSubstr("stored under this name")));
  EXPECT_EQ(read_text(path), whole);
}

TEST_P(Trial, TextsThatChangeWhileTheyAreReadAreNoticed) {
  RunHow changing = how();
  changing.progress = [this](Step step, int64_t done, int64_t) {
    if (step == Step::collect && done == 1) write_ids("data.npy", {6, 80}, 99);
  };
  Subject subject(options(), changing);
  EXPECT_THAT([&] { subject.run(percentile(0.99)); }, ThrowsMessage<Error>(HasSubstr("changed")));
  EXPECT_FALSE(fs::exists(folder_.path("logs/statistics")));
  EXPECT_FALSE(Subject(options(), how()).run(percentile(0.99)).reused);
}

TEST_P(Trial, HashesAreThoseOfTheBytesThatWereRead) {
  Subject subject(options(), how());
  const std::string data = hash_file(options().collect.data[0]);
  const std::string text = hash_file(options().score.perplexity);
  write_ids("data.npy", {6, 80}, 98);  // before collect() reads it: noticed
  EXPECT_THAT([&] { subject.run(percentile(0.99)); }, ThrowsMessage<Error>(HasSubstr("changed")));
  write_ids("data.npy", {6, 80}, 5);
  write_ids("text.npy", {1, 300}, 97);  // has been read
  const Json record = subject.run(percentile(0.99)).record;
  EXPECT_EQ(text_field(record.at("hashes", "").at("data", "").as_array("")[0], {"sha256"}), data);
  EXPECT_EQ(text_field(record, {"results", "tasks", "perplexity", "sha256"}), text);
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

TEST_P(Trial, TwoWithinASecondKeepTheirValues) {
  Subject subject(options(), how());
  Setting setting = percentile(0.99);
  setting.save_activations = 10;
  const std::string one = text_field(subject.run(setting).record, {"activation_data_file"});
  const std::string two = text_field(subject.run(setting).record, {"activation_data_file"});
  EXPECT_NE(one, two);
  EXPECT_TRUE(fs::exists(folder_.path("logs/" + one)) && fs::exists(folder_.path("logs/" + two)));
}

TEST_P(Trial, FirstValuesAreThoseOfTheFirstSampleAtTheLoggedSites) {
  Subject subject(options(), how());
  Setting setting = percentile(0.99);
  setting.save_activations = 100;
  const Experiment experiment = subject.run(setting);
  const std::string file = text_field(experiment.record, {"activation_data_file"});
  EXPECT_EQ(file, "activations_model_pa0.99_20261121_100000.npz");
  const auto arrays = read_npz(folder_.path("logs/" + file));
  std::vector<std::string> names;
  for (const NamedTensor& array : arrays) {
    names.push_back(array.name);
    EXPECT_EQ(array.tensor.size(), 100) << array.name;
  }
  EXPECT_THAT(names, Contains("layer_1.ssm_state_act:input"));
  EXPECT_EQ(names.size(), 4u);
  CollectOptions whole = options().collect;
  whole.save_activations = 100;
  for (const NamedTensor& expected : collect(subject.model(), whole, {}).activations) {
    const auto found = std::ranges::find(arrays, expected.name, &NamedTensor::name);
    if (found == arrays.end()) continue;
    EXPECT_TRUE(std::ranges::equal(found->tensor.values<float>(), expected.tensor.values<float>()))
        << expected.name;
  }
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
}  // namespace scute
