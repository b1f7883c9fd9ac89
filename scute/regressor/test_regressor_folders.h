// For tests: feature folders in memory.
#pragma once

#include <string>
#include <vector>

#include "scute/base/random.h"
#include "scute/data/features.h"
#include "scute/models/regressor/config.h"

namespace scute::testing_folders {

/// Sequences of 90 and 40 random frames of deviation 1, whose windows overlap; the first has more
/// than a piece of 64.
inline FeatureFolder random_folder(const RegressorConfig& config, uint64_t seed) {
  FeatureFolder out{"memory", FeatureRole::eval, {}, {}, {}};
  Random random(seed);
  for (const auto& [name, frames] : {std::pair<std::string, int64_t>{"a", 90}, {"b", 40}}) {
    FeatureSequence sequence{name,
                             Tensor(DType::f32, {frames, config.features}),
                             Tensor(DType::f32, {frames, 2}),
                             {},
                             {}};
    for (Tensor* tensor : {&sequence.frames, &sequence.positions}) {
      for (float& x : tensor->mutable_values<float>()) x = static_cast<float>(random.normal());
    }
    for (int64_t end = config.window; end < frames; ++end) sequence.ends.push_back(end);
    out.sequences.push_back(std::move(sequence));
  }
  return out;
}

}  // namespace scute::testing_folders
