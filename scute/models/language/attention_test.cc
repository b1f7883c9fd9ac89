#include "scute/models/language/attention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "scute/base/error.h"
#include "scute/base/threads.h"
#include "scute/models/language/test_attention.h"

namespace scute::attention_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr double kHalfUnit = 0x1p-24;

std::vector<AttentionCase> all_cases() {
  std::vector<AttentionCase> cases = {{"plain", heads_of(2, 2, 10)},
                                      {"grouped", heads_of(6, 2, 8)},
                                      {"one_key_head", heads_of(4, 1, 6)},
                                      {"rope", heads_of(4, 2, 8)},
                                      {"half_rope", heads_of(4, 2, 8)},
                                      {"scale_and_factor", heads_of(2, 1, 16)},
                                      {"biases", heads_of(4, 2, 8)},
                                      {"convolved", heads_of(3, 3, 8)},
                                      {"wider_input", heads_of(4, 4, 10), 20, 40}};
  cases[3].attention.rotated = 8;
  cases[3].attention.theta = 1e11;
  cases[4].attention.rotated = 4;
  cases[5].attention.scale = 1.0f / 16;
  cases[5].attention.key_factor = 0.39f;
  cases[5].attention.rotated = 16;
  cases[6].attention.qkv_bias = cases[6].attention.out_bias = true;
  cases[7].attention.taps = 4;
  cases[7].attention.rotated = 4;
  return cases;
}

/// Keeps what sites show.
class Shown : public Tap {
 public:
  bool wants(const Site& site) const override { return site.index >= 0; }
  void see(const Site& site, MatView<const float> x) override {
    auto& to = rows[site.name];
    for (int64_t r = 0; r < x.rows; ++r) to.emplace_back(x.row(r), x.row(r) + x.cols);
  }
  std::map<std::string, Rows> rows;
};

/// The tokens in calls that end at `cuts` and at the last.
std::vector<float> run_attention(const Attention& attention, const Tensor& u, int64_t width,
                                 std::vector<int64_t> cuts = {}, CacheForm form = CacheForm::f32,
                                 const Team& team = {}, Tap* tap = nullptr) {
  scute::Run run(tap);
  run.use(team);
  KeyValueCache cache = attention.new_cache(form);
  Tensor x = Tensor::of<float>(u.shape(), to_vector(u)), out(DType::f32, {u.dim(0), width});
  cuts.push_back(u.dim(0));
  int64_t first = 0;
  for (const int64_t end : cuts) {
    attention(run, x.mutable_matrix<float>().slice_rows(first, end - first), cache, {0, first},
              out.mutable_matrix<float>().slice_rows(first, end - first));
    first = end;
  }
  EXPECT_EQ(cache.length(), u.dim(0));
  return to_vector(out);
}

double most_of(const Rows& rows) {
  double most = 0;
  for (const auto& row : rows) {
    for (const double x : row) most = std::max(most, std::abs(x));
  }
  return most;
}

/// The largest Σ |x| of a head.
double most_of_heads(const Rows& rows, int64_t head_width) {
  const auto d = static_cast<size_t>(head_width);
  double most = 0;
  for (const auto& row : rows) {
    for (size_t h = 0; h < row.size(); h += d) {
      double sum = 0;
      for (size_t i = 0; i < d; ++i) sum += std::abs(row[h + i]);
      most = std::max(most, sum);
    }
  }
  return most;
}

/// Of any row: Σ |w| of o_proj.
double out_gain(const RandomAttention& random) {
  const std::vector<float>& weight = random.values.at("o_proj.weight");
  const size_t inputs = weight.size() / static_cast<size_t>(random.config.width);
  double most = 0;
  for (size_t o = 0; o < weight.size(); o += inputs) {
    double sum = 0;
    for (size_t i = 0; i < inputs; ++i) sum += std::abs(static_cast<double>(weight[o + i]));
    most = std::max(most, sum);
  }
  return most;
}

