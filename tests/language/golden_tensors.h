// Tensors by name, and how far they are from a reference's.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "scute/io/safetensors.h"

namespace scute::test {

using Tensors = std::map<std::string, Tensor>;

inline Tensors by_name(std::vector<NamedTensor> tensors) {
  Tensors out;
  for (NamedTensor& named : tensors) out.emplace(std::move(named.name), std::move(named.tensor));
  return out;
}

inline double largest(const Tensor& tensor) {
  double most = 0;
  for (const float x : tensor.values<float>()) most = std::max(most, std::abs(double{x}));
  return most;
}

/// The largest difference as a share of the reference's largest magnitude; NaN counts as infinite.
inline double distance(const Tensor& got, const Tensor& reference) {
  EXPECT_EQ(got.shape(), reference.shape());
  if (got.shape() != reference.shape()) return INFINITY;
  const auto a = got.values<float>(), b = reference.values<float>();
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(double{a[i]} - double{b[i]});
    if (!(difference <= most)) most = std::isnan(difference) ? INFINITY : difference;
  }
  return most / largest(reference);
}

}  // namespace scute::test
