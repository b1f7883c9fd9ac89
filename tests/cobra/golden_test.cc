// Cobra from its files to the last logit, against float64: our own small model with variants in
// every form that the files come in, and ../shared/models/tiny-cobra.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "scute/io/checkpoint.h"
#include "scute/io/safetensors.h"
#include "scute/recipe/kind.h"
#include "scute/text/prompt.h"
#include "tests/cobra/test_models.h"

namespace scute::cobra_golden_test {
namespace {

using cobra_models::CobraFolder;
using cobra_models::kGolden;
using cobra_models::kPictures;
using Tensors = std::map<std::string, Tensor>;

// What the issue asks for. Sums of n products in float32 err by about √n·2^-24 of their magnitude
// (2e-6 for the longest here, n = 588); a few layers add up. Measured: 2e-6 at worst.
constexpr double kFloat32 = 1e-4;

Tensors read_golden(const std::string& path) {
  Tensors out;
  for (NamedTensor& named : read_safetensors(path).tensors) {
    out.emplace(std::move(named.name), std::move(named.tensor));
  }
  return out;
}

/// The largest difference from item `index` of a golden tensor, as a share of the largest magnitude
/// of all its items; NaN counts as infinite.
double distance(MatView<const float> got, const Tensor& golden, int64_t index) {
  const auto all = golden.values<float>();
  double largest = 0, most = 0;
  for (const float x : all) largest = std::max(largest, std::abs(double{x}));
  EXPECT_GT(largest, 0);
  EXPECT_EQ(got.size() * golden.dim(0), golden.size());
  if (got.size() * golden.dim(0) != golden.size()) return INFINITY;
  const float* expected = all.data() + index * got.size();
  for (int64_t r = 0; r < got.rows; ++r) {
    for (int64_t c = 0; c < got.cols; ++c) {
      const double apart = std::abs(double{got.row(r)[c]} - double{*expected++});
      if (!(apart <= most)) most = std::isnan(apart) ? INFINITY : apart;
    }
  }
  return most / largest;
}

/// Item `index` of a golden tensor of pictures.
std::vector<uint8_t> bytes_of(const Tensor& golden, int64_t index) {
  const auto all = golden.values<uint8_t>();
  const auto each = static_cast<int64_t>(all.size()) / golden.dim(0);
  return {all.begin() + index * each, all.begin() + (index + 1) * each};
}

/// The pictures of our own folder without the broken one, sorted.
std::vector<std::string> sound_pictures() {
  std::vector<std::string> out = list_pictures(kPictures);
  std::erase_if(out, [](const std::string& path) { return path.ends_with("broken.png"); });
  return out;
}

/// A loaded model, the golden data it is compared with, and the worst that was seen.
class Comparison {
 public:
  Comparison(const std::string& folder, const std::string& golden, CobraModel::Parts parts)
      : description_(describe_cobra(folder)),
        golden_(read_golden(golden + "/golden.safetensors")),
        model_(load_cobra(description_, Compute::f32, parts)) {}
  Comparison(const std::string& folder, const std::string& golden)
      : Comparison(folder, golden, CobraModel::Parts::all) {}

  const CobraDescription& description() const { return description_; }
  const Tensors& golden() const { return golden_; }

  /// Resized bytes, equal, and pixels, equal to their last bit.
  std::vector<Tensor> compare_pixels(const Picture& picture, int64_t index) const {
    const std::vector<Tensor> pixels = tower_pixels(description_, picture);
    EXPECT_EQ(pixels.size(), description_.config.towers.size());
    for (size_t t = 0; t < pixels.size(); ++t) {
      const VisionConfig& tower = description_.config.towers[t];
      const std::string name = tower.bucket.substr(7);
      const PixelNormalization& normalization = description_.normalization[t];
      const bool one = golden_.contains("resized_uint8");
      const std::vector<uint8_t> resized =
          bytes_of(golden_.at(one ? "resized_uint8" : "resized_uint8." + name), index);
      const Picture square = to_square(picture, tower.image, description_.strategy, normalization);
      EXPECT_EQ(square.pixels, resized) << name << " of picture " << index;
      EXPECT_EQ(pixels[t].shape(), (Shape{3, tower.image, tower.image}));
      compare_values(pixels[t], {.width = tower.image, .height = tower.image, .pixels = resized},
                     name);
      const auto stored = golden_.find("pixels." + name);
      if (stored == golden_.end() || index >= stored->second.dim(0)) continue;
      const auto all = stored->second.values<float>();
      const auto got = pixels[t].values<float>();
      EXPECT_TRUE(std::equal(got.begin(), got.end(), all.begin() + index * std::ssize(got)));
    }
    return pixels;
  }

