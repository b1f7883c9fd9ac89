#include "scute/models/arena.h"

namespace scute {

MatView<float> Arena::matrix(int64_t rows, int64_t cols) {
  const int64_t size = checked_mul(rows, cols, "scratch memory");
  if (top_ == slots_.size()) slots_.emplace_back();
  Tensor& slot = slots_[top_++];
  // Every layer takes the same sizes in the same order, so slots rarely grow.
  if (slot.size() < size) slot = Tensor(DType::f32, {size});
  return {slot.mutable_values<float>().data(), rows, cols};
}

int64_t Arena::bytes() const {
  int64_t total = 0;
  for (const Tensor& slot : slots_) total += static_cast<int64_t>(slot.bytes().size());
  return total;
}

}  // namespace scute
