// The table of token vectors, float or quantized; perhaps also the head's matrix.
#pragma once

#include <cstdint>
#include <span>
#include <variant>

#include "scute/models/linear.h"

namespace scute {

/// The vectors of tokens, float or quantized.
class Embedding {
 public:
  Embedding() = default;
  explicit Embedding(const LinearTensors& tensors);

  /// out: ids × D. Error naming the first id that is not below the vocabulary.
  void operator()(std::span<const int32_t> ids, MatView<float> out) const;
  int64_t bytes() const;

 private:
  int64_t vocabulary_ = 0;
  std::variant<Tensor, QuantizedWeight> table_;
};

}  // namespace scute
