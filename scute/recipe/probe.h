// Probes: named tensors that a model computes, to tell whether a folder holds the same model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scute/tensor/tensor.h"

namespace scute {

constexpr uint64_t kProbeSeed = 1;  ///< of the probes that folders are checked with

/// How far two models are apart on the same probe.
struct ProbeComparison {
  int64_t values = 0;     ///< compared
  int64_t tokens = 0;     ///< rows of the tensor "logits"; 0 when it is not among them
  bool identical = true;  ///< every bit
  double largest = 0;     ///< |difference| / largest magnitude of `a`, the most of any tensor
};

/// Error naming the first tensor with NaN or infinity in it.
void require_finite(const std::vector<NamedTensor>& probes);

/// Two lists of F32 tensors, pair by pair. Error when their numbers or shapes differ, naming the
/// tensor, and as require_finite().
ProbeComparison compare_probes(const std::vector<NamedTensor>& a,
                               const std::vector<NamedTensor>& b);

/// The same of what a model in memory computes and what its folder, loaded again, does; Error
/// naming `path` unless every bit is the same.
ProbeComparison require_same_bits(const std::vector<NamedTensor>& memory,
                                  const std::vector<NamedTensor>& stored, const std::string& path);

}  // namespace scute
