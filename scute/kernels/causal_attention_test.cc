#include "scute/kernels/causal_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "scute/kernels/reference_causal_attention.h"
#include "scute/kernels/test_targets.h"

namespace scute::causal_attention_test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNotANumber = std::numeric_limits<float>::quiet_NaN();
constexpr double kUnit = 0x1p-24;  // the most that rounding to float changes, relative
constexpr CacheForm kForms[] = {CacheForm::f32, CacheForm::bf16, CacheForm::int8};

class CausalAttentionKernels : public EachTarget {};
SCUTE_EACH_TARGET(CausalAttentionKernels);

/// What a model has: queries, keys and values of all tokens, and room for the cache.
struct Heads {
  int64_t tokens, heads, key_heads, width;
  CacheForm form;
  float scale = 0.3f;
  std::vector<float> q, k, v;
  std::vector<std::vector<float>> memory;  // of a cached head: keys, values, both scales
  std::vector<CachedHead> cache;

  Heads(int64_t t, int64_t h, int64_t hk, int64_t d, CacheForm f, double spread = 1.0)
      : tokens(t),
        heads(h),
        key_heads(hk),
        width(d),
        form(f),
        q(normal_values(t * h * d, 1, spread)),
        k(normal_values(t * hk * d, 2)),
        v(normal_values(t * hk * d, 3)) {
    empty();
  }
  /// Room for all tokens, filled with NaN.
  void empty() {
    const int64_t capacity = (tokens + kCacheTile - 1) / kCacheTile * kCacheTile;
    const auto elements = static_cast<size_t>(cached_values(capacity, width));
    memory.clear();
    cache.clear();
    for (int64_t head = 0; head < key_heads; ++head) {
      const auto keys = static_cast<size_t>(capacity * width);
      for (const size_t size : {keys, elements, static_cast<size_t>(capacity)}) {
        memory.emplace_back(size, kNotANumber);
      }
      memory.emplace_back(static_cast<size_t>(capacity), kNotANumber);
      const bool codes = form == CacheForm::int8;
      const auto last = [&](size_t back) { return memory[memory.size() - back].data(); };
      cache.push_back(
          {form, width, last(4), last(3), codes ? last(2) : nullptr, codes ? last(1) : nullptr});
    }
  }
  MatView<float> rows(std::vector<float>& x, int64_t first, int64_t count) const {
    const int64_t cols = std::ssize(x) / tokens;
    return {x.data() + first * cols, count, cols};
  }
  /// Attends from tokens [first, first + count), the earlier ones being cached.
  void attend(int64_t first, int64_t count, MatView<float> y, bool backwards = false) {
    for (int64_t head = 0; head < key_heads; ++head) {
      cache_rows(cache[static_cast<size_t>(head)], first,
                 rows(k, first, count).columns(head * width, width),
                 rows(v, first, count).columns(head * width, width));
    }
    const CausalAttention in{.q = rows(q, first, count),
                             .position = first,
                             .heads = heads,
                             .key_heads = key_heads,
                             .cache = cache.data(),
                             .scale = scale,
                             .y = y};
    const auto size = static_cast<size_t>(causal_attention_scratch(width));
    const int64_t parts = causal_attention_parts(in);
    for (int64_t part = 0; part < parts; ++part) {
      std::vector<float> scratch(size + 2, kNotANumber);
      scratch.front() = scratch.back() = 77.0f;
      causal_attention(in, backwards ? parts - 1 - part : part, scratch.data() + 1);
      EXPECT_EQ(scratch.front(), 77.0f);
      EXPECT_EQ(scratch.back(), 77.0f);
    }
  }
  std::vector<float> all(std::vector<int64_t> cuts = {}, bool backwards = false) {
    empty();
    std::vector<float> y(q.size(), 55.0f);
    int64_t first = 0;
    cuts.push_back(tokens);
    for (const int64_t end : cuts) {
      attend(first, end - first, rows(y, first, end - first), backwards);
      first = end;
    }
    return y;
  }
};

bool equal_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// The largest over the keys that row `t` sees of Σ |q·k| · scale.
double largest_sum(MatView<const float> q, MatView<const float> k, int64_t t, float scale) {
  double most = 0;
  for (int64_t key = 0; key <= t; ++key) {
    double sum = 0;
    for (int64_t c = 0; c < q.cols; ++c) {
      sum += std::abs(static_cast<double>(q.row(t)[c]) * static_cast<double>(k.row(key)[c]));
    }
    most = std::max(most, sum * static_cast<double>(scale));
  }
  return most;
}

