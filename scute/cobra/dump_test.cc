#include "scute/cobra/dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/base/error.h"
#include "scute/cobra/test_cobra_quantize.h"

namespace scute::dump_test {
namespace {

using namespace cobra_models;
using testing::HasSubstr;
using testing::ThrowsMessage;

class DumpedCobra : public testing::Test {
 protected:
  /// The i-th picture that can be read.
  DumpedPicture numbered(size_t i, std::vector<int32_t> ids) const {
    for (const std::string& path : list_pictures(kPicturesPath)) {
      try {
        const Picture read = read_picture(path);
        if (i-- == 0) return {tower_pixels(description_, read), std::move(ids)};
      } catch (const Error&) {
        continue;  // a broken one is among them
      }
    }
    return {};
  }

  CobraDescription description_ = describe_cobra(kModelPath);
  CobraModel model_ = load_cobra(description_, {}, CobraModel::Parts::all);
};

TEST_F(DumpedCobra, SitesAreWhatTheModelComputes) {
  const std::vector<DumpedPicture> pictures{numbered(0, {5, 6, 7}), numbered(1, {8, 9, 10})};
  const auto out = dump_cobra(model_, pictures, model_.sites().match("*", ""), 2);
  const int64_t rows = model_.picture_tokens(), V = model_.config().language.vocabulary;
  EXPECT_EQ(find(out, "ids")->shape(), Shape({2, 3}));
  EXPECT_EQ(find(out, "logits")->shape(), Shape({2, rows + 3, V}));
  const Tensor* projector = find(out, "site/projector");
  ASSERT_NE(projector, nullptr);
  EXPECT_EQ(projector->shape(), Shape({2, rows, model_.width()}));
  EXPECT_EQ(find(out, "site/llm")->shape(), Shape({2, 3, model_.width()}));
  EXPECT_EQ(find(out, "site/layer_0.in_proj:input")->dim(1), rows + 3);
  // The second picture alone gives the second half.
  scute::Run run;
  Tensor alone(DType::f32, {rows, model_.width()});
  model_.picture(run, pixel_views(pictures[1].pixels), alone.mutable_matrix<float>());
  const auto half = projector->values<float>().subspan(static_cast<size_t>(alone.size()));
  EXPECT_TRUE(std::ranges::equal(half, std::as_const(alone).values<float>()));
}

TEST_F(DumpedCobra, ThreadsChangeNothing) {
  const std::vector<DumpedPicture> pictures{numbered(0, {5}), numbered(1, {8}), numbered(2, {9})};
  const auto sites = model_.sites().match("vision.*", "");
  const auto one = dump_cobra(model_, pictures, sites, 1),
             two = dump_cobra(model_, pictures, sites, 2);
  ASSERT_EQ(one.size(), two.size());
  for (size_t i = 0; i < one.size(); ++i) {
    EXPECT_EQ(one[i].name, two[i].name);
    EXPECT_TRUE(std::ranges::equal(one[i].tensor.bytes(), two[i].tensor.bytes())) << one[i].name;
  }
}

TEST_F(DumpedCobra, WithoutTextThereAreNoIds) {
  const auto out = dump_cobra(model_, {numbered(0, {})}, model_.sites().match("*", ""), 1);
  EXPECT_EQ(find(out, "ids"), nullptr);
  EXPECT_EQ(find(out, "logits")->dim(1), model_.picture_tokens());
  EXPECT_EQ(find(out, "site/llm"), nullptr) << "nothing passed there";
}

TEST_F(DumpedCobra, TextsOfDifferentLengthsAreRefused) {
  EXPECT_THAT(
      [&] {
        dump_cobra(model_, {numbered(0, {1}), numbered(1, {1, 2})}, {}, 1);
      },
      ThrowsMessage<Error>(HasSubstr("1 tokens for every picture")));
}

}  // namespace
}  // namespace scute::dump_test
