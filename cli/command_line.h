// The scute program as a function, for main() and for Python.
#pragma once

#include "cli/verbs.h"

namespace scute::cli {

/// Runs the words behind "scute": results on standard output, everything else on standard error.
/// Gives the exit code; throws nothing. SIGINT, SIGTERM and SIGUSR1 are the program's from then on:
/// they end the process with 128 + their number (interrupt.h); SIGPIPE and SIGXFSZ are ignored, and
/// SIGBUS ends it with the name of the file that was lost. They stay so. One at a time in a
/// process.
int command_line(const Arguments& words);

}  // namespace scute::cli
