#include "scute/models/vision/vision_tower.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numbers>

#include "scute/base/error.h"
#include "scute/models/vision/test_cobra.h"

namespace scute::vision_tower_test {
namespace {

using test::random_tensor;
using test::small_dino;
using test::small_siglip;
using test::tower_weights;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

const Execution integer_backend{Compute::f32, Backend::integer};
const Execution simulate_backend{Compute::f32, Backend::simulate};

/// Rows of numbers in double: the oracle's matrices.
using Rows = std::vector<std::vector<double>>;

/// The transformer as README.md puts it, in plain loops and double, every row through every
/// block.
class PlainTower {
 public:
  PlainTower(const VisionConfig& config, const Weights& weights) : c_(config), w_(weights) {}

  Rows operator()(const Tensor& pixels) const {
    Rows x = embed(pixels);
    for (int64_t i = 0; i < c_.blocks(); ++i) {
      const std::string b = "blocks." + std::to_string(i) + ".";
      add(x, affine(attend(affine(norm(x, b + "norm1"), b + "attn.qkv")), b + "attn.proj"),
          b + "ls1.gamma");
      Rows h = affine(norm(x, b + "norm2"), b + "mlp.fc1");
      for (auto& row : h) {
        for (double& v : row) v *= 0.5 * (1 + std::erf(v / std::numbers::sqrt2));
      }
      add(x, affine(h, b + "mlp.fc2"), b + "ls2.gamma");
    }
    return {x.begin() + c_.prefix(), x.end()};
  }

 private:
  double at(const std::string& name, int64_t i) const {
    return static_cast<double>(w_.at(name).values<float>()[static_cast<size_t>(i)]);
  }
  std::vector<double> row(const std::string& name, int64_t r) const {
    std::vector<double> out;
    for (int64_t c = 0; c < c_.width; ++c) out.push_back(at(name, r * c_.width + c));
    return out;
  }
  Rows embed(const Tensor& pixels) const {
    Rows x;
    for (int64_t i = 0; i < c_.classes; ++i) x.push_back(row("cls_token", i));
    for (int64_t i = 0; i < c_.registers; ++i) x.push_back(row("reg_token", i));
    for (int64_t cell = 0; cell < c_.patches(); ++cell) {
      x.push_back(row("pos_embed", cell));
      for (int64_t d = 0; d < c_.width; ++d) {
        double& sum = x.back()[static_cast<size_t>(d)];
        sum += at("patch_embed.proj.bias", d);
        for (int64_t k = 0; k < 3 * c_.patch * c_.patch; ++k) {
          const int64_t color = k / (c_.patch * c_.patch);
          const int64_t line = cell / c_.grid() * c_.patch + k / c_.patch % c_.patch;
          const int64_t column = cell % c_.grid() * c_.patch + k % c_.patch;
          const auto from = static_cast<size_t>((color * c_.image + line) * c_.image + column);
          sum += at("patch_embed.proj.weight", d * 3 * c_.patch * c_.patch + k) *
                 static_cast<double>(pixels.values<float>()[from]);
        }
      }
    }
    return x;
  }
  Rows norm(Rows x, const std::string& name) const {
    for (auto& values : x) {
      double mean = 0, variance = 0;
      for (const double v : values) mean += v / static_cast<double>(values.size());
      for (const double v : values) {
        variance += (v - mean) * (v - mean) / static_cast<double>(values.size());
      }
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] = (values[i] - mean) / std::sqrt(variance + static_cast<double>(c_.norm_eps)) *
                        at(name + ".weight", static_cast<int64_t>(i)) +
                    at(name + ".bias", static_cast<int64_t>(i));
      }
    }
    return x;
  }
  Rows affine(const Rows& x, const std::string& name) const {
    const Tensor& weight = w_.at(name + ".weight");
    Rows y(x.size());
    for (size_t r = 0; r < x.size(); ++r) {
      for (int64_t o = 0; o < weight.dim(0); ++o) {
        double sum = at(name + ".bias", o);
        for (int64_t k = 0; k < weight.dim(1); ++k) {
          sum += x[r][static_cast<size_t>(k)] * at(name + ".weight", o * weight.dim(1) + k);
        }
        y[r].push_back(sum);
      }
    }
    return y;
  }
  Rows attend(const Rows& qkv) const {
    const auto D = static_cast<size_t>(c_.width), width = D / static_cast<size_t>(c_.heads);
    Rows y(qkv.size(), std::vector<double>(D));
    for (size_t column = 0; column < D; ++column) {
      const size_t head = column / width * width;
      for (size_t q = 0; q < qkv.size(); ++q) {
        double sum = 0;
        for (const auto& key : qkv) {
          double dot = 0;
          for (size_t c = head; c < head + width; ++c) dot += qkv[q][c] * key[D + c];
          const double e = std::exp(dot / std::sqrt(static_cast<double>(width)));
          sum += e;
          y[q][column] += e * key[2 * D + column];
        }
        y[q][column] /= sum;
      }
    }
    return y;
  }
  void add(Rows& x, const Rows& y, const std::string& scale) const {
    for (size_t r = 0; r < x.size(); ++r) {
      for (size_t c = 0; c < x[r].size(); ++c) {
        x[r][c] += y[r][c] * (c_.layer_scale ? at(scale, static_cast<int64_t>(c)) : 1);
      }
    }
  }

