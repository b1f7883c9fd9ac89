#include "tests/traced.h"

#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "tests/program.h"

namespace scute {
namespace {

[[noreturn]] void become_traced(const std::vector<std::string>& words) {
  ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
  const int nowhere = ::open("/dev/null", O_WRONLY);
  ::dup2(nowhere, STDOUT_FILENO);
  become(words);
}

}  // namespace

std::string traced_text(pid_t process, uint64_t address) {
  std::array<char, 4096> text{};
  iovec here{text.data(), text.size() - 1};
  iovec there{reinterpret_cast<void*>(address), here.iov_len};  // NOLINT(performance-no-int-to-ptr)
  while (::process_vm_readv(process, &here, 1, &there, 1, 0) < 0 && here.iov_len > 64) {
    here.iov_len = there.iov_len = here.iov_len / 2;  // its memory ends before
  }
  return text.data();
}

int run_traced(const std::vector<std::string>& arguments,
               const std::function<void(pid_t)>& at_call) {
  std::vector<std::string> words{SCUTE_PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  const pid_t child = ::fork();
  if (child == 0) become_traced(words);
  int status = 0, signal = 0;
  ::waitpid(child, &status, 0);  // it stops when it becomes the program
  ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  while (WIFSTOPPED(status)) {
    ::ptrace(PTRACE_SYSCALL, child, nullptr, signal);
    if (::waitpid(child, &status, 0) < 0) break;
    const bool call = WIFSTOPPED(status) && WSTOPSIG(status) == (SIGTRAP | 0x80);
    signal = !WIFSTOPPED(status) || call || WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
    if (call) at_call(child);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace scute
