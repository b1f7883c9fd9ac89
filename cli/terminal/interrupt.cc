#include "cli/terminal/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <array>

#include "cli/terminal/listener.h"

namespace scute::cli {
namespace {

// A signal handler reaches nothing but globals; the program, unlike the library, may have one.
std::atomic<bool> interrupted{false};
std::atomic<int> received{0};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

/// Claims of outputs on which nothing is written yet; more than a verb has.
constexpr size_t kMostClaims = 16;
std::array<std::atomic<const Claim*>, kMostClaims> claims{};
static_assert(std::atomic<const Claim*>::is_always_lock_free);

/// Ctrl-C, what ends processes, and what batch systems send before a time limit (Slurm's --signal).
constexpr std::array kSignals{SIGINT, SIGTERM, SIGUSR1};

void end_program(int number) {
  forsake_claims();
  if (::isatty(STDERR_FILENO) == 1) say_from_handler("\r\033[K");
  say_from_handler(
      "scute: interrupted; files under the names asked for are complete or as they were\n");
  ::_exit(128 + number);
}

/// Without SA_RESTART: what waits for a pipe ends.
void on_signals(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  for (const int number : kSignals) sigaction(number, &action, nullptr);
}

void on_signal(int number) {
  received = number;
  interrupted = true;
  on_signals(end_program);
}

void change_mask(int how) {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : kSignals) sigaddset(&set, number);
  pthread_sigmask(how, &set, nullptr);
}

}  // namespace

void say_from_handler(std::string_view words) {
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, words.data(), words.size());
}

void forsake_claims() {
  for (const auto& entry : claims) {
    const Claim* claim = entry;
    if (claim == nullptr) continue;
    ::rmdir(claim->payload().c_str());  // an empty folder, or nothing
    if (::access(claim->payload().c_str(), F_OK) == 0) continue;
    if (::access(claim->checkpoint().c_str(), F_OK) == 0) continue;
    ::unlink(claim->marker().c_str());
    ::rmdir(claim->folder().c_str());
  }
}

void end_on_signals() {
  interrupted = false;
  received = 0;
  on_signals(end_program);
}

Interrupt::Interrupt() {
  if (listener() == nullptr) on_signals(on_signal);
}

Interrupt::~Interrupt() {
  if (listener() == nullptr) on_signals(end_program);
}

const std::atomic<bool>& Interrupt::flag() const {
  const Listener* heard = listener();
  return heard == nullptr ? interrupted : heard->stop;
}

int Interrupt::exit_code() const {
  const Listener* heard = listener();
  const int number = heard == nullptr ? received.load() : heard->stop ? SIGINT : 0;
  return number == 0 ? 0 : 128 + number;
}

ForsakenClaim::ForsakenClaim(const Claim& claim) : claim_(&claim) {
  for (auto& entry : claims) {
    const Claim* none = nullptr;
    if (entry.compare_exchange_strong(none, claim_)) return;
  }
}

ForsakenClaim::~ForsakenClaim() {
  for (auto& entry : claims) {
    const Claim* mine = claim_;
    entry.compare_exchange_strong(mine, nullptr);
  }
}

HoldInterrupts::HoldInterrupts() { change_mask(SIG_BLOCK); }

HoldInterrupts::~HoldInterrupts() { change_mask(SIG_UNBLOCK); }

}  // namespace scute::cli