  /// Towers, projector and language model for one picture and its row of text ids.
  void compare_outputs(Run& run, const std::vector<Tensor>& pixels, int64_t index) {
    const CobraConfig& config = model_.config();
    Tensor features(DType::f32, {config.towers[0].patches(), config.projector_config().vision});
    Tensor projected(DType::f32, {model_.picture_tokens(), model_.width()});
    const auto seen = features.mutable_matrix<float>();
    model_.features(run, pixel_views(pixels), seen);
    int64_t first = 0;
    for (const VisionConfig& tower : config.towers) {
      see(tower.bucket, seen.columns(first, tower.width), index);
      first += tower.width;
    }
    model_.project(run, seen, projected.mutable_matrix<float>());
    see("projector", projected.matrix<float>(), index);

    const Tensor& ids = golden_.at("text_ids");
    const auto count = static_cast<size_t>(ids.dim(1));
    const auto text = ids.values<int32_t>().subspan(static_cast<size_t>(index) * count, count);
    Tensor hidden(DType::f32, {projected.dim(0) + ids.dim(1), model_.width()});
    Tensor logits(DType::f32, {1, config.language.vocabulary});
    State state = model_.language().new_state();
    model_.language().hidden(run, projected.matrix<float>(), text, state,
                             hidden.mutable_matrix<float>());
    model_.language().logits(run, hidden.matrix<float>().slice_rows(hidden.dim(0) - 1, 1),
                             logits.mutable_matrix<float>());
    see("logits_last", logits.matrix<float>(), index);
  }

  void see(const std::string& name, MatView<const float> got, int64_t index) {
    const double found = distance(got, golden_.at(name), index);
    EXPECT_LE(found, kFloat32) << name << " of picture " << index;
    worst_[name] = std::max(worst_[name], found);
  }

  void print(const std::string& name) const {
    std::printf("%s, of the largest magnitude:", name.c_str());
    for (const auto& [tensor, ratio] : worst_) std::printf(" %s %.1e", tensor.c_str(), ratio);
    std::printf("\n");
  }

 private:
  /// Each value from its byte, in float32 as torchvision computes it.
  void compare_values(const Tensor& got, const Picture& resized, const std::string& tower) const {
    const bool dino = tower == "dino";
    const std::array<float, 3> mean =
        dino ? std::array{0.485F, 0.456F, 0.406F} : std::array{0.5F, 0.5F, 0.5F};
    const std::array<float, 3> deviation =
        dino ? std::array{0.229F, 0.224F, 0.225F} : std::array{0.5F, 0.5F, 0.5F};
    const auto values = got.values<float>();
    const size_t each = values.size() / 3;
    size_t wrong = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const size_t c = i / each;
      const float share = static_cast<float>(resized.pixels[i % each * 3 + c]) / 255.0F;
      wrong += values[i] == (share - mean[c]) / deviation[c] ? 0 : 1;
    }
    EXPECT_EQ(wrong, 0U) << tower;
  }

