// Work spread over a fixed number of threads, also inside work that is spread already.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace scute {

class Threads;

/// The right to ask the idle threads of a Threads for help: what a piece of work of its for_each()
/// hands down to loops inside it. Without work elsewhere all of them come; with enough of it, none.
class Team {
 public:
  /// Alone.
  Team() = default;

  /// How many threads could take part now, this one included: a hint that may be old at once.
  int size() const;
  /// Calls part(i) once for each i in [0, n), on this thread and on those that are idle now, and
  /// returns when all are done. `part` is noexcept, and results must not depend on who does what.
  /// Not inside a part. A helper begins within 2 µs when it is awake (bench/threads_bench: 0.4 to
  /// 1.8; a loop as short as that is over before): they stay so for 200 µs.
  template <class Part>
  void share(int64_t n, const Part& part) const {
    const auto call = [](const void* what, int64_t index, int) noexcept {
      (*static_cast<const Part*>(what))(index);
    };
    if (n > 1 && threads_ != nullptr) return share_parts(n, call, &part);
    for (int64_t i = 0; i < n; ++i) part(i);
  }

 private:
  friend class Threads;
  using Call = void (*)(const void* what, int64_t index, int worker) noexcept;
  Team(const Threads& threads, int worker);
  void share_parts(int64_t n, Call call, const void* what) const;

  const Threads* threads_ = nullptr;  ///< null: alone
  int worker_ = 0;
};

/// A fixed number of threads that share out numbered work; copies use the same ones.
class Threads {
 public:
  /// `count` ≥ 1, or 0 for all processors this process may use. The threads start with the first
  /// work for more than one and end with the last copy of this.
  explicit Threads(int count = 0);

  int count() const { return count_; }

  /// Calls work(index, worker) once for each index in [0, n), on at most count() threads; `worker`
  /// is below count() and belongs to one thread at a time. Which worker gets which index is not
  /// fixed, so results must not depend on it. After an exception no further index is started, and
  /// the exception of the lowest failed index is thrown here. Called while another for_each() of
  /// this object runs, it works on the calling thread alone.
  void for_each(int64_t n, const std::function<void(int64_t index, int worker)>& work) const;

  /// For the worker of that number inside for_each(), or, with 0, outside of it. This object must
  /// live as long.
  Team team(int worker = 0) const { return {*this, worker}; }

 private:
  friend class Team;
  class Pool;

  int count_;
  std::shared_ptr<Pool> pool_;
};

}  // namespace scute