class AttentionOf : public testing::TestWithParam<AttentionCase> {};
INSTANTIATE_TEST_SUITE_P(, AttentionOf, testing::ValuesIn(all_cases()),
                         [](const auto& of) { return of.param.name; });

TEST_P(AttentionOf, EqualsTheEquationsInDouble) {
  constexpr int64_t kTokens = 300;  // more than a tile of keys
  const RandomAttention random(GetParam());
  const Tensor u = random_rows(kTokens, random.inputs);
  const PlainAttention plain(random, u);
  Shown shown;
  const auto y = run_attention(random.build(), u, random.config.width, {}, {}, {}, &shown);
  // q, k and v round each product, each sum, bias, taps, factor and the turn, `steps` times at most
  // by a half unit of their largest sum of magnitudes. A score is off by what both factors are and,
  // as kernels/causal_attention_test derives, by (d + 9) of its own units, by 6 more with each of
  // two tiles; the largest score as much. o_proj passes on what the heads' outputs are off and
  // rounds itself.
  const AttentionConfig& c = random.config.attention;
  const double steps = static_cast<double>(random.inputs + 2 * c.taps + 8);
  const double q_sum = most_of_heads(plain.q, c.head_width);
  const double k_sum = most_of_heads(plain.k, c.head_width), k_most = most_of(plain.k);
  const double score = static_cast<double>(c.scale) *
                       (steps * (plain.q_size * k_sum + plain.k_size * q_sum) +
                        static_cast<double>(c.head_width + 9 + 6 * 2) * q_sum * k_most);
  const double head = (2 * score + 2 * 20 + kTokens + steps) * kHalfUnit * plain.v_size;
  const double bound = out_gain(random) * head +
                       static_cast<double>(c.heads * c.head_width + 3) * kHalfUnit * plain.out_size;
  ASSERT_LT(bound, 0.02 * most_of(plain.out)) << "the bound says something";
  double worst = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    const auto width = static_cast<size_t>(random.config.width);
    const double expected = plain.out[i / width][i % width];
    worst = std::max(worst, std::abs(static_cast<double>(y[i]) - expected));
  }
  EXPECT_LT(worst, bound);
  // What the sites show.
  const auto expect_shown = [&](const std::string& name, const Rows& rows, double size) {
    const Rows& seen = shown.rows.at("layer_3." + name);
    ASSERT_EQ(seen.size(), rows.size()) << name;
    for (size_t t = 0; t < rows.size(); ++t) {
      ASSERT_EQ(seen[t].size(), rows[t].size()) << name;
      for (size_t i = 0; i < rows[t].size(); ++i) ASSERT_NEAR(seen[t][i], rows[t][i], size) << name;
    }
  };
  expect_shown("q_act:input", plain.q, steps * kHalfUnit * plain.q_size);
  if (c.taps > 0) {
    expect_shown("qkv_conv:input", plain.projected, steps * kHalfUnit * plain.projected_size);
  }
  expect_shown("k_cache:input", plain.k, steps * kHalfUnit * plain.k_size);
  expect_shown("v_cache:input", plain.v, steps * kHalfUnit * plain.v_size);
  expect_shown("o_proj:input", plain.attended, head);
  expect_shown("o_proj:output", plain.out, bound);
}

TEST_P(AttentionOf, CutAnywhereGivesTheSameBits) {
  const RandomAttention random(GetParam());
  const Attention attention = random.build();
  const Tensor u = random_rows(275, random.inputs);
  for (const CacheForm form : {CacheForm::f32, CacheForm::bf16, CacheForm::int8}) {
    const auto run = [&](std::vector<int64_t> cuts) {
      return run_attention(attention, u, random.config.width, std::move(cuts), form);
    };
    const auto whole = run({});
    EXPECT_EQ(whole, run({1, 2, 3, 10, 100, 255, 256, 257, 274}));
    EXPECT_EQ(whole, run({200}));
  }
}