void expect_equal(int64_t tokens, int64_t heads, int64_t key_heads, int64_t width, CacheForm form,
                  double spread = 1.0) {
  SCOPED_TRACE(testing::Message() << tokens << " x " << heads << "/" << key_heads << " x " << width
                                  << ", form " << static_cast<int>(form));
  Heads in(tokens, heads, key_heads, width, form, spread);
  std::vector<float> y = in.all();
  std::vector<float> k = in.k, v = in.v, sizes = in.v;
  for (int64_t head = 0; head < key_heads; ++head) {
    const auto part = [&](std::vector<float>& x) {
      return in.rows(x, 0, tokens).columns(head * width, width);
    };
    reference::cached(form, part(in.k), part(k));
    reference::cached(form, part(in.v), part(v));
  }
  for (size_t i = 0; i < v.size(); ++i) sizes[i] = std::abs(v[i]);
  std::vector<double> expected(static_cast<size_t>(tokens * width)), magnitude(expected);
  const MatView<double> wanted(expected.data(), tokens, width),
      size(magnitude.data(), tokens, width);
  for (int64_t head = 0; head < heads; ++head) {
    const int64_t from = head / (heads / key_heads) * width;
    const auto q = in.rows(in.q, 0, tokens).columns(head * width, width);
    const auto keys = in.rows(k, 0, tokens).columns(from, width);
    reference::causal_attention(q, keys, in.rows(v, 0, tokens).columns(from, width), 0, in.scale,
                                wanted);
    reference::causal_attention(q, keys, in.rows(sizes, 0, tokens).columns(from, width), 0,
                                in.scale, size);
    for (int64_t t = 0; t < tokens; ++t) {
      // As for attention(), in units of 2^−24: of M = max Σ |q·k| · scale a score is off by
      // (width + 3), one of it for an int8 key's scale; less the largest by 6·M more on its way to
      // a power of 2, which is off by 4. So much a weight and, once more, their sum, with 2 for its
      // rounding and the quotient's. At the end of each tile but the last all that was weighed so
      // far may be scaled: by a power off by 6·M + 4, which rounds once more. The sum over the keys
      // rounds each product, int8's scale of a value, and each sum.
      const double tiles = static_cast<double>(t / kCacheTile);
      const double M = largest_sum(q, keys, t, in.scale);
      const double weight = (static_cast<double>(width) + 9) * M + 4 + tiles * (6 * M + 5);
      const double bound = (2 * weight + 2 + static_cast<double>(t + 3)) * kUnit * 1.01;
      for (int64_t c = 0; c < width; ++c) {
        const double got = static_cast<double>(in.rows(y, t, 1).row(0)[head * width + c]);
        const double most = bound * size.row(t)[c] + 2.4e-37 * static_cast<double>(t + 1);
        ASSERT_NEAR(got, wanted.row(t)[c], most) << head << ", " << t << ", " << c;
      }
    }
  }
}

TEST_P(CausalAttentionKernels, EqualsTheReference) {
  for (const CacheForm form : kForms) {
    for (const int64_t tokens : {1, 2, 7, 33, 64}) expect_equal(tokens, 4, 2, 16, form);
    for (const int64_t width : {1, 2, 3, 5, 8, 17, 32, 40, 65, 160}) {
      expect_equal(19, 3, 1, width, form, 2.0);
    }
    expect_equal(5, 60, 1, 8, form);  // more heads than rows go together
    expect_equal(5, 5, 5, 8, form);
  }
  expect_equal(600, 2, 1, 24, CacheForm::f32, 3.0);
  expect_equal(520, 2, 2, 16, CacheForm::int8, 0.1);
}

// The largest score grows from tile to tile, so that each scales what came before, or falls.
TEST_P(CausalAttentionKernels, ScoresMayGrowOrFallFromTileToTile) {
  for (const float slope : {0.02f, -0.02f, 4.0f}) {
    Heads in(700, 1, 1, 8, CacheForm::f32);
    for (int64_t t = 0; t < 700; ++t) {
      std::fill_n(in.rows(in.q, t, 1).data, 8, 1.0f);
      std::fill_n(in.rows(in.k, t, 1).data, 8, slope * static_cast<float>(t));
    }
    in.scale = 1.0f;
    const std::vector<float> y = in.all();
    std::vector<double> expected(in.q.size());
    reference::causal_attention(in.rows(in.q, 0, 700), in.rows(in.k, 0, 700), in.rows(in.v, 0, 700),
                                0, 1.0f, {expected.data(), 700, 8});
    // Weights of at most 1 and values of at most 5: a score of up to M = 112 (of 22,400 where the
    // winner takes all) is off by 17·M and each of two rescalings by 6·M.
    const double M = 8 * 700 * std::abs(static_cast<double>(slope));
    const double bound = slope > 1 ? 1e-6 : 2 * (29 * M + 800) * kUnit * 5;
    for (size_t i = 0; i < y.size(); ++i)
      ASSERT_NEAR(y[i], expected[i], bound) << i << " " << slope;
  }
}

