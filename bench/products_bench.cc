// Float, 8-bit and 4-bit products and Gram matrices at the sizes of mamba-130m and mamba2-130m, one
// thread. "per_item" is the time for one multiply-add.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <vector>

#include "kernels_bench.h"
#include "scute/base/random.h"
#include "scute/kernels/gemm.h"
#include "scute/kernels/gemm_int4.h"
#include "scute/kernels/gemm_int8.h"
#include "scute/kernels/gram.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

constexpr int64_t kLength = 512, kWidth = 768, kInner = 1536;

/// The argument is the number of columns. An item is a multiply-add of the upper triangle.
void add_gram_of(benchmark::State& state) {
  const int64_t rows = 4 * kLength, n = state.range(0);
  Tensor x = normal(rows, n);
  std::vector<double> sums(static_cast<size_t>(TriangleView<double>::count(n)));
  for (auto _ : state) {
    add_gram(x.matrix<float>(), {sums.data(), n});
    benchmark::ClobberMemory();
  }
  count(state, rows * n * (n + 1) / 2);
}
BENCHMARK(add_gram_of)->Arg(kWidth)->Arg(kInner);

/// Arguments: rows, outputs, inputs.
void gemm_of(benchmark::State& state, Compute compute) {
  const int64_t rows = state.range(0), outputs = state.range(1), inputs = state.range(2);
  Tensor x = normal(rows, inputs), y(DType::f32, {rows, outputs});
  const Gemm gemm(normal(outputs, inputs, 0.05), compute);
  for (auto _ : state) {
    gemm(x.matrix<float>(), y.mutable_matrix<float>());
    benchmark::ClobberMemory();
  }
  state.SetLabel(std::string(gemm.backend()));
  count(state, rows * outputs * inputs);
}
void mamba_130m(benchmark::internal::Benchmark* benchmark) {
  for (const int64_t rows : {int64_t{1}, kLength}) {
    benchmark->Args({rows, 2 * kInner, kWidth});  // in_proj
    benchmark->Args({rows, 80, kInner});          // x_proj
    benchmark->Args({rows, kInner, 48});          // dt_proj
    benchmark->Args({rows, kWidth, kInner});      // out_proj
  }
}
BENCHMARK_CAPTURE(gemm_of, f32, Compute::f32)->Apply(mamba_130m);
BENCHMARK_CAPTURE(gemm_of, bf16, Compute::bf16)->Apply(mamba_130m);

/// Codes from −most to most.
Tensor codes(int64_t rows, int64_t cols, int64_t most) {
  Random random(static_cast<uint64_t>(rows * 1000003 + cols));
  Tensor out(DType::i8, {rows, cols});
  for (int8_t& code : out.mutable_values<int8_t>()) {
    const auto drawn = static_cast<int64_t>(random.below(static_cast<uint64_t>(2 * most + 1)));
    code = static_cast<int8_t>(drawn - most);
  }
  return out;
}

std::byte* bytes_of(Tensor& memory) {
  return reinterpret_cast<std::byte*>(memory.mutable_values<uint8_t>().data());
}
/// Prepared rows times all outputs, as floats; the time includes preparing them.
void time_product(benchmark::State& state, const GemmInt8& gemm) {
  const int64_t rows = state.range(0), outputs = gemm.outputs();
  const Tensor x = codes(rows, gemm.inputs(), 127), scales = normal(1, outputs);
  Tensor inputs(DType::u8, {gemm.input_bytes(rows)}), y(DType::f32, {rows, outputs});
  std::byte* prepared = bytes_of(inputs);
  for (auto _ : state) {
    gemm.prepare(x.matrix<int8_t>(), 0, rows, prepared);
    gemm.multiply(prepared, 0, scales.values<float>().data(), y.mutable_matrix<float>());
    benchmark::ClobberMemory();
  }
  state.SetLabel(std::string(gemm.backend()));
  state.SetBytesProcessed(state.iterations() * gemm.bytes());
  count(state, rows * outputs * gemm.inputs());
}
void gemm_int8_of(benchmark::State& state) {
  time_product(state, GemmInt8(codes(state.range(1), state.range(2), 127)));
}
/// Weights in 4 bits and two levels of scales, in groups of 128.
void gemm_two_level_of(benchmark::State& state) {
  const int64_t outputs = state.range(1), inputs = state.range(2);
  Tensor scales(DType::f32, {outputs, inputs / 128}), channel_scales(DType::f32, {outputs, 1});
  Random random(1);
  for (float& scale : scales.mutable_values<float>()) {
    scale = static_cast<float>(0.5 + 0.5 * random.uniform());
  }
  std::ranges::fill(channel_scales.mutable_values<float>(), 8.0f / 127);
  time_product(state, GemmInt8(codes(outputs, inputs, 7), scales, channel_scales));
}
void prompts_and_tokens(benchmark::internal::Benchmark* benchmark) {
  for (const int64_t rows : {1, 16, 512}) {
    benchmark->Args({rows, 2 * kInner, kWidth});             // in_proj
    benchmark->Args({rows, kWidth, kInner});                 // out_proj
    if (rows == 512) benchmark->Args({rows, 3352, kWidth});  // Mamba-2's in_proj
    if (rows < 512) benchmark->Args({rows, 50280, kWidth});  // the head: no cache holds it
  }
}
BENCHMARK(gemm_int8_of)->Apply(prompts_and_tokens);
BENCHMARK(gemm_two_level_of)->Apply(prompts_and_tokens);

// in_proj at generation and at one tile of rows, in the other weight formats.
void gemm_int4_of(benchmark::State& state) {
  constexpr int64_t kGroup = 128;
  const int64_t rows = state.range(0), outputs = state.range(1), inputs = state.range(2);
  const Tensor x = normal(rows, inputs);
  Tensor y(DType::f32, {rows, outputs});
  const GemmInt4 gemm(codes(outputs, inputs, 7), normal(outputs, inputs / kGroup), kGroup);
  for (auto _ : state) {
    gemm(x.matrix<float>(), y.mutable_matrix<float>());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * gemm.bytes());
  count(state, rows * outputs * inputs);
}
void one_row_and_one_tile(benchmark::internal::Benchmark* benchmark) {
  for (const int64_t rows : {1, 128}) benchmark->Args({rows, 2 * kInner, kWidth});
}
BENCHMARK_CAPTURE(gemm_of, f32_tile, Compute::f32)->Apply(one_row_and_one_tile);
BENCHMARK_CAPTURE(gemm_of, bf16_tile, Compute::bf16)->Apply(one_row_and_one_tile);
BENCHMARK(gemm_int4_of)->Apply(one_row_and_one_tile)->Args({1, 50280, kWidth});

}  // namespace
}  // namespace scute
