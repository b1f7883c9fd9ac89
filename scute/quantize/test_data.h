// For tests: square matrices and random weights.
#pragma once

#include <cstdint>
#include <vector>

#include "scute/base/random.h"
#include "scute/tensor/tensor.h"

namespace scute {

struct Square {
  explicit Square(int64_t size) : n(size), values(static_cast<size_t>(size * size), 0) {}
  double& at(int64_t i, int64_t j) { return values[static_cast<size_t>(i * n + j)]; }
  double at(int64_t i, int64_t j) const { return values[static_cast<size_t>(i * n + j)]; }
  MatView<const double> view() const { return {values.data(), n, n}; }

  int64_t n;
  std::vector<double> values;
};

inline Tensor random_weight(int64_t outputs, int64_t inputs, uint64_t seed) {
  Tensor out(DType::f32, {outputs, inputs});
  Random random(seed);
  for (float& w : out.mutable_values<float>()) w = static_cast<float>(random.normal());
  return out;
}

}  // namespace scute