TEST_P(CausalAttentionKernels, CuttingTheTokensAndTheOrderOfPartsChangeNoBit) {
  for (const CacheForm form : kForms) {
    Heads in(530, 6, 2, 24, form, 2.0);
    const std::vector<float> whole = in.all();
    EXPECT_TRUE(equal_bits(whole, in.all({1, 2, 5, 37, 255, 256, 257, 300, 511, 529})));
    EXPECT_TRUE(equal_bits(whole, in.all({256, 512})));
    EXPECT_TRUE(equal_bits(whole, in.all({}, true)));
  }
  // As it grows by single tokens, over the end of a tile.
  Heads in(270, 2, 1, 16, CacheForm::f32);
  std::vector<int64_t> every(269);
  for (size_t i = 0; i < every.size(); ++i) every[i] = static_cast<int64_t>(i) + 1;
  EXPECT_TRUE(equal_bits(in.all(), in.all(every)));
}

TEST_P(CausalAttentionKernels, MayWriteOverTheQueries) {
  Heads in(40, 4, 2, 16, CacheForm::f32);
  const std::vector<float> y = in.all();
  in.empty();
  in.attend(0, 40, in.rows(in.q, 0, 40));
  EXPECT_TRUE(equal_bits(in.q, y));
}

/// How many elements of a head's row are NaN. Rows are counted over tokens and heads.
int nan_in(const std::vector<float>& y, int64_t width, int64_t head_of_row) {
  int count = 0;
  for (int64_t c = 0; c < width; ++c) {
    count += std::isnan(y[static_cast<size_t>(head_of_row * width + c)]) ? 1 : 0;
  }
  return count;
}

TEST_P(CausalAttentionKernels, NanStaysInItsRowAndReachesNoTokenBeforeItsOwn) {
  for (const CacheForm form : kForms) {
    for (const int64_t bad : {0, 3, 11, 258}) {
      Heads in(265, 4, 2, 16, form);
      const std::vector<float> clean = in.all();
      in.rows(in.q, bad, 1).data[17] = kNotANumber;  // of query head 1
      std::vector<float> y = in.all();
      EXPECT_EQ(nan_in(y, 16, bad * 4 + 1), 16);
      for (size_t i = 0; i < y.size(); ++i) {
        if (static_cast<int64_t>(i) / 16 == bad * 4 + 1) continue;
        ASSERT_EQ(y[i], clean[i]) << i;
      }
      for (std::vector<float>* rows : {&in.k, &in.v}) {
        Heads other(265, 4, 2, 16, form);
        (rows == &in.k ? other.k : other.v)[static_cast<size_t>(bad * 32 + 20)] = kNotANumber;
        y = other.all();
        for (int64_t r = 0; r < 265 * 4; ++r) {
          const bool sees = r / 4 >= bad && r % 4 >= 2;  // key head 1 serves query heads 2 and 3
          const bool all_of_it = rows == &in.k || form == CacheForm::int8;
          ASSERT_EQ(nan_in(y, 16, r), !sees ? 0 : all_of_it ? 16 : 1) << r << " " << bad;
        }
      }
    }
  }
}

TEST_P(CausalAttentionKernels, InfiniteScores) {
  Heads in(300, 1, 1, 4, CacheForm::f32);
  std::fill(in.q.begin(), in.q.end(), 1.0f);
  std::fill(in.k.begin(), in.k.end(), 0.0f);
  for (int64_t t = 0; t < 280; ++t) in.k[static_cast<size_t>(4 * t)] = -kInfinity;
  in.k[4 * 290] = kInfinity;
  const std::vector<float> y = in.all();
  for (int64_t t = 0; t < 300; ++t) {
    // All at −∞: no weight at all, 0/0. Then those that are not, in the second tile. Then +∞.
    EXPECT_EQ(nan_in(y, 4, t), t < 280 || t >= 290 ? 4 : 0) << t;
  }
  for (size_t c = 0; c < 4; ++c) EXPECT_EQ(y[4 * 280 + c], in.v[4 * 280 + c]);
}

