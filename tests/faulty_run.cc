#include "tests/faulty_run.h"

#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <optional>
#include <utility>

#include "tests/traced.h"

namespace scute {
namespace {

/// Where the file that a call changes stands among its arguments.
struct Change {
  long number;
  const char* name;
  enum class By { descriptor, path } by;
  int argument;
};
constexpr Change kChanges[] = {
    {SYS_write, "write", Change::By::descriptor, 0},
    {SYS_pwrite64, "pwrite", Change::By::descriptor, 0},
    {SYS_writev, "writev", Change::By::descriptor, 0},
    {SYS_fsync, "fsync", Change::By::descriptor, 0},
    {SYS_fdatasync, "fdatasync", Change::By::descriptor, 0},
    {SYS_ftruncate, "ftruncate", Change::By::descriptor, 0},
    {SYS_fallocate, "fallocate", Change::By::descriptor, 0},
    {SYS_fsetxattr, "fsetxattr", Change::By::descriptor, 0},
    {SYS_rename, "rename", Change::By::path, 1},
    {SYS_renameat2, "renameat2", Change::By::path, 3},
    {SYS_renameat, "renameat", Change::By::path, 3},
    {SYS_linkat, "linkat", Change::By::path, 3},
    {SYS_mkdir, "mkdir", Change::By::path, 0},
    {SYS_mkdirat, "mkdirat", Change::By::path, 1},
    {SYS_rmdir, "rmdir", Change::By::path, 0},
    {SYS_unlink, "unlink", Change::By::path, 0},
    {SYS_unlinkat, "unlinkat", Change::By::path, 1},
    {SYS_openat, "openat", Change::By::path, 1},
};

std::string path_of(pid_t process, uint64_t descriptor) {
  std::error_code gone;
  return std::filesystem::read_symlink(
             "/proc/" + std::to_string(process) + "/fd/" + std::to_string(descriptor), gone)
      .string();
}

/// The change that a call makes below `folder`, if it makes one.
const Change* change_below(pid_t process, const __ptrace_syscall_info& info,
                           const std::string& folder) {
  for (const Change& change : kChanges) {
    if (std::cmp_not_equal(info.entry.nr, change.number)) continue;
    const bool creates = (info.entry.args[2] & (O_CREAT | O_TRUNC)) != 0;
    if (change.number == SYS_openat && !creates) return nullptr;
    const uint64_t value = info.entry.args[change.argument];
    const std::string path =
        change.by == Change::By::descriptor ? path_of(process, value) : traced_text(process, value);
    // A name relative to an open folder: one of those that scute holds below `folder`.
    const bool below = path.starts_with(folder) || (!path.empty() && path[0] != '/');
    return below ? &change : nullptr;
  }
  return nullptr;
}

class FaultyProcess {
 public:
  FaultyProcess(pid_t process, const std::string& folder, const Fault& fault)
      : process_(process), folder_(folder), fault_(fault) {}

  /// At the entry to a call, or its exit.
  void at_call(FaultyRun& run) {
    __ptrace_syscall_info info{};
    if (::ptrace(PTRACE_GET_SYSCALL_INFO, process_, sizeof(info), &info) <= 0) return;
    if (info.op == PTRACE_SYSCALL_INFO_EXIT && answer_) {
      user_regs_struct registers = registers_now();
      registers.rax = static_cast<unsigned long long>(*answer_);
      ::ptrace(PTRACE_SETREGS, process_, nullptr, &registers);
      answer_.reset();
    }
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY) return;
    const Change* change = change_below(process_, info, folder_);
    if (change == nullptr) return;
    const bool syncs = change->number == SYS_fsync || change->number == SYS_fdatasync;
    if (fault_.kind != Fault::Kind::none && run.calls == fault_.at) {
      apply(*change, run);
    } else if (syncs) {
      answer(0);
    }
    ++run.calls;
  }

 private:
  user_regs_struct registers_now() const {
    user_regs_struct registers{};
    ::ptrace(PTRACE_GETREGS, process_, nullptr, &registers);
    return registers;
  }

  /// The call that is entered is not made; its caller is told this result of it.
  void answer(long long result) {
    user_regs_struct registers = registers_now();
    registers.orig_rax = static_cast<unsigned long long>(-1);
    ::ptrace(PTRACE_SETREGS, process_, nullptr, &registers);
    answer_ = result;
  }

  void apply(const Change& change, FaultyRun& run) {
    run.what = change.name;
    run.applied = true;
    if (fault_.kind == Fault::Kind::killed) {
      ::kill(process_, SIGKILL);
      return;
    }
    if (fault_.kind == Fault::Kind::error) {
      answer(-fault_.code);
      return;
    }
    user_regs_struct registers = registers_now();
    const bool writes = change.number == SYS_write || change.number == SYS_pwrite64;
    run.applied = writes && registers.rdx > 1;
    if (!run.applied) return;
    registers.rdx /= 2;
    ::ptrace(PTRACE_SETREGS, process_, nullptr, &registers);
  }

  pid_t process_;
  const std::string& folder_;
  const Fault& fault_;
  std::optional<long long> answer_;  ///< of the call that was entered
};

}  // namespace

FaultyRun faulty_run(const std::vector<std::string>& arguments, const std::string& folder,
                     const Fault& fault) {
  FaultyRun run;
  std::optional<FaultyProcess> process;
  run.code = run_traced(arguments, [&](pid_t id) {
    if (!process) process.emplace(id, folder, fault);
    process->at_call(run);
  });
  return run;
}

}  // namespace scute
