#include "scute/data/features.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>

#include "scute/io/npy.h"
#include "scute/io/test_npy.h"
#include "scute/io/testing.h"

namespace scute::features_test {
namespace {

namespace fs = std::filesystem;
using fixtures::error_of;
using fixtures::floats;
using fixtures::put;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// A folder of sequences of 6 frames of 2 features, frame t being (t, 10·t), at (t, −t) metres.
class Features : public ::testing::Test {
 protected:
  Features() {
    fs::create_directories(path("json"));
    fs::create_directories(path("npy"));
    write_npz(path("npy/stats_train.npz"),
              {{"feat_mean", floats({2}, {1, 2})}, {"feat_std", floats({2}, {2, 0})}});
    add("b", R"({"role": "eval", "indices_eval": [5, 3, 3]})");
    add("a", R"({"role": "eval", "indices_eval": [4]})");
  }

  std::string path(const std::string& name) const { return folder_ / name; }
  void add(const std::string& name, std::string_view json) const {
    put(path("json/" + name + ".json"), json);
    std::vector<float> frames, positions;
    for (int t = 0; t < 6; ++t) {
      const auto x = static_cast<float>(t);
      frames.insert(frames.end(), {x, 10 * x});
      positions.insert(positions.end(), {x, -x});
    }
    write_npy(path("npy/" + name + ".feats.npy"), floats({6, 2}, frames));
    write_npy(path("npy/" + name + ".xy.npy"), floats({6, 2}, positions));
  }
  FeatureFolder read(FeatureRole role = FeatureRole::eval, bool normalize = true) const {
    return read_feature_folder(folder_.path(),
                               {.role = role, .features = 2, .window = 3, .normalize = normalize});
  }
  std::string refusal(FeatureRole role = FeatureRole::eval) const {
    return error_of([&] { read(role); });
  }