  CobraDescription description_;
  Tensors golden_;
  CobraModel model_;
  std::map<std::string, double> worst_;
};

class OwnCobra : public testing::TestWithParam<const char*> {
 protected:
  static std::string golden_folder() { return kGolden + "/" + GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(Golden, OwnCobra,
                         testing::Values("model", "variants/crop", "variants/letterbox",
                                         "variants/openclip_gelu", "variants/meta_linear",
                                         "variants/ldpnet", "variants/finetuned",
                                         "variants/finetuned_alone"),
                         [](const auto& tested) {
                           const std::string name = tested.param;
                           return name.substr(name.find('/') + 1);
                         });

TEST_P(OwnCobra, EveryStageAgreesWithFloat64) {
  const CobraFolder folder(GetParam());
  ASSERT_EQ(kind_of(folder.path()), ModelKind::cobra);
  Comparison comparison(folder.path(), golden_folder());
  const Tensors& golden = comparison.golden();
  const std::vector<std::string> pictures = sound_pictures();
  ASSERT_EQ(pictures.size(), 5U);
  // Every strategy on all pictures; outputs of the first few.
  const bool letterbox = golden.contains("resized_uint8.dino");
  const int64_t shown = golden.at(letterbox ? "resized_uint8.dino" : "resized_uint8").dim(0);
  scute::Run run;
  for (int64_t i = 0; i < shown; ++i) {
    SCOPED_TRACE(pictures[static_cast<size_t>(i)]);
    const Picture picture = read_picture(pictures[static_cast<size_t>(i)]);
    const std::vector<Tensor> pixels = comparison.compare_pixels(picture, i);
    if (i < golden.at("text_ids").dim(0)) comparison.compare_outputs(run, pixels, i);
  }
  comparison.print(GetParam());
}

TEST_P(OwnCobra, WeightsAreThoseComputedAndPositionsFitTheGrid) {
  const CobraFolder folder(GetParam());
  const Tensors golden = read_golden(golden_folder() + "/golden.safetensors");
  const CobraDescription description = describe_cobra(folder.path());
  const CobraWeights weights = read_cobra_weights(description, CobraModel::Parts::vision);
  ASSERT_EQ(weights.towers.size(), description.config.towers.size());
  EXPECT_EQ(weights.language.size(), 0U);
  for (size_t t = 0; t < weights.towers.size(); ++t) {
    const VisionConfig& tower = description.config.towers[t];
    const std::string last = "blocks." + std::to_string(tower.depth - 1);
    for (const std::string& name : weights.towers[t].names()) {
      EXPECT_TRUE(name.starts_with("blocks.") || name.starts_with("patch_embed.") ||
                  name == "pos_embed" || name == "cls_token" || name == "reg_token")
          << name;
      EXPECT_FALSE(name.starts_with(last)) << name;
    }
    const Tensor positions = weights.towers[t].at("pos_embed").to_f32();
    EXPECT_EQ(positions.shape(), (Shape{1, tower.patches(), tower.width}));
    const auto found = golden.find("pos_embed." + tower.bucket.substr(7) + ".resampled");
    if (found == golden.end()) continue;
    const double apart = distance(positions.matrix<float>(), found->second, 0);
    // Two sums of at most 7 products in float32, with weights that are float32 too.
    EXPECT_LE(apart, 2e-6) << tower.bucket;
    std::printf("%s, positions of %s: %.1e\n", GetParam(), tower.bucket.c_str(), apart);
  }
}

TEST(OwnCobraPictures, TheBrokenOneIsNamed) {
  const std::vector<std::string> all = list_pictures(kPictures);
  ASSERT_EQ(all.size(), 6U);
  const std::string message = cobra_models::error_of([&] { read_picture(all.back()); });
  EXPECT_NE(message.find("6_broken.png"), std::string::npos) << message;
}

TEST(OwnCobraPrompt, IsThatOfTheLanguageModelAndFitsItsVocabulary) {
  const CobraDescription model = describe_cobra(kGolden + "/model");
  const std::string prompt = first_prompt(prompt_style(model.language_id), "<image> What is it? ");
  EXPECT_EQ(prompt, "<|user|>\nWhat is it?<|endoftext|>\n<|assistant|>\n");
  const std::optional<Tokenizer> tokenizer = load_tokenizer(cobra_language(model));
  ASSERT_TRUE(tokenizer.has_value());
  const std::vector<int32_t> ids = tokenizer->encode(prompt);
  ASSERT_FALSE(ids.empty());
  EXPECT_LT(*std::ranges::max_element(ids), model.config.language.vocabulary);
  EXPECT_EQ(prompt_style("small-mamba"), PromptStyle::plain);
}

TEST(SharedCobra, PositionsAreResampledAsPyTorchDoes) {
  const std::string folder = "../shared/models/tiny-cobra";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "SKIPPED: ../shared not present";
  const Tensors golden = read_golden(folder + "/golden.safetensors");
  const Weights dino = read_checkpoint(folder + "/vision/dino");
  const Tensor got = resample_positions(dino.at("pos_embed"), 6, 4);
  ASSERT_EQ(got.shape(), golden.at("pos_embed.dino.resampled").shape());
  // The same sums of at most 7 products in float32, twice.
  EXPECT_LE(distance(got.matrix<float>(), golden.at("pos_embed.dino.resampled"), 0), 1e-6);
}

TEST(SharedCobra, Bf16StaysNear) {
  const std::string folder = "../shared/models/tiny-cobra";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "SKIPPED: ../shared not present";
  const CobraDescription description = describe_cobra(folder);
  const auto pixels =
      tower_pixels(description, read_picture(list_pictures("../shared/images").front()));
  const auto rows = [&](Compute compute, const Shape& shape) {
    const CobraModel model = load_cobra(description, compute, CobraModel::Parts::vision);
    Tensor out(DType::f32, shape);
    scute::Run run;
    model.picture(run, pixel_views(pixels), out.mutable_matrix<float>());
    return out;
  };
  const double found =
      distance(rows(Compute::f32, {16, 256}).matrix<float>(), rows(Compute::bf16, {1, 16, 256}), 0);
  // Both factors of a product are rounded by up to 2^-9; sums of independent errors grow slower
  // than what is summed, and layers add up to a few times one product's error.
  EXPECT_LE(found, 8 * 0x1p-9);
  EXPECT_GT(found, 0) << "bf16 was not used";
}

TEST(SharedCobra, EightPhotographsFromTheirFilesToTheLastLogit) {
  const std::string folder = "../shared/models/tiny-cobra";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "SKIPPED: ../shared not present";
  Comparison comparison(folder, folder);
  const std::vector<std::string> pictures = list_pictures("../shared/images");
  ASSERT_EQ(pictures.size(), 8U);
  ASSERT_EQ(comparison.golden().at("text_ids").dim(0), 8);
  scute::Run run;
  for (size_t i = 0; i < pictures.size(); ++i) {
    SCOPED_TRACE(pictures[i]);
    const auto index = static_cast<int64_t>(i);
    const std::vector<Tensor> pixels = comparison.compare_pixels(read_picture(pictures[i]), index);
    comparison.compare_outputs(run, pixels, index);
  }
  comparison.print("tiny-cobra");
}

}  // namespace
}  // namespace scute::cobra_golden_test
