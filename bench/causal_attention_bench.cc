// Attention at the sizes of a 7B hybrid, one thread: 32 query heads of 128 on 8 key heads.
#include "scute/kernels/causal_attention.h"

#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "kernels_bench.h"
#include "scute/kernels/roofline.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

constexpr int64_t kHeads = 32, kKeyHeads = 8, kWidth = 128;
constexpr const char* kNames[] = {"f32", "bf16", "int8"};

/// A cache of `keys` tokens.
struct Cached {
  std::vector<Tensor> memory;
  std::vector<CachedHead> heads;
  int64_t bytes = 0;  // of the keys and values that are there

  Cached(int64_t keys, CacheForm form) {
    const int64_t room = (keys + kCacheTile - 1) / kCacheTile * kCacheTile;
    const int64_t size = form == CacheForm::f32 ? 4 : form == CacheForm::bf16 ? 2 : 1;
    bytes = 2 * kKeyHeads * keys * (kWidth * size + (size == 1 ? 4 : 0));
    const Tensor k = normal(keys, kWidth), v = normal(keys, kWidth, 2.0);
    for (int64_t h = 0; h < kKeyHeads; ++h) {
      const auto take = [&](int64_t floats) {
        memory.emplace_back(DType::f32, Shape{floats});
        return memory.back().mutable_values<float>().data();
      };
      CachedHead head{.form = form, .width = kWidth};
      head.keys = take(room * kWidth * size / 4);
      head.values = take(cached_values(room, kWidth) * size / 4);
      if (form == CacheForm::int8) {
        head.key_scales = take(room);
        head.value_scales = take(room);
      }
      cache_rows(head, 0, k.matrix<float>(), v.matrix<float>());
      heads.push_back(head);
    }
  }
};

/// The last `tokens` of `keys` see those before them.
void attend(benchmark::State& state, int64_t tokens, int64_t keys, const Cached& cached) {
  const Tensor q = normal(tokens, kHeads * kWidth);
  Tensor y(DType::f32, {tokens, kHeads * kWidth});
  std::vector<float> scratch(static_cast<size_t>(causal_attention_scratch(kWidth)));
  const CausalAttention in{.q = q.matrix<float>(),
                           .position = keys - tokens,
                           .heads = kHeads,
                           .key_heads = kKeyHeads,
                           .cache = cached.heads.data(),
                           .scale = 0.088f,
                           .y = y.mutable_matrix<float>()};
  for (auto _ : state) {
    for (int64_t part = 0; part < causal_attention_parts(in); ++part) {
      causal_attention(in, part, scratch.data());
    }
    benchmark::ClobberMemory();
  }
}

/// Arguments: tokens, form of the cache. An item is a multiply-add of either product.
void causal_prompt_of(benchmark::State& state) {
  const int64_t tokens = state.range(0);
  const Cached cached(tokens, static_cast<CacheForm>(state.range(1)));
  attend(state, tokens, tokens, cached);
  state.SetLabel(kNames[state.range(1)]);
  count(state, kHeads * kWidth * tokens * (tokens + 1));
}
BENCHMARK(causal_prompt_of)->ArgsProduct({{512, 2048}, {0, 1, 2}})->Unit(benchmark::kMillisecond);

/// Arguments: tokens in the cache, its form. An item is a byte of the cache.
void causal_token_of(benchmark::State& state) {
  const Cached cached(state.range(0), static_cast<CacheForm>(state.range(1)));
  attend(state, 1, state.range(0), cached);
  state.SetLabel(kNames[state.range(1)]);
  count(state, cached.bytes);
}
BENCHMARK(causal_token_of)->ArgsProduct({{2048, 8192}, {0, 1, 2}})->Unit(benchmark::kMillisecond);

/// Arguments: tokens, form. An item is an element of a key or value.
void cache_rows_of(benchmark::State& state) {
  const int64_t tokens = state.range(0);
  const Cached cached(tokens, static_cast<CacheForm>(state.range(1)));
  const Tensor k = normal(tokens, kWidth), v = normal(tokens, kWidth, 2.0);
  for (auto _ : state) {
    cache_rows(cached.heads[0], 0, k.matrix<float>(), v.matrix<float>());
    benchmark::ClobberMemory();
  }
  state.SetLabel(kNames[state.range(1)]);
  count(state, 2 * tokens * kWidth);
}
BENCHMARK(cache_rows_of)->ArgsProduct({{1, 2048}, {0, 1, 2}});

/// Rotary positions of all dimensions of q's and k's heads, angles included.
void rope_of(benchmark::State& state) {
  const int64_t tokens = state.range(0);
  Tensor x = normal(tokens, (kHeads + kKeyHeads) * kWidth), table(DType::f32, {tokens, kWidth});
  std::vector<double> frequencies(kWidth / 2);
  rope_frequencies(10'000, kWidth, frequencies.data());
  for (auto _ : state) {
    rope_table(frequencies.data(), 1000, table.mutable_matrix<float>());
    rope(x.mutable_matrix<float>(), kWidth, table.matrix<float>());
    benchmark::ClobberMemory();
  }
  count(state, x.size());
}
BENCHMARK(rope_of)->Arg(1)->Arg(512);

/// What the machine could do at best at the same time of day: an item is a multiply-add in f32.
void f32_products_at_best(benchmark::State& state) {
  constexpr int64_t kSteps = 1 << 20;
  for (auto _ : state) benchmark::DoNotOptimize(run_peak_loop(ProductType::f32, kSteps));
  count(state, kSteps * peak_loop(ProductType::f32).multiply_adds_a_step);
}
BENCHMARK(f32_products_at_best)->Unit(benchmark::kMillisecond);

/// Argument: MiB. An item is a byte that is read.
void reading_at_best(benchmark::State& state) {
  const int64_t words = state.range(0) << 17;
  const std::vector<uint64_t> all(static_cast<size_t>(words), 3);
  for (auto _ : state) benchmark::DoNotOptimize(sum_words(all.data(), words));
  count(state, 8 * words);
}
BENCHMARK(reading_at_best)->Arg(4)->Arg(16)->Arg(64)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace scute
