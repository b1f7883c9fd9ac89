#include "scute/models/language/blocks.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <optional>
#include <utility>

namespace scute {
namespace {

/// Blocks that are packed ahead of the one that is needed, at most.
constexpr int64_t kAhead = 16;

}  // namespace

struct LanguageBlocks::Slot {
  enum State { waiting, at_work, done };
  std::atomic<int> state{waiting};
  std::function<LanguageBlock()> pack;
  std::optional<LanguageBlock> block;  ///< of a slot that is done, or the error
  std::exception_ptr error;

  bool is_done() const { return state.load(std::memory_order_acquire) == done; }
  /// False when somebody else does it or did it.
  bool try_pack() noexcept {
    int expected = waiting;
    if (!state.compare_exchange_strong(expected, at_work)) return false;
    try {
      block = pack();
    } catch (...) {
      error = std::current_exception();
    }
    pack = nullptr;  // gives the checkpoint's memory back
    state = done;
    state.notify_all();
    return true;
  }
  const LanguageBlock& get() {
    try_pack();
    for (int now = state; now != done; now = state) state.wait(now);
    if (error) std::rethrow_exception(error);
    return *block;
  }
};

void LanguageBlocks::add(LanguageBlock block) {
  slots_.push_back(std::make_shared<Slot>());
  slots_.back()->block = std::move(block);
  slots_.back()->state = Slot::done;
}

void LanguageBlocks::add(std::function<LanguageBlock()> pack) {
  slots_.push_back(std::make_shared<Slot>());
  slots_.back()->pack = std::move(pack);
}

const LanguageBlock& LanguageBlocks::at(int64_t index) const { return slot(index).get(); }

const LanguageBlock& LanguageBlocks::at(int64_t index, const Run& run) const {
  Slot& wanted = slot(index);
  if (!wanted.is_done()) {
    const int64_t count = std::min(kAhead, size() - index);
    // One a stretch: of a run without helpers there is one stretch.
    run.split(count, int64_t{1} << 40, [&](int64_t, int64_t) { pack_next(index, count); });
    while (!wanted.is_done() && pack_next(index, count)) {
    }
  }
  return wanted.get();
}

const LanguageBlock* LanguageBlocks::peek(int64_t index) const {
  const Slot& found = slot(index);
  return found.is_done() && found.block ? &*found.block : nullptr;
}

void LanguageBlocks::share(int64_t index, const LanguageBlocks& other) {
  slots_[static_cast<size_t>(index)] = other.slots_[static_cast<size_t>(index)];
}

bool LanguageBlocks::pack_next(int64_t index, int64_t count) const noexcept {
  for (int64_t i = index; i < index + count; ++i) {
    if (slot(i).try_pack()) return true;
  }
  return false;
}

}  // namespace scute
