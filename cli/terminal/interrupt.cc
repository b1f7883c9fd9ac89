#include "cli/terminal/interrupt.h"

#include <signal.h>

namespace scute::cli {
namespace {

// A signal handler reaches nothing but globals; the program, unlike the library, may have one.
std::atomic<bool> interrupted{false};
std::atomic<int> received{0};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

void on_signal(int number) {
  received = number;
  interrupted = true;
  ::signal(number, SIG_DFL);
}

void change_mask(int how) {
  sigset_t both;
  sigemptyset(&both);
  sigaddset(&both, SIGINT);
  sigaddset(&both, SIGTERM);
  pthread_sigmask(how, &both, nullptr);
}

}  // namespace

Interrupt::Interrupt() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

Interrupt::~Interrupt() {
  ::signal(SIGINT, SIG_DFL);
  ::signal(SIGTERM, SIG_DFL);
}

const std::atomic<bool>& Interrupt::flag() const { return interrupted; }

int Interrupt::exit_code() const { return received == 0 ? 0 : 128 + received; }

HoldInterrupts::HoldInterrupts() { change_mask(SIG_BLOCK); }

HoldInterrupts::~HoldInterrupts() { change_mask(SIG_UNBLOCK); }

}  // namespace scute::cli
