// Kernels at the sizes of mamba-130m and mamba2-130m, one thread. "per_item" is the time for one
// value, one state update (a token, a channel, a state) or one multiply-add.
#include "kernels_bench.h"

#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <vector>

#include "scute/base/random.h"
#include "scute/kernels/elementwise.h"
#include "scute/kernels/fixed_point.h"
#include "scute/kernels/gemm_int16.h"
#include "scute/kernels/hadamard.h"
#include "scute/kernels/histogram.h"
#include "scute/kernels/round.h"
#include "scute/kernels/scan.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

constexpr int64_t kLength = 512, kWidth = 768, kInner = 1536, kStates = 16, kTaps = 4;

Tensor negative(int64_t rows, int64_t cols) {
  Tensor out = normal(rows, cols, 4.0);
  for (float& v : out.mutable_values<float>()) v = v > 0 ? -v : v;
  return out;
}

enum Values { kNormal, kHeavyTailed, kZeros, kHalfZeros };

void count_buckets_of(benchmark::State& state, Values kind, int fine) {
  Tensor x = normal(kWidth, kInner);
  Random random(5);
  for (float& v : x.mutable_values<float>()) {
    // The ratio of normals is Cauchy: Student's t with one degree of freedom.
    if (kind == kHeavyTailed) v /= static_cast<float>(random.normal());
    if (kind == kZeros || (kind == kHalfZeros && v < 0)) v = 0;
  }
  std::vector<uint32_t> table(static_cast<size_t>(bucket_table_size(fine)));
  for (auto _ : state) {
    count_buckets(data(x), x.size(), fine, table.data());
    benchmark::ClobberMemory();
  }
  count(state, x.size());
}
BENCHMARK_CAPTURE(count_buckets_of, normal_fine8, kNormal, 8);
BENCHMARK_CAPTURE(count_buckets_of, normal_fine10, kNormal, 10);
BENCHMARK_CAPTURE(count_buckets_of, heavy_tailed_fine8, kHeavyTailed, 8);
BENCHMARK_CAPTURE(count_buckets_of, zeros_fine8, kZeros, 8);
BENCHMARK_CAPTURE(count_buckets_of, half_zeros_fine8, kHalfZeros, 8);

void scan_and_count_of(benchmark::State& state) {
  Tensor x = normal(kWidth, kInner);
  std::vector<uint32_t> table(static_cast<size_t>(bucket_table_size(8)));
  for (auto _ : state) {
    benchmark::DoNotOptimize(scan_and_count(data(x), x.size(), 8, table.data()));
    benchmark::ClobberMemory();
  }
  count(state, x.size());
}
BENCHMARK(scan_and_count_of);