  const VisionConfig& c_;
  const Weights& w_;
};

struct Built {
  explicit Built(const VisionConfig& config, const Execution& execution = Compute::f32)
      : Built(config, tower_weights(config), execution) {}
  Built(const VisionConfig& config, Weights weights, const Execution& execution)
      : sites(config, list), tower(config, std::move(weights), execution, sites) {}

  Tensor operator()(const Tensor& pixels, Tap* tap = nullptr) const {
    scute::Run run(tap);
    Tensor out(DType::f32, {tower.config().patches(), tower.config().width});
    const int64_t image = tower.config().image;
    tower(run, pixels.reshaped({3, image * image}).matrix<float>(), out.mutable_matrix<float>());
    return out;
  }

  SiteList list;
  VisionSites sites;
  VisionTower tower;
};

Tensor pixels_of(const VisionConfig& config, uint64_t seed = 77) {
  return random_tensor({3, config.image, config.image}, seed);
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return std::ranges::equal(a.bytes(), b.bytes());
}

class Towers : public testing::TestWithParam<VisionConfig> {};
INSTANTIATE_TEST_SUITE_P(Both, Towers, testing::Values(small_dino(), small_siglip()));

TEST_P(Towers, ComputeWhatTheDefinitionSays) {
  const VisionConfig& config = GetParam();
  const Tensor pixels = pixels_of(config);
  const Tensor got = Built(config)(pixels);
  const Weights weights = tower_weights(config);
  const Rows expected = PlainTower(config, weights)(pixels);
  double largest = 0;
  for (const auto& row : expected) {
    for (const double v : row) largest = std::max(largest, std::abs(v));
  }
  // Two blocks of sums of at most 27 products, each addition 2^-24 off, normalized, exponentiated
  // and added up: some hundred roundings, 6e-6 if all pointed one way.
  for (size_t r = 0; r < expected.size(); ++r) {
    for (size_t c = 0; c < expected[r].size(); ++c) {
      EXPECT_NEAR(static_cast<double>(got.matrix<float>().row(static_cast<int64_t>(r))[c]),
                  expected[r][c], 1e-5 * largest);
    }
  }
}

TEST(VisionTower, NeverReadsPixelsBeyondTheLastWholePatch) {
  const VisionConfig config = small_dino();
  Tensor pixels = pixels_of(config);
  const Built built(config);
  const Tensor before = built(pixels);
  const int64_t used = config.grid() * config.patch;
  ASSERT_LT(used, config.image);
  const auto values = pixels.mutable_values<float>();
  for (int64_t i = 0; i < pixels.size(); ++i) {
    const int64_t line = i / config.image % config.image, column = i % config.image;
    if (line >= used || column >= used) {
      values[static_cast<size_t>(i)] = std::numeric_limits<float>::quiet_NaN();
    }
  }
  EXPECT_TRUE(same_bits(before, built(pixels)));
}

/// Notes the shape of what each site shows.
class ShapeTap : public Tap {
 public:
  bool wants(const Site& site) const override { return site.index >= 0; }
  void see(const Site& site, MatView<const float> x) override {
    seen[site.name].push_back({x.rows, x.cols});
  }
  std::map<std::string, std::vector<std::pair<int64_t, int64_t>>> seen;
};

TEST_P(Towers, EverySiteShowsItsShapeOnce) {
  const VisionConfig& config = GetParam();
  const Built built(config);
  ShapeTap tap;
  built(pixels_of(config), &tap);
  EXPECT_EQ(tap.seen.size(), 2 + 4 * static_cast<size_t>(config.blocks()));
  const std::string last = "blocks." + std::to_string(config.blocks() - 1) + ".";
  for (const Site& site : built.list.sites()) {
    SCOPED_TRACE(site.name);
    ASSERT_EQ(tap.seen[site.name].size(), 1u);
    const auto [rows, cols] = tap.seen[site.name].front();
    EXPECT_EQ(cols, site.shape.back());
    const bool patches_alone =
        site.name == config.bucket || site.name.find("patch_embed") != std::string::npos ||
        (site.name.find(last) != std::string::npos && !site.name.ends_with("attn.qkv:input"));
    EXPECT_EQ(rows, patches_alone ? config.patches() : config.tokens());
  }
}