TEST_P(CausalAttentionKernels, OneKeyReturnsItsValueAndEqualScoresTheMean) {
  Heads in(400, 2, 1, 8, CacheForm::f32, 100.0);
  for (float& x : in.v) x = std::round(10 * x);
  std::fill(in.k.begin(), in.k.end(), 0.5f);
  const std::vector<float> y = in.all();
  std::vector<double> sum(8);
  for (int64_t t = 0; t < 400; ++t) {
    for (size_t c = 0; c < 8; ++c) {
      sum[c] += static_cast<double>(in.v[static_cast<size_t>(8 * t) + c]);
      const auto mean = static_cast<float>(sum[c] / static_cast<double>(t + 1));
      ASSERT_EQ(y[static_cast<size_t>(16 * t) + c], mean) << t;
      ASSERT_EQ(y[static_cast<size_t>(16 * t + 8) + c], mean) << t;
    }
  }
}

TEST(CacheRows, CodesOfATokenHaveItsOwnScale) {
  // The last rows' scales are too small for a normal float, zero, and of infinity.
  const float factors[] = {1.0f, 0x1p20f, 0x1p-126f, 0x1p-127f, 0.0f, kInfinity};
  Heads in(6, 1, 1, 8, CacheForm::int8);
  const std::vector<float> row = {1, -127, 63.5f, 62.5f, 0.49f, 2, -0.5f, 126.4f};
  for (size_t t = 0; t < 6; ++t) {
    for (size_t c = 0; c < 8; ++c) in.k[8 * t + c] = row[c] * factors[t];
  }
  in.all();
  const int8_t expected[] = {1, -127, 64, 62, 0, 2, 0, 126};
  const auto* codes = static_cast<const int8_t*>(in.cache[0].keys);
  const float* scales = in.cache[0].key_scales;
  for (size_t t = 0; t < 6; ++t) {
    for (size_t c = 0; c < 8; ++c) {
      EXPECT_EQ(codes[32 * c + t], t < 3 ? expected[c] : 0) << t << ", " << c;
    }
  }
  EXPECT_TRUE(std::equal(scales, scales + 3, factors));
  EXPECT_EQ(scales[3], 0.0f);
  EXPECT_EQ(scales[4], 0.0f);
  EXPECT_TRUE(std::isnan(scales[5]));
}

TEST_P(CausalAttentionKernels, RopeEqualsTheReference) {
  for (const int64_t width : {2, 6, 16, 40, 128}) {
    for (const int64_t rotated : {int64_t{0}, width / 4 * 2, width}) {
      for (const double theta : {10'000.0, 1e11}) {
        for (const int64_t position : {0, 1000, 1'000'000}) {
          std::vector<double> frequencies(static_cast<size_t>(rotated / 2));
          rope_frequencies(theta, rotated, frequencies.data());
          std::vector<float> x = normal_values(3 * 2 * width, 1),
                             table(static_cast<size_t>(3 * rotated));
          std::vector<double> expected(x.size());
          const std::vector<float> before = x;
          const MatView<const float> from(before.data(), 3, 2 * width);
          reference::rope(from, width, rotated, theta, position, {expected.data(), 3, 2 * width});
          rope_table(frequencies.data(), position, {table.data(), 3, rotated});
          rope({x.data(), 3, 2 * width}, width, {table.data(), 3, rotated});
          for (int64_t i = 0; i < std::ssize(x); ++i) {
            const int64_t c = i % width;
            if (c >= rotated) {
              ASSERT_EQ(x[static_cast<size_t>(i)], before[static_cast<size_t>(i)]);
              continue;
            }
            const auto pair =
                static_cast<size_t>(c < rotated / 2 ? i + rotated / 2 : i - rotated / 2);
            const double size = std::abs(static_cast<double>(before[static_cast<size_t>(i)])) +
                                std::abs(static_cast<double>(before[pair]));
            // Cosine and sine are rounded (half a unit of 2^−24) and off by 2.7e-10; then one
            // product rounds, and their sum, or both products where none is fused.
            const double most = size * (0.5 * kUnit + 2 * 2.7e-10 + 2 * kUnit) * 1.01;
            ASSERT_NEAR(x[static_cast<size_t>(i)], expected[static_cast<size_t>(i)], most)
                << width << " " << rotated << " " << position;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace scute::causal_attention_test
