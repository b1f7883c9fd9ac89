// --memory of Cobra's verbs: all weights are in memory, or the work is refused.
#pragma once

#include "cli/terminal/job.h"
#include "scute/cobra/folder.h"

namespace scute::cli {

struct CobraWork {
  Execution execution = {};
  int models = 1;       ///< as large as this one, in memory at once
  int64_t tokens = 64;  ///< of a picture's text
  int64_t sites = 0;    ///< that each thread keeps statistics of
  int fine = 8;
};

/// Error saying what is needed where --memory has no room for it.
void require_cobra(const Job& job, const CobraDescription& model, const CobraWork& work);

}  // namespace scute::cli
