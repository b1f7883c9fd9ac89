// Scratch memory of one forward pass: taken in stack order, reused by the next layer.
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

#include "scute/base/checked.h"
#include "scute/tensor/mat_view.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// Memory that is taken in stack order and given back by scopes; belongs to one run.
class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// rows × cols floats with any content, 64-byte aligned, valid until the scope that was open when
  /// they were taken ends.
  MatView<float> matrix(int64_t rows, int64_t cols);
  /// The same for whole numbers.
  template <class T = int8_t>
  MatView<T> codes(int64_t rows, int64_t cols) {
    static_assert(std::is_integral_v<T>);
    constexpr auto kSize = static_cast<int64_t>(sizeof(T));
    const int64_t bytes =
        checked_mul(checked_mul(rows, cols, "scratch memory"), kSize, "scratch memory");
    return {reinterpret_cast<T*>(matrix(1, bytes / 4 + 1).data), rows, cols};
  }
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
