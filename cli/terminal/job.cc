#include "cli/terminal/job.h"

namespace scute::cli {

void Job::declare(Options& options) {
  options.machine(threads);
  options.quiet(quiet);
  options.json(json);
}

double Job::seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

}  // namespace scute::cli
