#include "cli/terminal/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <string_view>

namespace scute::cli {
namespace {

// A signal handler reaches nothing but globals; the program, unlike the library, may have one.
std::atomic<bool> interrupted{false};
std::atomic<int> received{0};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

/// Only what a signal handler may call.
void say(std::string_view text) {
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

void end_program(int number) {
  if (::isatty(STDERR_FILENO) == 1) say("\r\033[K");
  say("scute: interrupted; files under the names asked for are complete or as they were\n");
  ::_exit(128 + number);
}

void on_signals(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void on_signal(int number) {
  received = number;
  interrupted = true;
  on_signals(end_program);
}

void change_mask(int how) {
  sigset_t both;
  sigemptyset(&both);
  sigaddset(&both, SIGINT);
  sigaddset(&both, SIGTERM);
  pthread_sigmask(how, &both, nullptr);
}

}  // namespace

void end_on_signals() { on_signals(end_program); }

Interrupt::Interrupt() { on_signals(on_signal); }

Interrupt::~Interrupt() { end_on_signals(); }

const std::atomic<bool>& Interrupt::flag() const { return interrupted; }

int Interrupt::exit_code() const { return received == 0 ? 0 : 128 + received; }

HoldInterrupts::HoldInterrupts() { change_mask(SIG_BLOCK); }

HoldInterrupts::~HoldInterrupts() { change_mask(SIG_UNBLOCK); }

}  // namespace scute::cli
