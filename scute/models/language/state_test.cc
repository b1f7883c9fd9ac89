#include "scute/models/language/state.h"

#include <gtest/gtest.h>

#include <cmath>

#include "scute/base/random.h"

namespace scute::state_test {
namespace {

constexpr int64_t kRows = 12, kColumns = 5;
constexpr float kScale = 0.01f;

StateGrid grid(Scheme::StateRounding rounding, uint64_t seed = 7, int64_t layer = 2) {
  return {SiteScales(kScale), rounding, seed, layer};
}

LayerState coded() { return {4, 3, kRows, kColumns, LayerState::Form::codes}; }

/// Values inside the grid.
std::vector<float> some_values() {
  std::vector<float> out(kRows * kColumns);
  Random random(1);
  for (float& x : out) x = static_cast<float>(2.4 * (random.uniform() - 0.5));
  return out;
}

/// What a state of these values holds after it was closed.
LayerState closed(const std::vector<float>& values, const StateGrid& how, const Place& place) {
  LayerState state = coded();
  Run run;
  const Arena::Scope scope(run.arena());
  const OpenState open(run, state, how);
  std::copy(values.begin(), values.end(), open.values().data);
  open.close(place);
  return state;
}

/// The values that the next call works on.
std::vector<float> opened(LayerState& state, const StateGrid& how) {
  Run run;
  const OpenState open(run, state, how);
  return {open.values().data, open.values().data + kRows * kColumns};
}

TEST(State, OfFloatsIsNotCopiedAndNotRounded) {
  LayerState state(4, 3, kRows, kColumns);
  const StateGrid none;
  scute::Run run;
  const OpenState open(run, state, none);
  EXPECT_EQ(open.values().data, state.ssm.data);
  open.values().data[3] = 0.123456789f;
  open.close({});
  EXPECT_EQ(state.ssm.data[3], 0.123456789f);
}

TEST(State, InEightBitsTakesAQuarterOfTheMemory) {
  const LayerState floats(4, 3, kRows, kColumns);
  EXPECT_EQ(floats.bytes() - coded().bytes(), kRows * kColumns * 3);
  EXPECT_EQ(coded().ssm.data, nullptr);
}

TEST(State, RoundsToNearestWithinHalfAScale) {
  const auto values = some_values();
  const StateGrid how = grid(Scheme::StateRounding::nearest);
  LayerState state = closed(values, how, {});
  const auto back = opened(state, how);
  for (size_t i = 0; i < values.size(); ++i) {
    // The division, the product and the difference each round once in float: 1e-6 of a value of 1.
    EXPECT_LE(std::abs(back[i] - values[i]), kScale / 2 + 1e-6f);
  }
}

TEST(State, RoundsStochasticallyWithinAScaleAndRightOnAverage) {
  const auto values = some_values();
  const StateGrid how = grid(Scheme::StateRounding::stochastic);
  constexpr int kTimes = 2000;
  std::vector<double> mean(values.size());
  for (int t = 0; t < kTimes; ++t) {
    LayerState state = closed(values, how, {.sequence = 0, .position = t});
    const auto back = opened(state, how);
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_LT(std::abs(back[i] - values[i]), kScale + 1e-6f);
      mean[i] += static_cast<double>(back[i]) / kTimes;
    }
  }
  for (size_t i = 0; i < values.size(); ++i) {
    // A coin between two neighbours has a deviation of at most half a scale; 5 deviations of the
    // mean over 2000 throws.
    EXPECT_NEAR(mean[i], static_cast<double>(values[i]), 5 * 0.5 * kScale / std::sqrt(kTimes));
  }
}

TEST(State, EverySeedLayerSequenceAndPositionRoundsDifferently) {
  const auto values = some_values();
  const auto codes = [&](uint64_t seed, int64_t layer, int64_t sequence, int64_t position) {
    return closed(values, grid(Scheme::StateRounding::stochastic, seed, layer),
                  {sequence, position})
        .ssm_code_values;
  };
  const auto first = codes(7, 2, 0, 64);
  EXPECT_EQ(first, codes(7, 2, 0, 64));
  EXPECT_NE(first, codes(8, 2, 0, 64));
  EXPECT_NE(first, codes(7, 3, 0, 64));
  EXPECT_NE(first, codes(7, 2, 1, 64));
  EXPECT_NE(first, codes(7, 2, 0, 65));
  // Numbers are mixed in one after the other: exchanging two of them is another key.
  EXPECT_NE(codes(7, 2, 3, 5), codes(7, 2, 5, 3));
  EXPECT_NE(codes(7, 2, 3, 5), codes(7, 3, 2, 5));
  // To nearest there is nothing to depend on.
  const auto nearest = [&](int64_t position) {
    return closed(values, grid(Scheme::StateRounding::nearest), {0, position}).ssm_code_values;
  };
  EXPECT_EQ(nearest(1), nearest(2));
}

/// One token: x = δ = 1 at every channel, B = C = 1.
SelectiveScan one_token(const std::vector<float>& ones, const std::vector<float>& A) {
  return {.x = {ones.data(), 1, kRows},
          .dt = {ones.data(), 1, kRows},
          .B = {ones.data(), 1, kColumns},
          .C = {ones.data(), 1, kColumns},
          .A = {A.data(), kRows, kColumns},
          .D = ones.data(),
          .dt_bias = ones.data()};
}

TEST(State, AScanOfCodesLeavesWhatOneOfOpenedStatesLeaves) {
  const std::vector<float> ones(kRows, 1.0f), A(kRows * kColumns, -0.3f);
  std::vector<float> y(kRows);
  for (const auto rounding : {Scheme::StateRounding::nearest, Scheme::StateRounding::stochastic}) {
    const StateGrid how = grid(rounding);
    LayerState opened_first = closed(some_values(), how, {3, 8}),
               on_codes = closed(some_values(), how, {3, 8});
    scute::Run run;
    const OpenState open(run, opened_first, how);
    selective_scan(one_token(ones, A), open.values(), {y.data(), 1, kRows});
    open.close({3, 9});
    selective_scan(one_token(ones, A), 0, kRows, coded_state(on_codes, how, {3, 9}),
                   {y.data(), 1, kRows});
    EXPECT_EQ(on_codes.ssm_code_values, opened_first.ssm_code_values);
  }
}

/// Wants one site.
class OneSiteTap : public Tap {
 public:
  explicit OneSiteTap(int wanted) : wanted_(wanted) {}
  bool wants(const Site& site) const override { return site.index == wanted_; }
  void see(const Site&, MatView<const float>) override {}

