// The files beside an experiment's log: damaged, changed, missing, or in the way.
#include <gmock/gmock.h>

#include <filesystem>

#include "scute/base/error.h"
#include "scute/io/npy.h"
#include "tests/experiments/test_experiment_trial.h"

namespace scute::experiment_files_test {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::HasSubstr;
using testing::ThrowsMessage;

class TrialFiles : public TrialFixture {};
INSTANTIATE_TEST_SUITE_P(Tiny, TrialFiles, testing::Values(MixerKind::mamba1, MixerKind::mamba2),
                         family_name);

TEST_P(TrialFiles, ALogThatCannotBeWrittenWarnsAndLosesNothing) {
  SubjectOptions blocked = options();
  fs::create_directories(blocked.log);  // a folder where the log should be
  Subject subject(blocked, how());
  const Experiment experiment = subject.run(percentile(0.99));
  EXPECT_FALSE(experiment.recorded);
  EXPECT_THAT(experiment.warnings, Contains(HasSubstr("record not kept")));
  EXPECT_GT(number_field(experiment.record, {"results", "perplexity"}), 1);
}

TEST_P(TrialFiles, AFolderThatCannotBeMadeWarnsForEveryFileAndLosesNothing) {
  write_file(folder_.path("logs"), "a file where the folder should be");
  Subject subject(options(), how());
  const Experiment experiment = subject.run(percentile(0.99));
  EXPECT_FALSE(experiment.recorded);
  EXPECT_THAT(experiment.warnings, Contains(HasSubstr("statistics not kept")));
  EXPECT_THAT(experiment.warnings, Contains(HasSubstr("scores of items not kept")));
  EXPECT_TRUE(experiment.record.at("files", "").at("statistics", "").is_null());
  EXPECT_GT(number_field(experiment.record, {"results", "perplexity"}), 1);
}

TEST_P(TrialFiles, DamagedStoredStatisticsAreMeasuredAgain) {
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

TEST_P(TrialFiles, ValidStatisticsOfAnotherCollectionUnderItsNameAreMeasuredAgain) {
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

TEST_P(TrialFiles, TextsThatChangeWhileTheyAreReadAreNoticed) {
  RunHow changing = how();
  changing.progress = [this](Step step, int64_t done, int64_t) {
    if (step == Step::collect && done == 1) write_ids("data.npy", {6, 80}, 99);
  };
  Subject subject(options(), changing);
  EXPECT_THAT([&] { subject.run(percentile(0.99)); }, ThrowsMessage<Error>(HasSubstr("changed")));
  EXPECT_FALSE(fs::exists(folder_.path("logs/statistics")));
  EXPECT_FALSE(Subject(options(), how()).run(percentile(0.99)).reused);
}

TEST_P(TrialFiles, HashesAreThoseOfTheBytesThatWereRead) {
  const std::string data = hash_file(options().collect.data[0]);
  const std::string text = hash_file(options().score.perplexity);
  {
    Subject subject(options(), how());
    const Json record = subject.run(percentile(0.99)).record;
    EXPECT_EQ(text_field(record.at("hashes", "").at("data", "").as_array("")[0], {"sha256"}), data);
    EXPECT_EQ(text_field(record, {"results", "tasks", "perplexity", "sha256"}), text);
  }
  for (const char* name : {"data.npy", "text.npy"}) {
    Subject subject(options(), how());
    write_ids(name, {6, 80}, 98);
    EXPECT_THAT([&] { subject.run(percentile(0.99)); }, ThrowsMessage<Error>(HasSubstr("changed")))
        << name;
  }
}

TEST_P(TrialFiles, TwoWithinASecondKeepTheirValues) {
  Subject subject(options(), how());
  Setting setting = percentile(0.99);
  setting.save_activations = 10;
  const std::string one = text_field(subject.run(setting).record, {"activation_data_file"});
  const std::string two = text_field(subject.run(setting).record, {"activation_data_file"});
  EXPECT_NE(one, two);
  EXPECT_TRUE(fs::exists(folder_.path("logs/" + one)) && fs::exists(folder_.path("logs/" + two)));
}

TEST_P(TrialFiles, FirstValuesAreThoseOfTheFirstSampleAtTheLoggedSites) {
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

}  // namespace
}  // namespace scute::experiment_files_test
