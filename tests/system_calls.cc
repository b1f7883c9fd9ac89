#include "tests/system_calls.h"

#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/traced.h"

namespace scute {
namespace {

uint64_t inode_of(pid_t process, uint64_t descriptor) {
  struct stat status {};
  const std::string name = "/proc/" + std::to_string(process) + "/fd/" + std::to_string(descriptor);
  return ::stat(name.c_str(), &status) == 0 ? status.st_ino : 0;
}

void note(pid_t process, std::vector<SystemCall>& out) {
  __ptrace_syscall_info info{};
  if (::ptrace(PTRACE_GET_SYSCALL_INFO, process, sizeof(info), &info) <= 0 ||
      info.op != PTRACE_SYSCALL_INFO_ENTRY) {
    return;
  }
  if (info.entry.nr == SYS_fsync) {
    out.push_back({.kind = SystemCall::Kind::sync, .inode = inode_of(process, info.entry.args[0])});
  } else if (info.entry.nr == SYS_renameat2) {
    out.push_back(
        {.kind = SystemCall::Kind::rename, .to = traced_text(process, info.entry.args[3])});
  }
}

}  // namespace

std::vector<SystemCall> calls_of(const std::vector<std::string>& arguments, int& code) {
  std::vector<SystemCall> out;
  code = run_traced(arguments, [&](pid_t process) { note(process, out); });
  return out;
}

}  // namespace scute
