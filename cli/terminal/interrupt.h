// Ctrl-C.
#pragma once

#include <atomic>

namespace scute::cli {

/// While it lives, the first SIGINT or SIGTERM only sets the flag; a second one ends the program.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  const std::atomic<bool>& flag() const;
  /// 128 + the signal's number, as shells report it; 0 when there was none.
  int exit_code() const;
};

/// While it lives, SIGINT and SIGTERM wait: a file being written is finished first. Of this thread
/// and those it starts.
class HoldInterrupts {
 public:
  HoldInterrupts();
  ~HoldInterrupts();
  HoldInterrupts(const HoldInterrupts&) = delete;
  HoldInterrupts& operator=(const HoldInterrupts&) = delete;
};

}  // namespace scute::cli
