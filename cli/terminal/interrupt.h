// Ctrl-C, which ends every verb within a second; SIGTERM and SIGUSR1 do the same.
#pragma once

#include <atomic>
#include <string_view>

#include "scute/io/claim.h"

namespace scute::cli {

/// From here on SIGINT, SIGTERM and SIGUSR1 wipe what a bar left on the terminal's line, say that
/// the work was interrupted, and end the program with 128 + the signal's number: what is written
/// under its own name is complete, anything else is left beside it and taken away by the next run.
void end_on_signals();

/// While it lives, the first of these signals only sets the flag; a second one ends the program as
/// above. With a Listener its `stop` is the flag, and signals are nobody's here.
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

/// While it lives, a signal that ends the program removes the claim, unless something was written
/// to it: that is for the next writer, who can tell whose it was.
class ForsakenClaim {
 public:
  explicit ForsakenClaim(const Claim& claim);
  ~ForsakenClaim();
  ForsakenClaim(const ForsakenClaim&) = delete;
  ForsakenClaim& operator=(const ForsakenClaim&) = delete;

 private:
  const Claim* claim_;
};

/// Words on standard error from a signal's handler, which may call little else.
void say_from_handler(std::string_view words);

/// What a signal that ends the program does about them; it may be called by a signal's handler.
void forsake_claims();

/// While it lives, these signals wait: a file being written is finished first. Of this thread
/// and those it starts.
class HoldInterrupts {
 public:
  HoldInterrupts();
  ~HoldInterrupts();
  HoldInterrupts(const HoldInterrupts&) = delete;
  HoldInterrupts& operator=(const HoldInterrupts&) = delete;
};

}  // namespace scute::cli
