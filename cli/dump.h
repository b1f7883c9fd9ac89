// scute dump: logits and the tensors of chosen sites; for every kind.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cli/terminal/options.h"
#include "cli/terminal/outputs.h"
#include "scute/models/sites.h"
#include "scute/tensor/tensor.h"

namespace scute::cli {

struct DumpRequest {
  std::string model, sites, tokenizer, out;
  Execution execution;
  int threads = 0;
  bool force = false, json = false;

  void declare_target(Options& options);   ///< --out, --sites
  void declare_machine(Options& options);  ///< how it is computed, --json
  void check() const;
};

/// Without --sites all but lm_head:output.
std::vector<Site> dumped_sites(const SiteList& list, const DumpRequest& request);
/// Everything is held before it is written: too much is refused before the machine suffers.
void require_dump_memory(int64_t bytes, const char* remedy);
/// Writes the file and says so; `counts`: of what it was made, ("token", 12). Gives the exit code.
int write_dump(const DumpRequest& request, const Call& call, const std::string& model,
               ClaimedFile& file, const std::vector<NamedTensor>& tensors,
               const std::vector<std::pair<std::string, int64_t>>& counts, Output& out);

}  // namespace scute::cli
