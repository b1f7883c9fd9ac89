#include "scute/models/vision/projector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>

#include "scute/base/error.h"
#include "scute/models/vision/test_cobra.h"

namespace scute::projector_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr ProjectorKind kKinds[] = {ProjectorKind::linear, ProjectorKind::gelu_mlp,
                                    ProjectorKind::fused_gelu_mlp, ProjectorKind::fused_ldpnet};

ProjectorConfig config_of(ProjectorKind kind, int64_t grid = 4) {
  return {.kind = kind, .vision = 10, .language = 6, .grid = grid};
}

using Rows = std::vector<std::vector<double>>;

/// The projector in plain loops and double.
class PlainProjector {
 public:
  explicit PlainProjector(const Weights& weights) : w_(weights) {}

  Rows operator()(const ProjectorConfig& config, const Tensor& features) const {
    Rows x;
    for (int64_t r = 0; r < features.dim(0); ++r) {
      const float* row = features.matrix<float>().row(r);
      x.emplace_back(row, row + features.dim(1));
    }
    switch (config.kind) {
      case ProjectorKind::linear:
        return affine(x, "projector");
      case ProjectorKind::gelu_mlp:
        return affine(gelu(affine(x, "projector.0")), "projector.2");
      case ProjectorKind::fused_gelu_mlp:
        return affine(gelu(affine(gelu(affine(x, "projector.0")), "projector.2")), "projector.4");
      default:
        return peg(pool(affine(gelu(affine(x, "projector.0")), "projector.2"), config.grid));
    }
  }

 private:
  double at(const std::string& name, size_t i) const {
    return static_cast<double>(w_.at(name).values<float>()[i]);
  }
  Rows affine(const Rows& x, const std::string& name) const {
    const auto outputs = static_cast<size_t>(w_.at(name + ".bias").size());
    Rows y(x.size(), std::vector<double>(outputs));
    for (size_t r = 0; r < x.size(); ++r) {
      for (size_t o = 0; o < outputs; ++o) {
        y[r][o] = at(name + ".bias", o);
        for (size_t k = 0; k < x[r].size(); ++k) {
          y[r][o] += x[r][k] * at(name + ".weight", o * x[r].size() + k);
        }
      }
    }
    return y;
  }
  static Rows gelu(Rows x) {
    for (auto& row : x) {
      for (double& v : row) v *= 0.5 * (1 + std::erf(v / std::numbers::sqrt2));
    }
    return x;
  }
  /// Every input cell that overlaps an output cell of the unit square counts in full.
  static Rows pool(const Rows& x, int64_t grid) {
    Rows y(196, std::vector<double>(x.front().size()));
    for (int64_t o = 0; o < 196; ++o) {
      double count = 0;
      for (int64_t i = 0; i < grid * grid; ++i) {
        const auto overlaps = [&](int64_t out, int64_t in) {
          return in * 14 < (out + 1) * grid && (in + 1) * 14 > out * grid;
        };
        if (!overlaps(o / 14, i / grid) || !overlaps(o % 14, i % grid)) continue;
        ++count;
        for (size_t c = 0; c < x.front().size(); ++c) {
          y[static_cast<size_t>(o)][c] += x[static_cast<size_t>(i)][c];
        }
      }
      for (double& v : y[static_cast<size_t>(o)]) v /= count;
    }
    return y;
  }
  Rows peg(const Rows& x) const {
    Rows y = x;
    for (int cell = 0; cell < 196; ++cell) {
      for (size_t c = 0; c < x.front().size(); ++c) {
        double& sum = y[static_cast<size_t>(cell)][c];
        sum += at("projector.4.peg.0.bias", c);
        for (int dy = -1; dy <= 1; ++dy) {
          for (int dx = -1; dx <= 1; ++dx) {
            const int line = cell / 14 + dy, column = cell % 14 + dx;
            if (line < 0 || line > 13 || column < 0 || column > 13) continue;
            sum +=
                x[static_cast<size_t>(line * 14 + column)][c] *
                at("projector.4.peg.0.weight", c * 9 + static_cast<size_t>((dy + 1) * 3 + dx + 1));
          }
        }
      }
    }
    return y;
  }

  const Weights& w_;
};

struct Built {
  Built(const ProjectorConfig& config, Weights weights, const Execution& execution = Compute::f32)
      : tower(list.add("vision.siglip", {config.vision})),
        sites(config, {tower}, list),
        projector(config, std::move(weights), execution, sites) {}

  Tensor operator()(const Tensor& features, Tap* tap = nullptr, const SiteGrids& grids = {}) const {
    scute::Run run(tap);
    run.use(grids);
    Tensor in = Tensor::of<float>(features.shape(), features.values<float>());
    Tensor out(DType::f32, {projector.config().tokens(), projector.config().language});
    projector(run, in.mutable_matrix<float>(), out.mutable_matrix<float>());
    return out;
  }

  SiteList list;
  Site tower;
  ProjectorSites sites;
  Projector projector;
};

Tensor features_of(const ProjectorConfig& config) {
  return test::random_tensor({config.grid * config.grid, config.vision}, 55);
}

void expect_near(const Tensor& got, const Rows& expected) {
  ASSERT_EQ(static_cast<size_t>(got.dim(0)), expected.size());
  // Three layers of sums of at most 40 products below 4: 120 roundings of 2^-23 are 1.4e-5.
  for (size_t r = 0; r < expected.size(); ++r) {
    for (size_t c = 0; c < expected[r].size(); ++c) {
      EXPECT_NEAR(static_cast<double>(got.matrix<float>().row(static_cast<int64_t>(r))[c]),
                  expected[r][c], 2e-5);
    }
  }
}

