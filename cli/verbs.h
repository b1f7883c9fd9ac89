// The table of verbs: what `scute` lists, and what runs each.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/terminal/output.h"

namespace scute::cli {

/// What follows the verb on the command line.
using Arguments = std::vector<std::string>;

constexpr int kDone = 0, kFailed = 1, kWrongUsage = 2;

struct Verb {
  std::string_view name;
  std::string_view summary;  ///< one line
  std::string_view example;  ///< command lines that work as printed in the repository's top folder
  /// Gives the exit code. Throws scute::Error (exit 1) and UsageError (exit 2).
  int (*run)(const Arguments&, Output&);
};

std::span<const Verb> verbs();
/// UsageError naming the nearest verbs when there is none of that name.
const Verb& find_verb(std::string_view name);

// One file each.
int run_bench(const Arguments&, Output&);
int run_collect(const Arguments&, Output&);
int run_decide(const Arguments&, Output&);
int run_demo(const Arguments&, Output&);
int run_doctor(const Arguments&, Output&);
int run_dump(const Arguments&, Output&);
int run_eval(const Arguments&, Output&);
int run_export(const Arguments&, Output&);
int run_generate(const Arguments&, Output&);
int run_log(const Arguments&, Output&);
int run_merge(const Arguments&, Output&);
int run_quantize(const Arguments&, Output&);
int run_report(const Arguments&, Output&);
int run_run(const Arguments&, Output&);
int run_scales(const Arguments&, Output&);
int run_sites(const Arguments&, Output&);
int run_sweep(const Arguments&, Output&);
int run_trace(const Arguments&, Output&);

}  // namespace scute::cli
