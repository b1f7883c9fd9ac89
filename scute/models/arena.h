// Scratch memory of one forward pass: taken in stack order, reused by the next layer.
#pragma once

#include <cstdint>
#include <vector>

#include "scute/tensor/mat_view.h"
#include "scute/tensor/tensor.h"

namespace scute {

class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// rows × cols floats with any content, 64-byte aligned, valid until the scope that was open when
  /// they were taken ends.
  MatView<float> matrix(int64_t rows, int64_t cols);
  /// The same for 8-bit codes.
  MatView<int8_t> codes(int64_t rows, int64_t cols);
  int64_t bytes() const;

  /// Gives back on destruction what was taken since construction.
  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), top_(arena.top_) {}
    ~Scope() { arena_.top_ = top_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    size_t top_;
  };

 private:
  std::vector<Tensor> slots_;
  size_t top_ = 0;
};

}  // namespace scute
