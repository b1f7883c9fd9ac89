// Outputs of a matrix side by side, and tiles of them shared by threads: internal to this layer.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>

#include "scute/base/threads.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// Outputs of a tile: with 32 a row of the Hessian that comes from the last cache, 8 bytes for each
/// 32 products, leaves two cores room beside its 20 GB/s.
constexpr int64_t kTileOutputs = 32;

/// Elements from one row of n to the next, so that rows of a power of two do not fall into one set
/// of the caches.
constexpr int64_t padded_stride(int64_t n) { return n + 8; }

/// inputs × kTileOutputs in double, zero, aligned: element (k, lane) is output `lane` of the tile.
class OutputTile {
 public:
  explicit OutputTile(int64_t inputs) : values_(DType::f64, {inputs, kTileOutputs}) {
    all_ = values_.mutable_matrix<double>();
  }
  double* row(int64_t k) { return all_.row(k); }
  const double* row(int64_t k) const { return all_.row(k); }
  MatView<double> rows(int64_t first, int64_t count) { return all_.slice_rows(first, count); }
  MatView<const double> rows(int64_t first, int64_t count) const {
    return all_.slice_rows(first, count);
  }

 private:
  Tensor values_;
  MatView<double> all_;
};

/// Calls work(first, count) for each tile of outputs, count ≤ kTileOutputs, on the team. An
/// exception (no memory left) is thrown here, whichever came first.
template <class Work>
void share_tiles(const Team& team, int64_t outputs, const Work& work) {
  std::exception_ptr failure;
  std::atomic<bool> failed{false};
  team.share((outputs + kTileOutputs - 1) / kTileOutputs, [&](int64_t i) noexcept {
    try {
      const int64_t first = i * kTileOutputs;
      if (!failed.load(std::memory_order_relaxed)) {
        work(first, std::min(kTileOutputs, outputs - first));
      }
    } catch (...) {
      if (!failed.exchange(true)) failure = std::current_exception();
    }
  });
  if (failure) std::rethrow_exception(failure);
}

}  // namespace scute