void scan_values_of(benchmark::State& state) {
  Tensor x = normal(1, state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(scan_values(data(x), x.size()));
  count(state, x.size());
}
BENCHMARK(scan_values_of)->Arg(100'000)->Arg(kWidth* kInner);

void column_absmax_of(benchmark::State& state) {
  Tensor x = normal(kLength, kInner);
  std::vector<float> into(kInner);
  for (auto _ : state) {
    column_absmax(data(x), kLength, kInner, kInner, into.data());
    benchmark::ClobberMemory();
  }
  count(state, x.size());
}
BENCHMARK(column_absmax_of);

void column_abssum_of(benchmark::State& state) {
  Tensor x = normal(kLength, kInner);
  std::vector<double> sum(kInner);
  for (auto _ : state) {
    column_abssum(data(x), kLength, kInner, kInner, sum.data());
    benchmark::ClobberMemory();
  }
  count(state, x.size());
}
BENCHMARK(column_abssum_of);

void selective_scan_of(benchmark::State& state) {
  const int64_t length = state.range(0);
  Tensor x = normal(length, kInner), dt = normal(length, kInner, 1.0, -4.0);
  Tensor BC = normal(length, 80), A = negative(kInner, kStates), D = normal(1, kInner);
  Tensor bias(DType::f32, {kInner}), h(DType::f32, {kInner, kStates});
  Tensor y(DType::f32, {length, kInner});
  const SelectiveScan in{.x = x.matrix<float>(),
                         .dt = dt.matrix<float>(),
                         .B = BC.matrix<float>().columns(48, kStates),
                         .C = BC.matrix<float>().columns(64, kStates),
                         .A = A.matrix<float>(),
                         .D = data(D),
                         .dt_bias = data(bias)};
  for (auto _ : state) {
    selective_scan(in, h.mutable_matrix<float>(), y.mutable_matrix<float>());
    benchmark::ClobberMemory();
  }
  count(state, length * kInner * kStates);
}
BENCHMARK(selective_scan_of)->Arg(1)->Arg(kLength);

/// coded: on a state of 8-bit codes.
void head_scan_of(benchmark::State& state, bool coded) {
  constexpr int64_t kHeads = 24, kHeadWidth = 64, kHeadStates = 128;
  const int64_t length = state.range(0);
  Tensor xBC = normal(length, kInner + 2 * kHeadStates), dt = normal(length, kHeads, 1.0, -4.0);
  Tensor A = negative(1, kHeads), D = normal(1, kHeads), bias(DType::f32, {kHeads});
  Tensor h(DType::f32, {kInner, kHeadStates}), y(DType::f32, {length, kInner});
  const HeadScan in{.x = xBC.matrix<float>().columns(0, kInner),
                    .dt = dt.matrix<float>(),
                    .B = xBC.matrix<float>().columns(kInner, kHeadStates),
                    .C = xBC.matrix<float>().columns(kInner + kHeadStates, kHeadStates),
                    .A = data(A),
                    .D = data(D),
                    .D_per_channel = false,
                    .dt_bias = data(bias),
                    .heads = kHeads,
                    .head_width = kHeadWidth,
                    .groups = 1,
                    .state_size = kHeadStates,
                    .dt_min = 0.0f,
                    .dt_max = 1e30f};
  Tensor coded_h(DType::i8, {kInner, kHeadStates});
  const float scale = 0.02f;
  const CodedState codes{coded_h.mutable_matrix<int8_t>(), {&scale, 1, 1}, 7};
  for (auto _ : state) {
    if (coded) {
      head_scan(in, 0, kHeads, codes, y.mutable_matrix<float>());
    } else {
      head_scan(in, h.mutable_matrix<float>(), y.mutable_matrix<float>());
    }
    benchmark::ClobberMemory();
  }
  count(state, length * kInner * kHeadStates);
}
BENCHMARK_CAPTURE(head_scan_of, floats, false)->Arg(1)->Arg(kLength);
BENCHMARK_CAPTURE(head_scan_of, codes, true)->Arg(1);

void to_codes_stochastic_of(benchmark::State& state) {
  constexpr int64_t kRows = 64, kCols = 128;
  Tensor x = normal(kRows, kCols), codes(DType::i8, {kRows, kCols});
  const float scale = 0.02f;
  for (auto _ : state) {
    to_codes_stochastic(x.matrix<float>(), {&scale, 1, 1}, 7, codes.mutable_matrix<int8_t>());
    benchmark::ClobberMemory();
  }
  count(state, x.size());
}
BENCHMARK(to_codes_stochastic_of);

void rms_norm_of(benchmark::State& state) {
  Tensor x = normal(kLength, kWidth), weight = normal(1, kWidth), y(DType::f32, {kLength, kWidth});
  for (auto _ : state) {
    rms_norm(x.matrix<float>(), data(weight), kWidth, 1e-5f, y.mutable_matrix<float>());
    benchmark::ClobberMemory();
  }
  count(state, x.size());
}
BENCHMARK(rms_norm_of);

void gate_silu_of(benchmark::State& state) {
  Tensor x = normal(kLength, kInner), z = normal(kLength, kInner, 2.0);
  Tensor out(DType::f32, {kLength, kInner});
  for (auto _ : state) {
    gate_silu(x.matrix<float>(), z.matrix<float>(), out.mutable_matrix<float>());
    benchmark::ClobberMemory();
  }
  count(state, x.size());
}
BENCHMARK(gate_silu_of);

/// The argument is the number of rows.
void to_codes_of(benchmark::State& state) {
  Tensor x = normal(state.range(0), kInner), codes(DType::i8, {state.range(0), kInner});
  const float scale = 0.02f;
  for (auto _ : state) {
    to_codes(x.matrix<float>(), {&scale, 1, 1}, codes.mutable_matrix<int8_t>());
    benchmark::ClobberMemory();
  }
  count(state, x.size());
}
BENCHMARK(to_codes_of)->Arg(1)->Arg(kLength);

/// From the grid onto the grid: the values stay what they are.
void round_to_grid_of(benchmark::State& state) {
  Tensor x = normal(state.range(0), kInner);
  const float scale = 0.02f;
  for (auto _ : state) {
    round_to_grid(x.mutable_matrix<float>(), {&scale, 1, 1});
    benchmark::ClobberMemory();
  }
  count(state, x.size());
}
BENCHMARK(round_to_grid_of)->Arg(1)->Arg(kLength);

void causal_conv_silu_of(benchmark::State& state) {
  Tensor x = normal(kLength, kInner), weight = normal(kTaps, kInner), bias = normal(1, kInner);
  Tensor cache(DType::f32, {kTaps - 1, kInner}), y(DType::f32, {kLength, kInner});
  for (auto _ : state) {
    causal_conv_silu(x.matrix<float>(), data(weight), data(bias), kTaps,
                     cache.mutable_matrix<float>(), y.mutable_matrix<float>());
    benchmark::ClobberMemory();
  }
  count(state, x.size());
}
BENCHMARK(causal_conv_silu_of);

void log_sum_exp_of(benchmark::State& state) {
  Tensor x = normal(1, 50280, 3.0);
  for (auto _ : state) benchmark::DoNotOptimize(log_sum_exp(data(x), x.size()));
  count(state, x.size());
}
BENCHMARK(log_sum_exp_of);

void argmax_of(benchmark::State& state) {
  Tensor x = normal(1, 50280, 3.0);
  for (auto _ : state) benchmark::DoNotOptimize(argmax(data(x), x.size()));
  count(state, x.size());
}
BENCHMARK(argmax_of);

void hadamard_rows_of(benchmark::State& state) {
  Tensor x = normal(kLength, state.range(0));
  for (auto _ : state) {
    hadamard_rows(x.mutable_matrix<float>());
    benchmark::ClobberMemory();
  }
  count(state, x.size());
}
BENCHMARK(hadamard_rows_of)->Arg(kWidth)->Arg(kInner);

// The integer regressor's steps at the sizes of logo_2100: 64 windows of 3 patches, 128 channels.
constexpr int64_t kPatches = 3, kChannels = 128, kRows = 64 * kPatches;

/// Any code of 16 bits, `right` bits fewer.
Tensor codes16(int64_t rows, int64_t cols, int right = 0) {
  Random random(static_cast<uint64_t>(rows * 1000003 + cols));
  Tensor out(DType::i16, {rows, cols});
  for (int16_t& code : out.mutable_values<int16_t>()) {
    code = static_cast<int16_t>((static_cast<int32_t>(random.below(65536)) - 32768) >> right);
  }
  return out;
}

/// Arguments: rows, outputs, inputs, and the bits that weights are short of 16.
void gemm_int16_of(benchmark::State& state) {
  const int64_t rows = state.range(0), outputs = state.range(1), inputs = state.range(2);
  const Tensor x = codes16(rows, inputs);
  Tensor y(DType::i64, {rows, outputs});
  const GemmInt16 gemm(codes16(outputs, inputs, static_cast<int>(state.range(3))));
  for (auto _ : state) {
    gemm(x.matrix<int16_t>(), y.mutable_matrix<int64_t>());
    benchmark::ClobberMemory();
  }
  count(state, rows * outputs * inputs);
}
BENCHMARK(gemm_int16_of)
    ->Args({64, 64, 2100, 0})     // proj
    ->Args({64, 64, 2100, 8})     // in Q8.8
    ->Args({16, 64, 2100, 0})     // of one window
    ->Args({kRows, 256, 64, 0})   // in_proj
    ->Args({kRows, 128, 128, 0})  // dt_proj
    ->Args({kRows, 64, 128, 0});  // out_proj

void fixed_quantize_of(benchmark::State& state, double scale) {
  Tensor x = normal(64, 2100);
  Tensor y(DType::i16, x.shape());
  for (auto _ : state) {
    fixed_quantize(x.matrix<float>(), scale, 16, y.mutable_matrix<int16_t>());
    benchmark::ClobberMemory();
  }
  count(state, x.size());
}
BENCHMARK_CAPTURE(fixed_quantize_of, any_scale, 3e-4);
BENCHMARK_CAPTURE(fixed_quantize_of, power_of_two, 0x1p-8);

template <class Sum>
void fixed_requantize_of(benchmark::State& state) {
  Tensor sums(dtype_of<Sum>(), {kRows, kChannels}), y(DType::i16, {kRows, kChannels});
  Random random(3);
  for (Sum& sum : sums.mutable_values<Sum>()) sum = static_cast<Sum>(random.below(1 << 20));
  const std::vector<double> factor(kChannels, 0.01), bias(kChannels, 17);
  for (auto _ : state) {
    fixed_requantize(sums.matrix<Sum>(), factor.data(), bias.data(), 16,
                     y.mutable_matrix<int16_t>());
    benchmark::ClobberMemory();
  }
  count(state, y.size());
}
BENCHMARK(fixed_requantize_of<int64_t>);
BENCHMARK(fixed_requantize_of<int32_t>);

/// Calls step(x, y) for codes within ±8192.
template <class Step>
void fixed_step(benchmark::State& state, int64_t cols, const Step& step) {
  const Tensor x = codes16(kRows, cols, 2);
  Tensor y(DType::i16, x.shape());
  for (auto _ : state) {
    step(x.matrix<int16_t>(), y.mutable_matrix<int16_t>());
    benchmark::ClobberMemory();
  }
  count(state, x.size());
}
using CodesIn = MatView<const int16_t>;
using CodesOut = MatView<int16_t>;
void fixed_silu_of(benchmark::State& state) {
  const int fraction = static_cast<int>(state.range(0));
  fixed_step(state, kChannels, [&](CodesIn x, CodesOut y) { fixed_silu(x, fraction, 1e-5, y); });
}
BENCHMARK(fixed_silu_of)->Arg(8)->Arg(11);

void fixed_window_conv_of(benchmark::State& state) {
  const Tensor weight = codes16(5, kChannels);
  const std::vector<double> factor(kChannels, 1e-5), bias(kChannels, 17);
  const FixedConv conv{weight.values<int16_t>().data(), factor.data(), bias.data(), 5, 2};
  fixed_step(state, kChannels,
             [&](CodesIn x, CodesOut y) { fixed_window_conv(conv, x, kPatches, y); });
}
BENCHMARK(fixed_window_conv_of);

void fixed_window_mean_scan_of(benchmark::State& state) {
  const Tensor logit = codes16(kRows, kChannels);
  fixed_step(state, kChannels, [&](CodesIn x, CodesOut y) {
    fixed_window_mean_scan(x, logit.matrix<int16_t>(), 12, kPatches, y);
  });
}
BENCHMARK(fixed_window_mean_scan_of);

void fixed_rms_norm_of(benchmark::State& state) {
  const std::vector<int64_t> gain(64, 12345678);
  fixed_step(state, 64, [&](CodesIn x, CodesOut y) {
    fixed_rms_norm(x, {gain.data(), 1000}, 16, y);
  });
}
BENCHMARK(fixed_rms_norm_of);

void fixed_gate_of(benchmark::State& state) {
  fixed_step(state, kChannels, [](CodesIn x, CodesOut y) { fixed_gate(x, x, 1e-3, 16, y); });
}
BENCHMARK(fixed_gate_of);

}  // namespace
}  // namespace scute