TEST(Projector, EveryKindComputesItsDefinition) {
  for (const ProjectorKind kind : kKinds) {
    SCOPED_TRACE(static_cast<int>(kind));
    const ProjectorConfig config = config_of(kind);
    const Weights weights = test::projector_weights(config);
    const Built built(config, test::projector_weights(config));
    expect_near(built(features_of(config)), PlainProjector(weights)(config, features_of(config)));
  }
}

TEST(Projector, PoolsGridsLargerThanFourteenAsWell) {
  for (const int64_t grid : {14, 16, 27, 29}) {
    SCOPED_TRACE(grid);
    const ProjectorConfig config = config_of(ProjectorKind::fused_ldpnet, grid);
    EXPECT_EQ(config.tokens(), 196);
    const Weights weights = test::projector_weights(config);
    const Built built(config, test::projector_weights(config));
    expect_near(built(features_of(config)), PlainProjector(weights)(config, features_of(config)));
  }
}

/// Keeps the shape and the largest value that each site shows.
class LargestTap : public Tap {
 public:
  bool wants(const Site&) const override { return true; }
  void see(const Site& site, MatView<const float> x) override {
    shapes[site.name] = {x.rows, x.cols};
    for (int64_t r = 0; r < x.rows; ++r) {
      for (int64_t c = 0; c < x.cols; ++c) {
        largest[site.name] = std::max(largest[site.name], std::abs(x.row(r)[c]));
      }
    }
  }
  std::map<std::string, std::pair<int64_t, int64_t>> shapes;
  std::map<std::string, float> largest;
};

TEST(Projector, EverySiteShowsItsShape) {
  for (const ProjectorKind kind : kKinds) {
    const ProjectorConfig config = config_of(kind);
    const Built built(config, test::projector_weights(config));
    LargestTap tap;
    built(features_of(config), &tap);
    const bool pooled = kind == ProjectorKind::fused_ldpnet;
    EXPECT_EQ(tap.shapes.size(), built.sites.inputs.size() + 1);
    for (const Site& site : built.sites.inputs) {
      const int64_t rows = pooled && site.name == "projector.4:input" ? 196 : 16;
      EXPECT_EQ(tap.shapes[site.name], std::pair(rows, site.shape[0])) << site.name;
    }
    EXPECT_EQ(tap.shapes["projector"], std::pair(config.tokens(), config.language));
    EXPECT_EQ(built.list.find("projector.0:input")->parts, std::vector<int>{built.tower.index});
  }
}

TEST(Projector, ClipsWhatEntersAndLeaves) {
  for (const ProjectorKind kind : kKinds) {
    SCOPED_TRACE(static_cast<int>(kind));
    const ProjectorConfig config = config_of(kind);
    const Built built(config, test::projector_weights(config));
    SiteGrids grids;
    grids.set_clip(built.sites.inputs.front(), -0.5f, 0.25f);
    Tensor clipped = features_of(config);
    for (float& v : clipped.mutable_values<float>()) v = std::clamp(v, -0.5f, 0.25f);
    LargestTap tap;
    const Tensor got = built(features_of(config), &tap, grids);
    EXPECT_TRUE(std::ranges::equal(got.bytes(), built(clipped).bytes()));
    EXPECT_GT(tap.largest["projector.0:input"], 0.5f) << "a tap sees what was there before";

    grids.set_clip(built.sites.output, -0.1f, 0.2f);
    const Tensor bounded = built(features_of(config), nullptr, grids);
    for (size_t i = 0; i < bounded.values<float>().size(); ++i) {
      EXPECT_EQ(bounded.values<float>()[i], std::clamp(got.values<float>()[i], -0.1f, 0.2f));
    }
  }
}

TEST(Projector, AClippedConvolutionInputIsStillAddedInFull) {
  const ProjectorConfig config = config_of(ProjectorKind::fused_ldpnet);
  Weights weights = test::projector_weights(config);
  weights.take("projector.4.peg.0.weight");
  weights.add("projector.4.peg.0.weight", Tensor(DType::f32, {6, 1, 3, 3}));  // zeros
  const Built built(config, std::move(weights));
  SiteGrids grids;
  grids.set_clip(built.sites.inputs.back(), -0.01f, 0.01f);
  const Tensor features = features_of(config);
  EXPECT_TRUE(std::ranges::equal(built(features).bytes(), built(features, nullptr, grids).bytes()));
}

TEST(Projector, NamesEveryTensorThatIsMissingOrTooMuch) {
  const ProjectorConfig config = config_of(ProjectorKind::fused_gelu_mlp);
  Weights weights = test::projector_weights(config);
  weights.erase("projector.2.bias");
  weights.add("projector.6.weight", Tensor(DType::f32, {6, 6}));
  EXPECT_THAT([&] { Built(config, std::move(weights)); },
              ThrowsMessage<Error>(AllOf(HasSubstr("missing projector.2.bias"),
                                         HasSubstr("unknown tensor projector.6.weight"))));
}

TEST(Projector, KindsAreReadFromTheEndOfTheSpecifier) {
  EXPECT_EQ(parse_projector("linear"), ProjectorKind::linear);
  EXPECT_EQ(parse_projector("no-align+gelu-mlp"), ProjectorKind::gelu_mlp);
  EXPECT_EQ(parse_projector("no-align+fused-gelu-mlp"), ProjectorKind::fused_gelu_mlp);
  EXPECT_EQ(parse_projector("no-align+fused-ldpnet"), ProjectorKind::fused_ldpnet);
  EXPECT_THAT(
      [] { parse_projector("no-align+resampler"); },
      ThrowsMessage<Error>(AllOf(HasSubstr("fused-ldpnet"), HasSubstr("\"no-align+resampler\""))));
}

}  // namespace
}  // namespace scute::projector_test
