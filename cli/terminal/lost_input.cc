#include "cli/terminal/lost_input.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "cli/terminal/interrupt.h"

namespace scute::cli {
namespace {

// With nothing but what a signal handler may call; large enough for a line of /proc/self/maps.
constexpr size_t kLine = 4096 + 128;

/// Whether the line "begin-end perms offset device inode   path" is of the mapping at `address`.
bool covers(const char* line, uintptr_t address) {
  char* rest = nullptr;
  const uintptr_t begin = std::strtoull(line, &rest, 16);
  if (*rest != '-') return false;
  return begin <= address && address < std::strtoull(rest + 1, nullptr, 16);
}

/// Says the path at the end of the line; false when there is none.
bool say_path(const char* line) {
  const char* path = std::strchr(line, '/');
  if (path != nullptr) say_from_handler(path);
  return path != nullptr;
}

/// The file that is mapped at `address`.
void say_file(uintptr_t address) {
  const int maps = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  std::array<char, kLine> line{};
  size_t length = 0;
  char next = 0;
  while (maps >= 0 && ::read(maps, &next, 1) == 1) {
    if (next != '\n') {
      if (length + 1 < line.size()) line[length++] = next;
      continue;
    }
    line[length] = '\0';
    length = 0;
    if (covers(line.data(), address) && say_path(line.data())) return;
  }
  say_from_handler("a mapped file");
}

void on_bus_error(int number, siginfo_t* info, void*) {
  constexpr int kFailed = 1;
  forsake_claims();
  if (info->si_code != BUS_ADRERR) {
    ::signal(number, SIG_DFL);
    ::raise(number);
    return;
  }
  say_from_handler("scute: error: ");
  say_file(reinterpret_cast<uintptr_t>(info->si_addr));
  say_from_handler(
      ": expected the same file from beginning to end, found that it was cut short while it was "
      "read\n");
  ::_exit(kFailed);
}

}  // namespace

void name_lost_inputs() {
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace scute::cli