  const fixtures::Folder folder_;
};

std::vector<std::string> names_of(const FeatureFolder& folder) {
  std::vector<std::string> names;
  for (const FeatureSequence& sequence : folder.sequences) names.push_back(sequence.name);
  return names;
}

TEST_F(Features, WindowsListedTwiceAreRemarkedOn) {
  EXPECT_THAT(read().remarks, ElementsAre(AllOf(HasSubstr("b.json"), HasSubstr("1 window twice"))));
  put(path("json/._b.json"), "macOS leaves these");
  EXPECT_EQ(read().windows(), 4);
}

TEST_F(Features, RawSamplesAreFloats) {
  write_npy(path("npy/a.feats.npy"),
            Tensor::of<int16_t>(
                {6, 2}, std::vector<int16_t>{0, 0, 1, -10, 2, 20, 3, 30, 4, -32768, 5, 32767}));
  const FeatureFolder folder = read();
  EXPECT_EQ(folder.sequences[0].frames.dtype(), DType::f32);
  EXPECT_EQ(folder.sequences[0].frames.matrix<float>().row(4)[1], -32768.0F);
  write_npy(path("npy/a.feats.npy"), Tensor(DType::i64, {6, 2}));
  EXPECT_THAT(refusal(), HasSubstr("integers of 8 or 16 bits"));
}

TEST_F(Features, WindowsOfTheRoleInTheFilesOrderSequencesSorted) {
  add("c", R"({"role": "train", "indices_train": [3], "indices_eval": [4]})");
  const FeatureFolder folder = read();
  EXPECT_THAT(names_of(folder), ElementsAre("a", "b"));
  EXPECT_THAT(folder.sequences[1].ends, ElementsAre(5, 3, 3));
  EXPECT_EQ(folder.windows(), 4);
  EXPECT_EQ(folder.sequences[0].frames.dtype(), DType::f32);
  // The label of the window ending before 4.
  EXPECT_EQ(folder.sequences[0].positions.matrix<float>().row(4)[1], -4);
  EXPECT_EQ(folder.sequences[0].times.size(), 0);
}

TEST_F(Features, SequencesAreInTheOrderOfTheirFilesNames) {
  add("a-2", R"({"role": "eval", "indices_eval": [3]})");  // '-' comes before the '.' of a.json
  put(path("json/.hidden.json"), "no JSON");
  put(path("json/notes.txt"), "no JSON");
  EXPECT_THAT(names_of(read()), ElementsAre("a-2", "a", "b"));
}

TEST_F(Features, TestWindowsAreThoseOfIndicesTestOrIndices) {
  add("t1", R"({"role": "test", "indices": [3]})");
  add("t2", R"({"role": "test", "indices": [3], "indices_test": [4, 5]})");
  const FeatureFolder folder = read(FeatureRole::test);
  EXPECT_THAT(names_of(folder), ElementsAre("t1", "t2"));
  EXPECT_THAT(folder.sequences[0].ends, ElementsAre(3));
  EXPECT_THAT(folder.sequences[1].ends, ElementsAre(4, 5));
}

TEST_F(Features, AutomaticIsIndicesOrEveryWindowOfEverySequence) {
  add("t", R"({"role": "test", "indices": [4]})");
  put(path("json/b.json"), "{}");
  const FeatureFolder folder = read(FeatureRole::automatic);
  EXPECT_THAT(names_of(folder), ElementsAre("a", "b", "t"));
  EXPECT_THAT(folder.sequences[0].ends, ElementsAre(3, 4, 5));
  EXPECT_THAT(folder.sequences[1].ends, ElementsAre(3, 4, 5));
  EXPECT_THAT(folder.sequences[2].ends, ElementsAre(4));
}

TEST_F(Features, AutomaticNeedsASequenceLongerThanTheWindow) {
  const FeatureRequest whole{.role = FeatureRole::automatic, .features = 2, .window = 6};
  EXPECT_THAT(error_of([&] { read_feature_folder(folder_.path(), whole); }),
              HasSubstr("more than 6 frames"));
}

TEST_F(Features, AnAbsentRoleNamesThoseThereAre) {
  add("t", R"({"role": "test", "indices": [4]})");
  add("e", R"({"role": "train", "indices_train": []})");
  add("n", "{}");
  EXPECT_THAT(
      refusal(FeatureRole::train),
      AllOf(HasSubstr("role train"), HasSubstr("eval: 4 windows"), HasSubstr("test: 1 window,"),
            HasSubstr("train: 0 windows"), HasSubstr("without a role: 0 windows")));
}

TEST_F(Features, ASequenceWithAnEmptyListIsLeftOut) {
  put(path("json/b.json"), R"({"role": "eval", "indices_eval": []})");
  fs::remove(path("npy/b.feats.npy"));  // not even opened
  EXPECT_THAT(names_of(read()), ElementsAre("a"));
}

TEST_F(Features, IndicesOutsideTheSequenceAreNamed) {
  for (const auto& [index, found] : {std::pair{"2", "begins before the first"},
                                     {"-1", "begins before the first"},
                                     {"6", "behind the last of 6 frames"},
                                     {"9223372036854775807", "behind the last"},
                                     {"-9223372036854775808", "before the first"}}) {
    put(path("json/a.json"),
        R"({"role": "eval", "indices_eval": [3, )" + std::string(index) + "]}");
    EXPECT_THAT(refusal(), AllOf(HasSubstr("a.json"), HasSubstr(std::string("found ") + index),
                                 HasSubstr("from 3 to 5"), HasSubstr(found)));
  }
  const FeatureRequest longer{.role = FeatureRole::eval, .features = 2, .window = 6};
  EXPECT_THAT(error_of([&] { read_feature_folder(folder_.path(), longer); }),
              HasSubstr("6 frames have no window of 6"));
}

TEST_F(Features, HostileJsonIsRefusedWithItsFile) {
  const std::string deep(200, '[');
  for (const std::string& json :
       {std::string(""), std::string("[]"), std::string("7"), deep,
        std::string(R"({"role": 3, "indices_eval": [3]})"),
        std::string(R"({"role": "eval", "indices_eval": 3})"),
        std::string(R"({"role": "eval", "indices_eval": {"3": 3}})"),
        std::string(R"({"role": "eval", "indices_eval": ["3"]})"),
        std::string(R"({"role": "eval", "indices_eval": [3.0]})"),
        std::string(R"({"role": "eval", "indices_eval": [3.5]})"),
        std::string(R"({"role": "eval", "indices_eval": [1e300]})"),
        std::string(R"({"role": "eval", "indices_eval": [NaN]})"),
        std::string(R"({"role": "eval", "indices_eval": [null]})"),
        std::string(R"({"role": "eval", "indices_eval": [9223372036854775808]})"),
        std::string(R"({"role": "eval", "indices_eval": [3], "indices_eval": [4]})")}) {
    put(path("json/a.json"), json);
    EXPECT_THAT(refusal(), HasSubstr("a.json")) << json;
  }
  put(path("json/a.json"), R"({"role": "eval", "indices_eval": [3, 4.5]})");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("indices_eval[1]"), HasSubstr("4.5")));
  put(path("json/a.json"), std::string((1 << 24) + 1, ' '));
  EXPECT_THAT(refusal(), HasSubstr("at most 16777216 bytes"));
}

