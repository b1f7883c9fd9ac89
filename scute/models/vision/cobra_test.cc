#include "scute/models/vision/cobra.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>

#include "scute/base/error.h"
#include "scute/models/vision/test_cobra.h"

namespace scute::cobra_test {
namespace {

using test::cobra_weights;
using test::random_tensor;
using test::small_cobra;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using Parts = CobraModel::Parts;

CobraModel small_model(Parts parts = Parts::all, const Execution& execution = Compute::f32) {
  return {small_cobra(), cobra_weights(small_cobra()), execution, parts};
}

/// One picture's pixels for each tower.
struct Picture {
  Tensor dino = random_tensor({3, 14 * 14}, 71), siglip = random_tensor({3, 8 * 8}, 72);
  std::vector<MatView<const float>> views() const {
    return {dino.matrix<float>(), siglip.matrix<float>()};
  }
};

Tensor picture_vectors(const CobraModel& model, Tap* tap = nullptr) {
  scute::Run run(tap);
  Tensor out(DType::f32, {model.picture_tokens(), model.width()});
  model.picture(run, Picture().views(), out.mutable_matrix<float>());
  return out;
}

Tensor hidden_of(const LanguageModel& model, const Tensor& prefix, std::span<const int32_t> ids,
                 Tap* tap = nullptr) {
  scute::Run run(tap);
  State state = model.new_state();
  Tensor out(DType::f32, {prefix.dim(0) + static_cast<int64_t>(ids.size()), prefix.dim(1)});
  model.hidden(run, prefix.matrix<float>(), ids, state, out.mutable_matrix<float>());
  return out;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return std::ranges::equal(a.bytes(), b.bytes());
}

/// Keeps shape and values of what each site shows.
class KeepingTap : public Tap {
 public:
  bool wants(const Site& site) const override { return site.index >= 0; }
  void see(const Site& site, MatView<const float> x) override {
    shapes[site.name] = {x.rows, x.cols};
    for (int64_t r = 0; r < x.rows; ++r) {
      values[site.name].insert(values[site.name].end(), x.row(r), x.row(r) + x.cols);
    }
  }
  std::map<std::string, std::pair<int64_t, int64_t>> shapes;
  std::map<std::string, std::vector<float>> values;
};

std::vector<float> clipped(std::vector<float> values, float lo, float hi) {
  for (float& v : values) v = std::clamp(v, lo, hi);
  return values;
}

TEST(Cobra, SitesAreTheTowersTheProjectorsThenTheLanguageModels) {
  const SiteList list = CobraSites(small_cobra()).list();
  EXPECT_EQ(list.sites().front().name, "vision.dino.patch_embed.proj:input");
  for (size_t i = 0; i < list.sites().size(); ++i) {
    EXPECT_EQ(list.sites()[i].index, static_cast<int>(i));
  }
  const auto index = [&](const char* name) { return list.find(name)->index; };
  EXPECT_LT(index("vision.dino"), index("vision.siglip.patch_embed.proj:input"));
  EXPECT_LT(index("vision.siglip"), index("projector.0:input"));
  EXPECT_LT(index("projector.4:input"), index("projector"));
  EXPECT_LT(index("projector"), index("llm"));
  EXPECT_LT(index("llm"), index("layer_0.in_proj:input"));
  EXPECT_EQ(list.find("embedding:output")->name, "llm");
  EXPECT_THAT(list.find("projector.0:input")->parts,
              ElementsAre(index("vision.dino"), index("vision.siglip")));
  EXPECT_THAT(list.find("layer_1.in_proj:output")->parts,
              ElementsAre(index("layer_1.conv1d:input"), index("layer_1.z_act:input")));
  EXPECT_EQ(list.find("vision.dino")->shape, Shape{12});
  EXPECT_EQ(list.find("projector.2:input")->shape, Shape{88});
}

TEST(Cobra, ThePlainLanguageModelKeepsItsSites) {
  const SiteList list = LanguageModelSites(test::small_language()).list;
  EXPECT_EQ(list.sites().front().name, "embedding:output");
  EXPECT_EQ(list.find("llm"), nullptr);
}

TEST(Cobra, EverySiteOfThePictureAndTheTextShowsItsShape) {
  const CobraModel model = small_model();
  KeepingTap tap;
  const Tensor prefix = picture_vectors(model, &tap);
  const std::vector<int32_t> ids{3, 1, 4};
  hidden_of(model.language(), prefix, ids, &tap);
  EXPECT_EQ(tap.shapes["vision.dino"], std::pair(int64_t{16}, int64_t{12}));
  EXPECT_EQ(tap.shapes["vision.siglip"], std::pair(int64_t{16}, int64_t{10}));
  EXPECT_EQ(tap.shapes["projector.0:input"], std::pair(int64_t{16}, int64_t{22}));
  EXPECT_EQ(tap.shapes["projector"], std::pair(int64_t{16}, int64_t{16}));
  EXPECT_EQ(tap.shapes["llm"], std::pair(int64_t{3}, int64_t{16})) << "the text alone";
  EXPECT_EQ(tap.shapes["layer_0.in_proj:input"], std::pair(int64_t{19}, int64_t{16}));
  for (const Site& site : model.sites().sites()) {
    const bool unseen = site.name == "lm_head:output" || site.extent == Site::Extent::per_step;
    EXPECT_EQ(tap.shapes.contains(site.name), !unseen) << site.name;
    if (unseen) continue;
    EXPECT_EQ(tap.shapes[site.name].second, site.shape.back()) << site.name;
  }
}

TEST(Cobra, APictureIsItsFeaturesProjected) {
  const CobraModel model = small_model(Parts::vision);
  scute::Run run;
  Tensor features(DType::f32, {16, 22}), out(DType::f32, {16, 16});
  model.features(run, Picture().views(), features.mutable_matrix<float>());
  model.project(run, features.mutable_matrix<float>(), out.mutable_matrix<float>());
  EXPECT_TRUE(same_bits(out, picture_vectors(model)));
}

TEST(Cobra, ThePartsBuiltGiveTheSameBits) {
  const Tensor whole = picture_vectors(small_model());
  CobraWeights weights = cobra_weights(small_cobra());
  weights.language = Weights("none");
  const CobraModel vision(small_cobra(), std::move(weights), Compute::f32, Parts::vision);
  EXPECT_TRUE(same_bits(whole, picture_vectors(vision)));
  const CobraModel headless = small_model(Parts::vision_and_language);
  EXPECT_FALSE(headless.language().has_head());
  EXPECT_TRUE(small_model().language().has_head());
  EXPECT_EQ(vision.size().head, 0);
  EXPECT_LT(vision.size().linear, headless.size().linear);
  EXPECT_LT(headless.size().total(), small_model().size().total());
}

TEST(Cobra, APrefixOfTokenVectorsIsThoseTokens) {
  const CobraModel cobra = small_model();
  const LanguageModel& model = cobra.language();
  KeepingTap tap;
  const std::vector<int32_t> ids{7, 0, 19, 5, 5};
  const Tensor whole = hidden_of(model, Tensor(DType::f32, {0, 16}), ids, &tap);
  ASSERT_EQ(tap.values["llm"].size(), 80u);
  const Tensor first =
      Tensor::of<float>({3, 16}, std::span<const float>(tap.values["llm"]).first(48));
  EXPECT_TRUE(same_bits(whole, hidden_of(model, first, std::span(ids).subspan(3))));

  const Tensor all = Tensor::of<float>({5, 16}, std::span<const float>(tap.values["llm"]));
  KeepingTap none;
  EXPECT_TRUE(same_bits(whole, hidden_of(model, all, {}, &none)));
  EXPECT_FALSE(none.shapes.contains("llm"));
}

TEST(Cobra, APrefixAndItsTextMayComeInPieces) {
  const CobraModel cobra = small_model();
  const LanguageModel& model = cobra.language();
  const Tensor prefix = picture_vectors(cobra);
  const std::vector<int32_t> ids{3, 1, 4};
  const Tensor whole = hidden_of(model, prefix, ids);
  Tensor pieces(DType::f32, {19, 16});
  const auto out = pieces.mutable_matrix<float>();
  scute::Run run;
  State state = model.new_state();
  model.hidden(run, prefix.matrix<float>(), {}, state, out.slice_rows(0, 16));
  model.hidden(run, ids, state, out.slice_rows(16, 3));
  EXPECT_EQ(state.place.position, 19);
  EXPECT_TRUE(same_bits(whole, pieces));
}

TEST(Cobra, ARotatedStreamRotatesThePrefixToo) {
  const MambaConfig config = test::small_language();
  const auto residual_of = [&](const Scheme& scheme, const Tensor& prefix) {
    const LanguageModel model(config, test::language_weights(config), Compute::f32,
                              LanguageModel::Head::absent, scheme);
    KeepingTap tap;
    hidden_of(model, prefix, std::vector<int32_t>{2}, &tap);
    return tap.values["layer_0.in_proj:input@rotated"];
  };
  // A plain model shows the rotated stream without the norm's weight. A rotated one multiplies the
  // rotated stream by that weight, which real checkpoints have folded away, leaving ones.
  Scheme scheme;
  scheme.rotated_stream = true;
  Weights weights = test::language_weights(config);
  const Tensor prefix = random_tensor({2, 16}, 5);
  const std::vector<float> plain = residual_of({}, prefix);
  ASSERT_EQ(plain.size(), 48u);
  const Tensor norm = weights.at("backbone.layers.0.norm.weight");
  const std::vector<float> rotated = residual_of(scheme, prefix);
  ASSERT_EQ(rotated.size(), 48u);
  for (size_t i = 0; i < 48; ++i) {
    const auto weight = static_cast<double>(norm.values<float>()[i % 16]);
    // Both normalize the same lengths: rotations keep them. 16 sums of
    // values below 4 round by 2^-22 each at most.
    EXPECT_NEAR(static_cast<double>(rotated[i]), static_cast<double>(plain[i]) * weight, 2e-5);
  }
}

TEST(Cobra, RefusesAPrefixOfAnotherWidth) {
  const CobraModel model = small_model();
  scute::Run run;
  State state = model.language().new_state();
  const Tensor prefix(DType::f32, {2, 15});
  Tensor out(DType::f32, {2, 16});
  EXPECT_THAT(
      [&] {
        model.language().hidden(run, prefix.matrix<float>(), {}, state,
                                out.mutable_matrix<float>());
      },
      ThrowsMessage<Error>(HasSubstr("a width of 16, found 15")));
}

TEST(Cobra, RangesClipWhereTheyAreSet) {
  const CobraModel model = small_model();
  KeepingTap before;
  picture_vectors(model, &before);
  CobraModel ranged = small_model();
  ranged.set_range("vision.dino", -0.5f, 0.25f);
  ranged.set_range("vision.siglip", -1.0f, 1.0f);
  ranged.set_range("vision.siglip", -0.75f, 0.125f);  // the last one counts
  KeepingTap after;
  picture_vectors(ranged, &after);
  // A tap sees what was there before clipping; the projector's input is made of what is left.
  EXPECT_EQ(after.values["vision.dino"], before.values["vision.dino"]);
  EXPECT_NE(clipped(before.values["vision.dino"], -0.5f, 0.25f), before.values["vision.dino"]);
  const auto part = [](const std::vector<float>& joined, size_t first, size_t count) {
    std::vector<float> out;
    for (size_t row = 0; row < 16; ++row) {
      for (size_t c = first; c < first + count; ++c) out.push_back(joined[row * 22 + c]);
    }
    return out;
  };
  const auto& joined = after.values["projector.0:input"];
  EXPECT_EQ(part(joined, 0, 12), clipped(before.values["vision.dino"], -0.5f, 0.25f));
  EXPECT_EQ(part(joined, 12, 10), clipped(before.values["vision.siglip"], -0.75f, 0.125f));
}

TEST(Cobra, EverySiteInsideTheVisionPartCanBeClipped) {
  const Tensor plain = picture_vectors(small_model(Parts::vision));
  const SiteList list = CobraSites(small_cobra()).list();
  const int llm = list.find("llm")->index;
  for (const Site& site : list.sites()) {
    if (site.index >= llm) break;
    CobraModel ranged = small_model(Parts::vision);
    ranged.set_range(site.name, -0.001f, 0.001f);
    EXPECT_FALSE(same_bits(plain, picture_vectors(ranged))) << site.name;
  }
}

TEST(Cobra, OneRunMayGoBackAndForthBetweenTheParts) {
  CobraModel model = small_model();
  model.set_range("vision.dino", -0.5f, 0.25f);
  model.set_range("projector.2:input", 0, 0.25f);
  model.set_range("layer_0.z_act:input", -0.1f, 0.1f);
  const std::vector<int32_t> ids{3, 1, 4};
  const Tensor picture = picture_vectors(model);
  const Tensor text = hidden_of(model.language(), picture, ids);

  scute::Run run;
  Tensor features(DType::f32, {16, 22}), projected(DType::f32, {16, 16}), out(DType::f32, {19, 16});
  const auto speak = [&] {
    State state = model.language().new_state();
    model.language().hidden(run, picture.matrix<float>(), ids, state, out.mutable_matrix<float>());
    EXPECT_TRUE(same_bits(text, out));
  };
  speak();
  model.features(run, Picture().views(), features.mutable_matrix<float>());
  speak();
  model.project(run, features.mutable_matrix<float>(), projected.mutable_matrix<float>());
  EXPECT_TRUE(same_bits(picture, projected));
  speak();
}

TEST(Cobra, RangesInsideAFloatLanguageModelClip) {
  CobraModel model = small_model();
  const std::vector<int32_t> ids{3, 1, 4};
  const Tensor prefix = picture_vectors(model);
  KeepingTap before, after;
  const Tensor plain = hidden_of(model.language(), prefix, ids, &before);
  model.set_range("embedding:output", -0.5f, 0.5f);  // the bucket llm by its other name
  model.set_range("layer_1.x_proj:input", -0.01f, 0.02f);
  const Tensor ranged = hidden_of(model.language(), prefix, ids, &after);
  EXPECT_FALSE(same_bits(plain, ranged));
  EXPECT_EQ(before.values["llm"], after.values["llm"]);
  EXPECT_NE(before.values["layer_0.in_proj:input"], after.values["layer_0.in_proj:input"]);
  for (const char* name :
       {"layer_0.in_proj:input@rotated", "layer_0.ssm_state_act:steps", "lm_head:input@rotated"}) {
    EXPECT_THAT([&] { model.set_range(name, -1, 1); },
                ThrowsMessage<Error>(AllOf(HasSubstr(name), HasSubstr("only shows"))));
  }
}

TEST(Cobra, RangesOfALowBitLanguageModelAreChangedElsewhere) {
  const MambaConfig config = test::small_language();
  Weights weights = test::language_weights(config);
  test::make_eight_bit(weights, "backbone.layers.1.mixer.out_proj", 0.02f);
  CobraWeights all = cobra_weights(small_cobra());
  all.language = std::move(weights);
  CobraModel model(small_cobra(), std::move(all), Compute::f32);
  EXPECT_THAT([&] { model.set_range("layer_1.out_proj:input", -1, 1); },
              ThrowsMessage<Error>(
                  AllOf(HasSubstr("layer_1.out_proj:input"), HasSubstr("`scute scales`"))));
  EXPECT_NO_THROW(model.set_range("layer_0.out_proj:input", -1, 1));
  EXPECT_NO_THROW(model.set_range("llm", -1, 1));
}

TEST(Cobra, ARangeGivesEightBitInputsTheirScale) {
  const CobraConfig config = small_cobra();
  const auto built = [&](float input_scale) {
    CobraWeights weights = cobra_weights(config);
    test::make_eight_bit(weights.towers[0], config.towers[0], 0.02f);
    test::make_eight_bit(weights.projector, "projector.2", input_scale);
    return CobraModel(config, std::move(weights), Compute::f32, Parts::vision);
  };
  CobraModel ranged = built(0.5f);
  ranged.set_range("projector.2:input", -3.0f, 3.0f);
  EXPECT_FALSE(same_bits(picture_vectors(built(0.5f)), picture_vectors(ranged)));
  // Between −3 and 3 the codes are −127 … 127; the fresh model would also use −128.
  CobraModel fresh = built(3.0f / 127);
  fresh.set_range("projector.2:input", -3.0f, 3.0f);
  EXPECT_TRUE(same_bits(picture_vectors(fresh), picture_vectors(ranged)));
}

TEST(Cobra, UnknownSitesAndImpossibleRangesAreNamed) {
  CobraModel model = small_model(Parts::vision);
  EXPECT_THAT([&] { model.set_range("vision.sigclip", -1, 1); },
              ThrowsMessage<Error>(
                  AllOf(HasSubstr("vision.sigclip"), HasSubstr("did you mean vision.siglip"))));
  EXPECT_THAT([&] { model.set_range("projector", 1, 1); },
              ThrowsMessage<Error>(AllOf(HasSubstr("projector"), HasSubstr("1..1"))));
  EXPECT_THROW(model.set_range("projector", 1, -1), Error);
  EXPECT_THROW(model.set_range("projector", std::nanf(""), 1), Error);
  EXPECT_THROW(model.set_range("projector", -INFINITY, 1), Error);
  EXPECT_THAT([&] { model.set_range("llm", -1, 1); },
              ThrowsMessage<Error>(HasSubstr("the vision part alone")));
}

TEST(CobraConfig, RefusesTowersThatDoNotFitTogether) {
  const auto message = [](auto change) {
    CobraConfig config = small_cobra();
    change(config);
    try {
      config.check("config.json");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(message([](CobraConfig&) {}), "accepted");
  EXPECT_EQ(message([](CobraConfig& c) { c.towers.pop_back(); }), "accepted");
  EXPECT_THAT(message([](CobraConfig& c) { c.towers.clear(); }), HasSubstr("vision towers"));
  EXPECT_THAT(message([](CobraConfig& c) { c.towers[1].image = 16; }),
              AllOf(HasSubstr("4 a side as vision.dino"), HasSubstr("8 of vision.siglip")));
  EXPECT_THAT(message([](CobraConfig& c) { c.towers[1].bucket = "vision.dino"; }),
              HasSubstr("vision.dino twice"));
  EXPECT_THAT(message([](CobraConfig& c) { c.towers[0].depth = 0; }), HasSubstr("blocks"));
  EXPECT_THAT(message([](CobraConfig& c) { c.language.layers = 0; }), HasSubstr("layers"));
}

TEST(Cobra, RefusesPixelsThatAreNotOneViewATower) {
  const CobraModel model = small_model(Parts::vision);
  scute::Run run;
  Tensor out(DType::f32, {16, 22});
  const Picture picture;
  const auto views = picture.views();
  EXPECT_THROW(model.features(run, std::span(views).first(1), out.mutable_matrix<float>()), Error);
}

}  // namespace
}  // namespace scute::cobra_test
