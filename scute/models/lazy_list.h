// A list whose elements are made by who first needs them.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "scute/models/run.h"

namespace scute {

/// Copies share their elements, which never change once they are there. From any thread.
template <class T>
class LazyList {
 public:
  void add(T element) {
    slots_.emplace_back();
    put(size() - 1, std::move(element));
  }
  /// One that `make` makes when it is first asked for. What `make` holds is given back then; what
  /// it throws, at() throws whenever it is asked.
  void add(std::function<T()> make) {
    slots_.push_back(std::make_shared<Slot>());
    slots_.back()->make = std::move(make);
  }

  int64_t size() const { return std::ssize(slots_); }
  /// Makes it here unless it is made or at work elsewhere.
  const T& at(int64_t index) const { return slot(index).get(); }
  /// The same in a pass: as many of the next elements as `run` finds idle threads are made beside
  /// it, and who must wait for one that is at work elsewhere makes the next meanwhile.
  const T& at(int64_t index, const Run& run) const {
    Slot& wanted = slot(index);
    if (!wanted.is_done()) {
      const int64_t count = std::min(kAhead, size() - index);
      // One a stretch: of a run without helpers there is one stretch.
      run.split(count, int64_t{1} << 40, [&](int64_t, int64_t) { make_next(index, count); });
      while (!wanted.is_done() && make_next(index, count)) {
      }
    }
    return wanted.get();
  }
  /// Null until it is made.
  const T* peek(int64_t index) const {
    const Slot& found = slot(index);
    return found.is_done() && found.element ? &*found.element : nullptr;
  }
  /// In place of what was there, in this list alone.
  void put(int64_t index, T element) {
    auto slot = std::make_shared<Slot>();
    slot->element = std::move(element);
    slot->state = Slot::done;
    slots_[static_cast<size_t>(index)] = std::move(slot);
  }
  /// Takes the element of that index from `other`.
  void share(int64_t index, const LazyList& other) {
    slots_[static_cast<size_t>(index)] = other.slots_[static_cast<size_t>(index)];
  }

 private:
  /// Elements that are made ahead of the one that is needed, at most.
  static constexpr int64_t kAhead = 16;

  struct Slot {
    enum State { waiting, at_work, done };
    std::atomic<int> state{waiting};
    std::function<T()> make;
    std::optional<T> element;  ///< of a slot that is done, or the error
    std::exception_ptr error;

    bool is_done() const { return state.load(std::memory_order_acquire) == done; }
    /// False when somebody else does it or did it.
    bool try_make() noexcept {
      int expected = waiting;
      if (!state.compare_exchange_strong(expected, at_work)) return false;
      try {
        element = make();
      } catch (...) {
        error = std::current_exception();
      }
      make = nullptr;  // gives the memory that it holds back
      state = done;
      state.notify_all();
      return true;
    }
    const T& get() {
      try_make();
      for (int now = state; now != done; now = state) state.wait(now);
      if (error) std::rethrow_exception(error);
      return *element;
    }
  };

  Slot& slot(int64_t index) const { return *slots_[static_cast<size_t>(index)]; }
  bool make_next(int64_t index, int64_t count) const noexcept {
    for (int64_t i = index; i < index + count; ++i) {
      if (slot(i).try_make()) return true;
    }
    return false;
  }

  std::vector<std::shared_ptr<Slot>> slots_;
};

}  // namespace scute