TEST_F(Features, AnotherDinAsksForAModelOfThisFeatureSet) {
  const FeatureRequest wide{.role = FeatureRole::eval, .features = 3, .window = 3};
  EXPECT_THAT(error_of([&] { read_feature_folder(folder_.path(), wide); }),
              AllOf(HasSubstr("a.feats.npy"), HasSubstr("3 features"), HasSubstr("found 2"),
                    HasSubstr("a model trained on this feature set")));
}

TEST_F(Features, ArraysOfOtherShapesAndTypesAreRefused) {
  const Tensor good = floats({6, 2}, std::vector<float>(12, 0));
  const std::pair<const char*, Tensor> cases[] = {
      {"a.feats.npy", floats({12}, std::vector<float>(12, 0))},
      {"a.feats.npy", floats({6, 2, 1}, std::vector<float>(12, 0))},
      {"a.feats.npy", Tensor(DType::i64, {6, 2})},
      {"a.xy.npy", floats({5, 2}, std::vector<float>(10, 0))},
      {"a.xy.npy", floats({6, 3}, std::vector<float>(18, 0))},
      {"a.xy.npy", floats({12}, std::vector<float>(12, 0))},
      {"a.xy.npy", Tensor(DType::i64, {6, 2})},
      {"a.ts.npy", Tensor(DType::f64, {5})},
      {"a.ts.npy", Tensor(DType::f64, {6, 1})},
      {"a.ts.npy", Tensor(DType::i64, {6})}};
  for (const auto& [name, tensor] : cases) {
    add("a", R"({"role": "eval", "indices_eval": [4]})");
    write_npy(path(std::string("npy/") + name), tensor);
    EXPECT_THAT(refusal(), AllOf(HasSubstr(name), HasSubstr(to_string(tensor.shape())))) << name;
    fs::remove(path("npy/a.ts.npy"));
  }
  EXPECT_EQ((add("a", "{}"), refusal()), "");
  put(path("npy/b.xy.npy"), "no array");
  EXPECT_THAT(refusal(), HasSubstr("b.xy.npy"));
  fs::remove(path("npy/b.feats.npy"));
  EXPECT_THAT(refusal(), AllOf(HasSubstr("b.feats.npy"), HasSubstr("no such file")));
}

