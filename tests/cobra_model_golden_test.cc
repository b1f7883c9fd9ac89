// Cobra's towers, projector and language model against ../shared/models/tiny-cobra, which PyTorch
// and timm's definitions made; read tensor by tensor, without the recipe layer.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "scute/io/checkpoint.h"
#include "scute/io/safetensors.h"
#include "scute/models/cobra.h"

namespace scute {
namespace {

const std::string kFolder = "../shared/models/tiny-cobra/";

// What the issue asks for. Sums of n products in float32 err by about √n·2^-24 of their magnitude
// (2e-6 for the longest here, n = 588); a few layers add up. Measured: 1.4e-6 at worst.
constexpr double kFloat32 = 1e-4;

VisionConfig dino_config() {
  VisionConfig c;
  c.bucket = "vision.dino";
  c.image = 56;
  c.width = 64;
  c.depth = 4;
  c.heads = 4;
  c.hidden = 256;
  c.classes = 1;
  c.registers = 4;
  c.layer_scale = true;
  return c;
}

VisionConfig siglip_config() {
  VisionConfig c;
  c.bucket = "vision.siglip";
  c.image = 56;
  c.width = 72;
  c.depth = 3;
  c.heads = 4;
  c.hidden = 269;  // int(72 · 3.7362)
  return c;
}

CobraConfig tiny_config() {
  CobraConfig c;
  c.towers = {dino_config(), siglip_config()};
  c.language.layers = 6;
  c.language.width = 256;
  c.language.vocabulary = 4096;
  c.language.inner = 512;
  c.language.dt_rank = 16;
  return c;
}

/// The tensors that a tower of this shape computes with.
Weights tower_weights(const std::string& folder, const VisionConfig& config, int64_t native) {
  Weights all = read_checkpoint(kFolder + "vision/" + folder);
  const std::string unused = "blocks." + std::to_string(config.blocks()) + ".";
  for (const std::string& name : all.names()) {
    if (name.starts_with(unused) || name.starts_with("norm.") || name.starts_with("attn_pool.")) {
      all.erase(name);
    }
  }
  all.add("pos_embed", resample_positions(all.take("pos_embed"), native, config.grid()));
  return all;
}

CobraWeights tiny_weights() {
  CobraWeights out;
  out.towers.push_back(tower_weights("dino", dino_config(), 6));
  out.towers.push_back(tower_weights("siglip", siglip_config(), 4));
  out.projector = Weights("projector");
  out.language = Weights("language model");
  Weights all = read_checkpoint(kFolder + "checkpoints/latest-checkpoint.pt");
  const std::string projector = "projector.", language = "llm_backbone.llm.";
  for (const std::string& name : all.names()) {
    if (name.starts_with(projector)) {
      out.projector.add(name.substr(projector.size()), all.take(name));
    } else if (name.starts_with(language) && !name.ends_with("lm_head.weight")) {
      out.language.add(name.substr(language.size()), all.take(name));
    }
  }
  return out;
}

/// The largest difference from row `picture` of a golden tensor, as a share of the largest
/// magnitude of the whole tensor; NaN counts as infinite.
double distance(MatView<const float> got, const Tensor& golden, int64_t picture) {
  const auto reference = golden.values<float>();
  double largest = 0, most = 0;
  for (const float x : reference) largest = std::max(largest, std::abs(double{x}));
  EXPECT_EQ(got.size() * golden.dim(0), golden.size());
  EXPECT_GT(largest, 0);
  if (got.size() * golden.dim(0) != golden.size()) return INFINITY;
  const float* expected = reference.data() + picture * got.size();
  for (int64_t r = 0; r < got.rows; ++r) {
    for (int64_t c = 0; c < got.cols; ++c) {
      const double difference =
          std::abs(double{got.row(r)[c]} - double{expected[r * got.cols + c]});
      if (!(difference <= most)) most = std::isnan(difference) ? INFINITY : difference;
    }
  }
  return most / largest;
}

class CobraGolden : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kFolder)) GTEST_SKIP() << "SKIPPED: ../shared not present";
    for (NamedTensor& named : read_safetensors(kFolder + "golden.safetensors").tensors) {
      golden_.emplace(std::move(named.name), std::move(named.tensor));
    }
  }

  MatView<const float> pixels(const std::string& tower, int64_t picture) const {
    const Tensor& all = golden_.at("pixels." + tower);
    const int64_t each = all.dim(2) * all.dim(3);
    return {all.values<float>().data() + picture * 3 * each, 3, each};
  }

  void see(const std::string& name, MatView<const float> got, int64_t picture) {
    const double found = distance(got, golden_.at(name), picture);
    EXPECT_LE(found, kFloat32) << name << " of picture " << picture;
    worst_[name] = std::max(worst_[name], found);
  }

  /// One picture and its eight text ids through everything.
  void compare(const CobraModel& model, int64_t picture) {
    const CobraConfig& c = model.config();
    Tensor features(DType::f32, {c.towers[0].patches(), c.projector_config().vision});
    Tensor projected(DType::f32, {model.picture_tokens(), model.width()});
    const auto seen = features.mutable_matrix<float>();
    const std::vector<MatView<const float>> views{pixels("dino", picture),
                                                  pixels("siglip", picture)};
    scute::Run run;
    model.features(run, views, seen);
    see("vision.dino", seen.columns(0, 64), picture);
    see("vision.siglip", seen.columns(64, 72), picture);
    model.project(run, seen, projected.mutable_matrix<float>());
    see("projector", projected.matrix<float>(), picture);

    const Tensor& ids = golden_.at("text_ids");
    const auto count = static_cast<size_t>(ids.dim(1));
    const auto text = ids.values<int32_t>().subspan(static_cast<size_t>(picture) * count, count);
    Tensor hidden(DType::f32, {model.picture_tokens() + ids.dim(1), model.width()});
    Tensor logits(DType::f32, {1, c.language.vocabulary});
    State state = model.language().new_state();
    model.language().hidden(run, projected.matrix<float>(), text, state,
                            hidden.mutable_matrix<float>());
    model.language().logits(run, hidden.matrix<float>().slice_rows(hidden.dim(0) - 1, 1),
                            logits.mutable_matrix<float>());
    see("logits_last", logits.matrix<float>(), picture);
  }

  std::map<std::string, Tensor> golden_;
  std::map<std::string, double> worst_;
};

