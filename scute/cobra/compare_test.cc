#include "scute/cobra/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/language/test_models.h"

namespace scute::compare_test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

const std::string kFolder = "../shared/models/tiny-cobra";
const std::string kPictures = "../shared/images";
constexpr auto kAll = CobraModel::Parts::all;

/// One of a test's folders, with what the test puts into it.
class PictureFolder {
 public:
  explicit PictureFolder(const fixtures::Folder& of, const char* name = "pictures")
      : path_(of.path(name)) {
    fs::create_directories(path_);
  }
  std::string path() const { return path_; }
  void copy(const std::string& name, const std::string& as) const {
    fs::copy_file(kPictures + "/" + name, path_ + "/" + as);
  }
  void write(const std::string& name, const std::string& text) const {
    write_file(path_ + "/" + name, text);
  }

 private:
  std::string path_;
};

class CompareCobra : public testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(kFolder)) GTEST_SKIP() << "SKIPPED: ../shared not present";
    description_ = describe_cobra(kFolder);
    exact_.emplace(load_cobra(description_, Compute::f32, kAll));
    rough_.emplace(load_cobra(description_, Compute::bf16, kAll));
  }
  PictureComparison compare(const CobraCompareOptions& options) const {
    return compare_cobra(description_, *rough_, description_, *exact_, options);
  }
  std::string refusal(const CobraDescription& other, const CobraCompareOptions& options) const {
    try {
      compare_cobra(other, *exact_, description_, *exact_, options);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  CobraDescription description_;
  std::optional<CobraModel> exact_, rough_;
};

TEST_F(CompareCobra, AModelWithItselfIsNowhereOff) {
  const PictureComparison found =
      compare_cobra(description_, *exact_, description_, *exact_, {.images = kPictures});
  EXPECT_THAT(found.stages, ElementsAre("vision.dino", "vision.siglip", "projector", "logits"));
  ASSERT_EQ(found.items.size(), 8U);
  EXPECT_EQ(found.items.front().picture, "aqua.jpg");
  for (const PictureErrors& item : found.items) {
    for (const VectorError& stage : item.stages) EXPECT_EQ(stage.relative, 0);
    EXPECT_TRUE(item.same_argmax);
    EXPECT_EQ(item.divergence, 0);
  }
}

TEST_F(CompareCobra, RoundingToBf16IsSeenAtEveryStage) {
  const PictureComparison found = compare({.images = kPictures});
  for (size_t s = 0; s < found.stages.size(); ++s) {
    const ErrorSummary sum = summarize_errors(found.of_stage(s));
    // Both factors of a product are rounded, each by 2^-9/√3 of its size in root mean square at
    // most: 1.6e-3 together; some twenty products in a row, most of them added to a residual
    // stream, stay below ten times that.
    EXPECT_GT(sum.relative.mean, 1e-4) << found.stages[s];
    EXPECT_LT(sum.relative.mean, 1.6e-2) << found.stages[s];
    // 1 − cos is at most half the square of the relative error, to first order.
    EXPECT_GT(sum.cosine.mean, 1 - 1.6e-2 * 1.6e-2) << found.stages[s];
  }
  EXPECT_GT(found.divergence().mean, 0);
  EXPECT_LT(found.divergence().mean, 0.01);
  EXPECT_GE(found.same_argmax().mean, 0.5);
}

TEST_F(CompareCobra, IsTheSameOnAnyNumberOfThreads) {
  const std::string one = items_text(compare({.images = kPictures, .threads = 1}));
  EXPECT_EQ(one, items_text(compare({.images = kPictures, .threads = 3})));
  EXPECT_EQ(std::count(one.begin(), one.end(), '\n'), 8);
  const Json first = Json::parse(one.substr(0, one.find('\n')), "items");
  EXPECT_EQ(first.at("picture", "").as_string(""), "aqua.jpg");
  EXPECT_GT(first.at("logits", "").at("relative_error", "").as_double(""), 0);
}

TEST_F(CompareCobra, TextMattersToTheLogitsAlone) {
  CobraCompareOptions other{.images = kPictures};
  other.text.seed = 43;
  const PictureComparison a = compare({.images = kPictures}), b = compare(other);
  EXPECT_EQ(a.items[0].stages[2].relative, b.items[0].stages[2].relative);
  EXPECT_NE(a.items[0].stages[3].relative, b.items[0].stages[3].relative);
  EXPECT_EQ(a.pictures_sha256, b.pictures_sha256);
  other.text.random = false;
  EXPECT_EQ(compare(other).text.at("source", "").as_string(""), "none");
}

TEST_F(CompareCobra, ARowOfTextStaysWithItsPicture) {
  // The same picture twice with a text each; then the first of them cannot be read.
  const fixtures::Folder all_of_them;
  const PictureFolder good(all_of_them, "good"), bad(all_of_them, "bad"),
      texts(all_of_them, "texts");
  for (const PictureFolder* folder : {&good, &bad}) folder->copy("dune.jpg", "2.jpg");
  good.copy("dune.jpg", "1.jpg");
  bad.write("1.jpg", "no picture");
  texts.write("rows.jsonl", "{\"ids\": [17, 4, 900]}\n{\"ids\": [5]}\n");
  CobraCompareOptions options{.images = good.path()};
  options.text.prompts = texts.path() + "/rows.jsonl";
  const PictureComparison all = compare(options);
  ASSERT_EQ(all.items.size(), 2U);
  EXPECT_EQ(all.items[0].stages[2].relative, all.items[1].stages[2].relative);
  EXPECT_NE(all.items[0].stages[3].relative, all.items[1].stages[3].relative);

  options.images = bad.path();
  const PictureComparison rest = compare(options);
  ASSERT_EQ(rest.items.size(), 1U);
  EXPECT_EQ(rest.items[0].stages[3].relative, all.items[1].stages[3].relative);
  EXPECT_NE(rest.pictures_sha256, all.pictures_sha256);
  ASSERT_EQ(rest.corrupt.size(), 1U);
  EXPECT_THAT(rest.corrupt[0], HasSubstr("1.jpg"));
}

TEST_F(CompareCobra, ReadsOnUntilThereAreEnough) {
  const fixtures::Folder own;
  const PictureFolder folder(own);
  folder.write("1.jpg", "no picture");
  for (const char* name : {"2.jpg", "3.jpg", "4.jpg"}) folder.copy("dune.jpg", name);
  const PictureComparison found = compare({.images = folder.path(), .max_pictures = 2});
  ASSERT_EQ(found.items.size(), 2U);
  EXPECT_EQ(found.items[1].picture, "3.jpg");
  EXPECT_EQ(found.listed, 4);
  EXPECT_EQ(found.unused, 1);
  EXPECT_EQ(found.corrupt.size(), 1U);
}

TEST_F(CompareCobra, WithoutAPictureIsAnError) {
  const fixtures::Folder own;
  const PictureFolder folder(own);
  folder.write("1.jpg", "no picture");
  EXPECT_THAT(refusal(description_, {.images = folder.path()}), HasSubstr("none of 1"));
  EXPECT_THAT(refusal(description_, {.images = kPictures, .max_pictures = 0}),
              HasSubstr("--max-pictures"));
}

TEST_F(CompareCobra, ModelsThatSeeSomethingElseAreRefused) {
  CobraDescription other = description_;
  other.strategy = ResizeStrategy::letterbox;
  EXPECT_THAT(refusal(other, {.images = kPictures}), HasSubstr("resize strategy"));
  other = description_;
  other.normalization[0].mean[1] = 0.25F;
  EXPECT_THAT(refusal(other, {.images = kPictures}), HasSubstr("normalization"));
  other = description_;
  other.config.towers[1].image = 70;
  EXPECT_THAT(refusal(other, {.images = kPictures}), HasSubstr("vision towers"));
  other = description_;
  other.config.language.vocabulary += 8;
  EXPECT_THAT(refusal(other, {.images = kPictures}), HasSubstr("vocabulary"));
}

TEST_F(CompareCobra, AClipShowsAtItsStageAndBehindIt) {
  CobraDescription clipped = description_;
  clipped.ranges["projector"] = {-0.001F, 0.001F};
  const CobraModel model = load_cobra(clipped, Compute::f32, kAll);
  const PictureComparison found =
      compare_cobra(clipped, model, description_, *exact_, {.images = kPictures});
  EXPECT_EQ(summarize_errors(found.of_stage(0)).relative.mean, 0);
  EXPECT_EQ(summarize_errors(found.of_stage(1)).relative.mean, 0);
  EXPECT_GT(summarize_errors(found.of_stage(2)).relative.mean, 0.5);
  EXPECT_GT(summarize_errors(found.of_stage(3)).relative.mean, 0);
}

}  // namespace
}  // namespace scute::compare_test
