// scute trace: where every static scale of a low-bit model acts and comes from; for every kind.
#pragma once

#include <string>

#include "cli/terminal/options.h"
#include "scute/language/trace.h"

namespace scute::cli {

struct TraceRequest {
  std::string model, layer;
  bool csv = false, json = false, all = false;

  void declare(Options& options);
  void check() const;
};

/// Writes what was asked for of it. Gives the exit code.
int show_trace(Trace trace, const TraceRequest& request, Output& out);

}  // namespace scute::cli
