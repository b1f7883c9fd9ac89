// Work spread over a fixed number of threads.
#pragma once

#include <cstdint>
#include <functional>

namespace scute {

class Threads {
 public:
  /// `count` ≥ 1, or 0 for all processors this process may use.
  explicit Threads(int count = 0);

  int count() const { return count_; }

  /// Calls work(index, worker) once for each index in [0, n), on at most count() threads; `worker`
  /// is below count() and belongs to one thread at a time. Which worker gets which index is not
  /// fixed, so results must not depend on it. After an exception no further index is started, and
  /// the exception of the lowest failed index is thrown here.
  void for_each(int64_t n, const std::function<void(int64_t index, int worker)>& work) const;

 private:
  int count_;
};

}  // namespace scute
