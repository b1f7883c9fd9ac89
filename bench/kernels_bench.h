// What the kernels' benchmarks share: inputs and the counter.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>

#include "scute/base/random.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// A 64-byte aligned matrix of normal values.
inline Tensor normal(int64_t rows, int64_t cols, double scale = 1.0, double offset = 0.0) {
  Random random(static_cast<uint64_t>(rows * 1000003 + cols));
  Tensor out(DType::f32, {rows, cols});
  for (float& v : out.mutable_values<float>()) {
    v = static_cast<float>(offset + scale * random.normal());
  }
  return out;
}

inline float* data(Tensor& tensor) { return tensor.mutable_values<float>().data(); }

inline void count(benchmark::State& state, int64_t items_per_iteration) {
  state.counters["per_item"] = benchmark::Counter(
      static_cast<double>(items_per_iteration),
      benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

}  // namespace scute