TEST_F(CobraGolden, PositionsAreResampledAsPyTorchDoes) {
  const Weights dino = read_checkpoint(kFolder + "vision/dino");
  const Tensor got = resample_positions(dino.at("pos_embed"), 6, 4);
  ASSERT_EQ(got.shape(), golden_.at("pos_embed.dino.resampled").shape());
  const double found = distance(got.matrix<float>(), golden_.at("pos_embed.dino.resampled"), 0);
  // The same sums of at most 7 products in float32, twice.
  EXPECT_LE(found, 1e-6);
  std::printf("pos_embed.dino.resampled: %.1e of the largest magnitude\n", found);
}

TEST_F(CobraGolden, EveryStageOfEightPictures) {
  const CobraModel model(tiny_config(), tiny_weights(), Compute::f32);
  const int64_t pictures = golden_.at("text_ids").dim(0);
  ASSERT_EQ(pictures, 8);
  for (int64_t i = 0; i < pictures; ++i) compare(model, i);
  for (const auto& [name, ratio] : worst_) {
    std::printf("%s: %.1e of the largest magnitude at worst\n", name.c_str(), ratio);
  }
}

TEST_F(CobraGolden, Bf16StaysNear) {
  const CobraModel exact(tiny_config(), tiny_weights(), Compute::f32, CobraModel::Parts::vision);
  const CobraModel rough(tiny_config(), tiny_weights(), Compute::bf16, CobraModel::Parts::vision);
  const std::vector<MatView<const float>> views{pixels("dino", 0), pixels("siglip", 0)};
  Tensor a(DType::f32, {16, 256}), b(DType::f32, {1, 16, 256});
  scute::Run run;
  exact.picture(run, views, a.mutable_matrix<float>());
  rough.picture(run, views, b.mutable_matrix<float>());
  const double found = distance(a.matrix<float>(), b, 0);
  // Both factors of a product are rounded by up to 2^-9; sums of independent errors grow slower
  // than what is summed, and layers add up to a few times one product's error.
  EXPECT_LE(found, 8 * 0x1p-9);
  EXPECT_GT(found, 0) << "bf16 was not used";
  std::printf("bf16: %.1e of the largest magnitude\n", found);
}

}  // namespace
}  // namespace scute