 private:
  int wanted_;
};

TEST(State, IsScannedAsCodesOnlyWhereNobodySeesOrClipsItsValues) {
  const Site after{"after", {kRows, kColumns}, Site::Extent::per_sample, 0};
  const Site steps{"steps", {kRows, kColumns}, Site::Extent::per_step, 1};
  const auto scans = [&](const scute::Run& run, const LayerState& state, int64_t tokens) {
    return scans_codes(run, state, tokens, after, steps);
  };
  scute::Run alone;
  EXPECT_TRUE(scans(alone, coded(), 1));
  EXPECT_TRUE(scans(alone, coded(), kCodedTokens));
  EXPECT_FALSE(scans(alone, coded(), kCodedTokens + 1));
  EXPECT_FALSE(scans(alone, LayerState(4, 3, kRows, kColumns), 1));
  EXPECT_FALSE(scans(alone, {4, 3, kRows, kCodedStates + 1, LayerState::Form::codes}, 1));
  for (const int wanted : {0, 1}) {
    OneSiteTap tap(wanted);
    EXPECT_FALSE(scans(scute::Run(&tap), coded(), 1)) << wanted;
  }
  SiteGrids grids;
  grids.set_clip(after, -1, 1);
  scute::Run clipped;
  clipped.use(grids);
  EXPECT_FALSE(scans(clipped, coded(), 1));
}

TEST(State, EachChannelHasItsOwnScale) {
  std::vector<float> scales(kRows);
  for (size_t r = 0; r < scales.size(); ++r) scales[r] = 0.001f * static_cast<float>(r + 1);
  const StateGrid how{SiteScales(kRows, 1, scales), Scheme::StateRounding::nearest, 0, 0};
  std::vector<float> values(kRows * kColumns);
  for (size_t i = 0; i < values.size(); ++i) values[i] = 100 * scales[i / kColumns];
  LayerState state = closed(values, how, {});
  for (const int8_t code : state.ssm_code_values) EXPECT_EQ(code, 100);
}

TEST(State, WhatLeavesTheGridSaturatesAndNanBecomesZero) {
  std::vector<float> values(kRows * kColumns, 100.0f);
  values[1] = -100;
  values[2] = std::nanf("");
  for (const auto rounding : {Scheme::StateRounding::nearest, Scheme::StateRounding::stochastic}) {
    const LayerState state = closed(values, grid(rounding), {});
    EXPECT_EQ(state.ssm_code_values[0], 127);
    EXPECT_EQ(state.ssm_code_values[1], -128);
    EXPECT_EQ(state.ssm_code_values[2], 0);
  }
}

TEST(State, ACopyHasItsOwnMemory) {
  for (const LayerState::Form form : {LayerState::Form::floats, LayerState::Form::codes}) {
    State state;
    state.place = {.sequence = 3, .position = 8};
    BlockState& block = state.blocks.emplace_back();
    block.parts.emplace_back();
    block.parts.emplace_back(LayerState(4, 3, kRows, kColumns, form));
    auto& layer = std::get<LayerState>(block.parts[1]);
    layer.conv.row(2)[1] = 7;
    if (form == LayerState::Form::codes) {
      layer.ssm_codes.row(1)[2] = 9;
    } else {
      layer.ssm.row(1)[2] = 9;
    }
    State copy = state.copy();
    auto& own = std::get<LayerState>(copy.blocks.at(0).parts.at(1));
    EXPECT_EQ(copy.place.sequence, 3);
    EXPECT_EQ(copy.place.position, 8);
    EXPECT_EQ(copy.bytes(), state.bytes());
    EXPECT_TRUE(std::holds_alternative<std::monostate>(copy.blocks.at(0).parts.at(0)));
    EXPECT_EQ(own.conv_values, layer.conv_values);
    EXPECT_EQ(own.ssm_values, layer.ssm_values);
    EXPECT_EQ(own.ssm_code_values, layer.ssm_code_values);
    own.conv.row(2)[1] = 1;
    EXPECT_EQ(layer.conv_values[2 * 3 + 1], 7);
    EXPECT_EQ(own.conv_values[2 * 3 + 1], 1);
  }
}

}  // namespace
}  // namespace scute::state_test
