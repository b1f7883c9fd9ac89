#include "cli/terminal/job.h"

#include <fmt/format.h>

#include <utility>

#include "cli/terminal/machine.h"
#include "scute/recipe/memory_limit.h"

namespace scute::cli {

void Job::declare(Options& options) {
  options.machine(threads);
  options.quiet(quiet);
  options.json(json);
}

void Job::declare_memory(Options& options) { options.memory(memory); }

Json Job::with_peak(Json answer) const {
  if (memory) answer["peak_memory_bytes"] = peak_memory();
  return answer;
}

std::string Job::peak_line() const {
  if (!memory) return "";
  return fmt::format("memory      {} at most, of {}\n", memory_text(peak_memory()),
                     memory_text(*memory));
}

double Job::seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

}  // namespace scute::cli