TEST_F(Features, DoublesAreTakenAndRounded) {
  const std::vector<double> frames = {0.1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  write_npy(path("npy/a.feats.npy"), Tensor::of<double>({6, 2}, frames));
  write_npy(path("npy/a.xy.npy"), Tensor::of<double>({6, 2}, frames));
  write_npy(path("npy/a.ts.npy"), floats({6}, {0, 1, 2, 3, 4, 5.5}));
  const FeatureSequence a = read().sequences.at(0);
  EXPECT_EQ(a.frames.values<float>()[0], 0.1F);
  EXPECT_EQ(a.positions.values<float>()[11], 11);
  EXPECT_EQ(a.times.values<double>()[5], 5.5);
}

TEST_F(Features, ALabelThatIsNotFiniteIsNamed) {
  std::vector<float> positions(12, 0);
  positions[2 * 4 + 1] = kNaN;
  write_npy(path("npy/a.xy.npy"), floats({6, 2}, positions));
  EXPECT_THAT(refusal(), AllOf(HasSubstr("a.xy.npy: row 4"), HasSubstr("(0, nan)")));
  put(path("json/a.json"), R"({"role": "eval", "indices_eval": [3, 5]})");  // nobody's label now
  EXPECT_EQ(refusal(), "");
}

TEST_F(Features, FoldersThatAreNoneAreNamed) {
  const FeatureRequest request{.role = FeatureRole::eval, .features = 2, .window = 3};
  const auto refused = [&](const std::string& at) {
    return error_of([&] { read_feature_folder(at, request); });
  };
  EXPECT_THAT(refused(path("none")), AllOf(HasSubstr("none: "), HasSubstr("no such folder")));
  EXPECT_THAT(refused(path("json/a.json")), HasSubstr("found a file"));
  EXPECT_THAT(refused(path("npy")), HasSubstr("json/"));
  fs::remove_all(path("json"));
  fs::create_directories(path("json"));
  EXPECT_THAT(refusal(), HasSubstr("no json/NAME.json"));
  EXPECT_THAT(error_of([&] { read_feature_folder(folder_.path(), {.window = 3}); }),
              HasSubstr("0 features"));
}

TEST_F(Features, MissingStatisticsNameThePlacesAndTheWayOut) {
  fs::remove(path("npy/stats_train.npz"));
  const std::string parent = fs::path(folder_.path()).parent_path() / "stats_train.npz";
  EXPECT_THAT(refusal(),
              AllOf(HasSubstr(path("npy/stats_train.npz")), HasSubstr(path("stats_train.npz")),
                    HasSubstr(parent), HasSubstr("--no-normalize")));
  EXPECT_FALSE(read(FeatureRole::eval, false).normalization.has_value());
}

TEST_F(Features, StatisticsAreTheFirstOfTheThreePlaces) {
  // One folder further down, so that the parent is ours.
  fs::create_directories(path("in/data"));
  fs::rename(path("json"), path("in/data/json"));
  fs::rename(path("npy"), path("in/data/npy"));
  const auto mean_at = [&](const char* root) {
    const FeatureRequest request{.role = FeatureRole::eval, .features = 2, .window = 3};
    return read_feature_folder(path(root), request).normalization.value().mean[0];
  };
  for (const auto& [place, mean] : {std::pair{"in", 5.0F}, {"in/data", 6.0F}}) {
    write_npz(path(std::string(place) + "/stats_train.npz"),
              {{"feat_mean", floats({2}, {mean, 2})}, {"feat_std", floats({2}, {2, 0})}});
  }
  EXPECT_EQ(mean_at("in/data"), 1);
  fs::remove(path("in/data/npy/stats_train.npz"));
  EXPECT_EQ(mean_at("in/data"), 6);
  fs::remove(path("in/data/stats_train.npz"));
  for (const char* root : {"in/data", "in/data/", "in/data/.", "in/./data//", "in/data/npy/.."}) {
    EXPECT_EQ(mean_at(root), 5) << root;
  }
}

TEST(FeatureRoles, HaveNames) {
  for (const FeatureRole role :
       {FeatureRole::train, FeatureRole::eval, FeatureRole::test, FeatureRole::automatic}) {
    EXPECT_EQ(parse_feature_role(name_of(role)), role);
  }
  EXPECT_EQ(name_of(FeatureRole::automatic), "auto");
  EXPECT_THAT(error_of([] { parse_feature_role("Eval"); }),
              AllOf(HasSubstr("train, eval, test or auto"), HasSubstr("\"Eval\"")));
}

TEST(GoldenFeatures, SmallFolderOfTheRepository) {
  const std::pair<FeatureRole, int64_t> expected[] = {
      {FeatureRole::train, 30}, {FeatureRole::eval, 23}, {FeatureRole::test, 15}};
  for (const auto& [role, windows] : expected) {
    const FeatureFolder folder = read_feature_folder("tests/golden/regressor_features",
                                                     {.role = role, .features = 7, .window = 9});
    EXPECT_EQ(folder.windows(), windows) << name_of(role);
    EXPECT_EQ(folder.sequences[0].times.values<double>()[39], 0.39);
    NonFinite found;
    double sum = 0;
    const Tensor frames = normalized_frames(folder.sequences[0], folder.normalization, found);
    for (const float x : frames.values<float>()) sum += std::abs(double{x});
    // Normalized: |x| is 0.8 on average of a normal variable; one of seven features is constant.
    EXPECT_NEAR(sum / static_cast<double>(frames.size()), 0.7, 0.3) << name_of(role);
    EXPECT_EQ(found.nans + found.infinities, 0);
  }
}

TEST(GoldenFeatures, SharedFolderHasTheReferencesLabels) {
  const std::string shared = "../shared/golden/regressor/";
  if (!fs::exists(shared)) GTEST_SKIP() << "SKIPPED: ../shared not present";
  const auto reference = read_npz(shared + "features_reference.npz");
  const std::pair<FeatureRole, int64_t> expected[] = {
      {FeatureRole::train, 70}, {FeatureRole::eval, 140}, {FeatureRole::test, 70}};
  for (const auto& [role, windows] : expected) {
    const FeatureFolder folder =
        read_feature_folder(shared + "features", {.role = role, .features = 2100, .window = 32});
    EXPECT_EQ(folder.windows(), windows) << name_of(role);
    if (role == FeatureRole::train) continue;
    std::vector<float> labels;
    for (const FeatureSequence& sequence : folder.sequences) {
      EXPECT_EQ(sequence.frames.dtype(), DType::f16);
      for (const int64_t t : sequence.ends) {
        const float* xy = sequence.positions.matrix<float>().row(t);
        labels.insert(labels.end(), xy, xy + 2);
      }
    }
    const auto stored =
        std::ranges::find(reference, "true__" + std::string(name_of(role)), &NamedTensor::name);
    ASSERT_NE(stored, reference.end());
    EXPECT_EQ(labels, fixtures::elements<float>(stored->tensor));
  }
}

}  // namespace
}  // namespace scute::features_test
