// Kernels at the sizes of Cobra's vision towers, one thread: DINOv2's 734 tokens of 1024 channels
// in 16 heads of 64, SigLIP's heads of 72. "per_item" is the time for one value or one
// multiply-add.
#include "scute/kernels/attention.h"

#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <vector>

#include "kernels_bench.h"
#include "scute/kernels/gemm.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

constexpr int64_t kTokens = 734, kWidth = 1024, kHeads = 16;

void layer_norm_of(benchmark::State& state) {
  Tensor x = normal(kTokens, kWidth), weight = normal(1, kWidth), bias = normal(2, kWidth);
  Tensor y(DType::f32, {kTokens, kWidth});
  for (auto _ : state) {
    layer_norm(x.matrix<float>(), data(weight), data(bias), 1e-6f, y.mutable_matrix<float>());
    benchmark::ClobberMemory();
  }
  count(state, x.size());
}
BENCHMARK(layer_norm_of);

void gelu_of(benchmark::State& state) {
  // Around 12, where x·Φ(x) is x: others would shrink to subnormal numbers, pass by pass.
  Tensor x = normal(kTokens, 4 * kWidth, 1.0, 12.0);
  for (auto _ : state) {
    gelu(x.mutable_matrix<float>());
    benchmark::ClobberMemory();
  }
  count(state, x.size());
}
BENCHMARK(gelu_of);

/// The argument is the head's width; q, k and v lie side by side in the rows of all heads. An item
/// is a multiply-add of either product.
void attention_of(benchmark::State& state) {
  const int64_t width = state.range(0), all = kHeads * width;
  const Tensor qkv = normal(kTokens, 3 * all);
  const MatView<const float> from = qkv.matrix<float>();
  Tensor y(DType::f32, {kTokens, all});
  std::vector<float> scratch(static_cast<size_t>(attention_scratch(kTokens, width)));
  for (auto _ : state) {
    attention(from.columns(0, width), from.columns(all, width), from.columns(2 * all, width),
              0.125f, scratch.data(), y.mutable_matrix<float>().columns(0, width));
    benchmark::ClobberMemory();
  }
  count(state, 2 * kTokens * kTokens * width);
}
BENCHMARK(attention_of)->Arg(64)->Arg(72);

/// The two products of attention_of alone, weights packed beforehand. Arguments: outputs, inputs.
void product_of(benchmark::State& state) {
  const int64_t outputs = state.range(0), inputs = state.range(1);
  const Tensor x = normal(kTokens, inputs);
  Tensor y(DType::f32, {kTokens, outputs});
  const Gemm gemm(normal(outputs, inputs), Compute::f32);
  for (auto _ : state) {
    gemm(x.matrix<float>(), y.mutable_matrix<float>());
    benchmark::ClobberMemory();
  }
  state.SetLabel(std::string(gemm.backend()));
  count(state, kTokens * outputs * inputs);
}
BENCHMARK(product_of)
    ->Args({kTokens, 64})
    ->Args({64, kTokens})
    ->Args({kTokens, 72})
    ->Args({72, kTokens});

}  // namespace
}  // namespace scute
