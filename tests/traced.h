// The program, stopped at each call of the system by its first thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace scute {

/// Runs the built scute program and gives its exit code, or 128 + the signal's number; at_call is
/// called at each entry to a call, and at each exit.
int run_traced(const std::vector<std::string>& arguments,
               const std::function<void(pid_t)>& at_call);
/// Words in a stopped process's memory.
std::string traced_text(pid_t process, uint64_t address);

}  // namespace scute