TEST_P(AttentionOf, ShorterFormsStayWithinTheirRounding) {
  const RandomAttention random(GetParam());
  const Attention attention = random.build();
  const Tensor u = random_rows(60, random.inputs);
  const PlainAttention plain(random, u);
  const auto floats = run_attention(attention, u, random.config.width);
  const AttentionConfig& c = random.config.attention;
  const double q_sum = most_of_heads(plain.q, c.head_width);
  for (const auto& [form, half_step] :
       {std::pair{CacheForm::bf16, 0x1p-9}, {CacheForm::int8, 1 / 254.0}}) {
    const auto y = run_attention(attention, u, random.config.width, {}, form);
    // Keys and values are off by half a step of their largest; a weight's logarithm by a score's
    // error, its sum's by no more. 1 % for floats' own rounding.
    const double score = static_cast<double>(c.scale) * q_sum * most_of(plain.k) * half_step;
    const double v = most_of(plain.v);
    const double bound = 1.01 * out_gain(random) * (std::expm1(2 * score) + half_step) * v;
    double worst = 0;
    for (size_t i = 0; i < y.size(); ++i) {
      worst = std::max(worst, std::abs(static_cast<double>(y[i]) - static_cast<double>(floats[i])));
    }
    EXPECT_LT(worst, bound);
    EXPECT_GT(worst, bound / 1000) << "the form is used";
  }
}

TEST(Attention, ThreadsChangeNoBit) {
  AttentionCase big{"big", heads_of(8, 2, 32), 64, 64};
  big.attention.rotated = 16;
  big.attention.taps = 4;
  const RandomAttention random(big);
  const Attention attention = random.build();
  const Tensor u = random_rows(700, 64);
  for (const CacheForm form : {CacheForm::f32, CacheForm::int8}) {
    const auto alone = run_attention(attention, u, 64, {699}, form);
    for (const int count : {2, 3, 4}) {
      const Threads threads(count);
      EXPECT_EQ(alone, run_attention(attention, u, 64, {699}, form, threads.team())) << count;
    }
  }
}

TEST(Attention, NamesWhatIsMissing) {
  AttentionCase c{"", heads_of(4, 2, 8)};
  c.attention.qkv_bias = c.attention.out_bias = true;
  c.attention.taps = 4;
  RandomAttention random(c);
  for (const char* name : {"a.k_proj.bias", "a.o_proj.bias", "a.conv1d.bias"}) {
    random.weights.erase(name);
  }
  EXPECT_THAT([&] { random.build(); },
              ThrowsMessage<Error>(AllOf(HasSubstr("missing a.k_proj.bias"),
                                         HasSubstr("missing a.o_proj.bias"),
                                         HasSubstr("missing a.conv1d.bias"))));
}

TEST(Attention, RefusesAPositionThatItsCacheDoesNotHold) {
  const RandomAttention random(all_cases()[0]);
  const Attention attention = random.build();
  KeyValueCache cache = attention.new_cache();
  scute::Run run;
  Tensor u = random_rows(2, 20), out(DType::f32, {2, 20});
  const auto call = [&](int64_t position) {
    attention(run, u.mutable_matrix<float>(), cache, {0, position}, out.mutable_matrix<float>());
  };
  call(0);
  EXPECT_THAT([&] { call(1); }, ThrowsMessage<Error>(HasSubstr("those of 1 tokens")));
  call(2);
}

TEST(Attention, CountsItsWorkAndSize) {
  AttentionCase c{"", heads_of(4, 2, 8)};
  c.attention.taps = 4;
  c.attention.rotated = 4;
  const Attention attention = RandomAttention(c).build();
  ModelWork work;
  attention.add_work(work);
  EXPECT_EQ(work.f32, 20 * 64 + 32 * 20 + 64 * 4 + 2 * 6 * 4);
  ModelSize size;
  attention.add_size(size);
  EXPECT_EQ(size.convolution, (64 * 4 + 64) * 4);
  EXPECT_GE(size.linear, (20 * 64 + 32 * 20) * 4);
}

}  // namespace
}  // namespace scute::attention_test