TEST_P(Towers, EightBitMatricesGiveTheSameBitsInBothExecutions) {
  const VisionConfig& config = GetParam();
  // Sums of at most 27 products below 128·127 are far below 2^24: exact in floats too.
  const auto low_bit = [&](const Execution& execution, float input_scale) {
    Weights weights = tower_weights(config);
    test::make_eight_bit(weights, config, input_scale);
    return Built(config, std::move(weights), execution)(pixels_of(config));
  };
  const Tensor integer = low_bit(integer_backend, 0.02f);
  EXPECT_TRUE(same_bits(integer, low_bit(simulate_backend, 0.02f)));
  EXPECT_FALSE(same_bits(integer, low_bit(integer_backend, 0.03f)));
  EXPECT_FALSE(same_bits(integer, Built(config)(pixels_of(config))));
}

TEST_P(Towers, AnInputRangeIsTheTowerBuiltWithThatScale) {
  const VisionConfig& config = GetParam();
  const auto built = [&](float input_scale) {
    Weights weights = tower_weights(config);
    test::make_eight_bit(weights, config, input_scale);
    return Built(config, std::move(weights), integer_backend);
  };
  Built changed = built(0.02f);
  for (const Site& site : changed.list.sites()) {
    changed.tower.set_input_range(site, -2.0f, 3.81f);
  }
  const Tensor pixels = pixels_of(config);
  EXPECT_TRUE(same_bits(changed(pixels), built(3.81f / 127)(pixels)));
}

TEST_P(Towers, NameEveryTensorThatIsMissingOrTooMuch) {
  const VisionConfig& config = GetParam();
  Weights weights = tower_weights(config);
  weights.erase("blocks.0.mlp.fc1.bias");
  weights.add("blocks.9.norm1.weight", Tensor(DType::f32, {config.width}));
  weights.take("pos_embed");
  weights.add("pos_embed", Tensor(DType::f32, {1, 17, config.width}));
  EXPECT_THAT(
      [&] { Built(config, std::move(weights), Compute::f32); },
      ThrowsMessage<Error>(AllOf(HasSubstr(config.bucket + ".safetensors"),
                                 HasSubstr("missing blocks.0.mlp.fc1.bias"),
                                 HasSubstr("unknown tensor blocks.9.norm1.weight"),
                                 HasSubstr("pos_embed has the shape"), HasSubstr("3 problems"))));
}

TEST(VisionTower, RefusesPixelsOfAnotherSize) {
  const Built built(small_siglip());
  scute::Run run;
  const Tensor pixels(DType::f32, {3, 49});
  Tensor out(DType::f32, {16, 10});
  EXPECT_THAT(
      [&] { built.tower(run, pixels.matrix<float>(), out.mutable_matrix<float>()); },
      ThrowsMessage<Error>(AllOf(HasSubstr("vision.siglip"), HasSubstr("pixels of 3 × 64"))));
}

TEST(VisionConfig, RefusesNumbersThatMakeNoSense) {
  const auto message = [](auto change) {
    VisionConfig config = small_dino();
    change(config);
    try {
      config.check("config.json");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(message([](VisionConfig&) {}), "accepted");
  EXPECT_THAT(message([](VisionConfig& c) { c.width = 0; }),
              AllOf(HasSubstr("config.json"), HasSubstr("the width of vision.dino")));
  EXPECT_THAT(message([](VisionConfig& c) { c.heads = 5; }),
              HasSubstr("heads that divides the width 12"));
  EXPECT_THAT(message([](VisionConfig& c) { c.depth = 1; }), HasSubstr("number of blocks"));
  EXPECT_THAT(message([](VisionConfig& c) { c.patch = 15; }), HasSubstr("the patch size"));
  EXPECT_THAT(message([](VisionConfig& c) { c.hidden = int64_t{1} << 40; }),
              HasSubstr("the hidden width"));
  EXPECT_THAT(message([](VisionConfig& c) { c.classes = 2; }), HasSubstr("class tokens"));
  EXPECT_THAT(message([](VisionConfig& c) { c.registers = -1; }), HasSubstr("registers"));
  EXPECT_THAT(message([](VisionConfig& c) { c.norm_eps = 0; }), HasSubstr("epsilon"));
  EXPECT_THAT(message([](VisionConfig& c) { c.bucket = ""; }), HasSubstr("name"));
}

}  // namespace
}  // namespace scute::vision_tower_test
