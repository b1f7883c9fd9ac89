// The residual blocks of a language model, packed by who first needs them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <variant>
#include <vector>

#include "scute/models/language/mamba1.h"
#include "scute/models/language/mamba2.h"

namespace scute {

struct LanguageBlock {
  std::vector<float> norm;
  std::variant<Mamba1Mixer, Mamba2Mixer> mixer;
};

/// Copies share their blocks, which never change once they are there. From any thread.
class LanguageBlocks {
 public:
  void add(LanguageBlock block);
  /// One that `pack` makes when it is first asked for. What `pack` holds is given back then; what
  /// it throws, at() throws whenever it is asked.
  void add(std::function<LanguageBlock()> pack);

  int64_t size() const { return std::ssize(slots_); }
  /// Packs it here unless it is packed or at work elsewhere.
  const LanguageBlock& at(int64_t index) const;
  /// The same in a pass: as many of the next blocks as `run` finds idle threads are packed beside
  /// it, and who must wait for one that is at work elsewhere packs the next meanwhile.
  const LanguageBlock& at(int64_t index, const Run& run) const;
  /// Null until it is packed.
  const LanguageBlock* peek(int64_t index) const;
  /// Takes the block of that index from `other`.
  void share(int64_t index, const LanguageBlocks& other);

 private:
  struct Slot;
  Slot& slot(int64_t index) const { return *slots_[static_cast<size_t>(index)]; }
  bool pack_next(int64_t index, int64_t count) const noexcept;

  std::vector<std::shared_ptr<Slot>> slots_;
};

}  // namespace scute
