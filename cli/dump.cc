#include "cli/dump.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/terminal/interrupt.h"
#include "cli/terminal/machine.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"

namespace scute::cli {
void DumpRequest::declare_target(Options& options) {
  options.text("--out", out, "FILE", "a .safetensors", Options::Need::required);
  options.force(force);
  options.text("--sites", sites, "GLOB",
               "sites whose tensors are written; without it all but lm_head:output");
}

void DumpRequest::declare_machine(Options& options) {
  options.compute(execution.compute);
  options.backend(execution.backend);
  options.tokenizer(tokenizer);
  options.machine(threads);
  options.json(json);
}

void DumpRequest::check() const { check_ending("--out", out, {".safetensors"}); }

std::vector<Site> dumped_sites(const SiteList& list, const DumpRequest& request) {
  std::vector<Site> sites = list.match(request.sites.empty() ? "*" : request.sites, "--sites");
  if (request.sites.empty()) {
    std::erase_if(sites, [](const Site& site) { return site.name == "lm_head:output"; });
  }
  if (std::ranges::none_of(sites, &Site::has_one_shape)) {
    fail("--sites",
         "a site whose tensors have one shape (those of …:steps and of experts have not)",
         request.sites);
  }
  return sites;
}

void require_dump_memory(int64_t bytes, const char* remedy) {
  const int64_t available = memory_of_machine().available;
  if (available > 0 && bytes > available) {
    fail("dump", fmt::format("at most {} of tensors, the memory left", bytes_text(available)),
         fmt::format("{}; {}", bytes_text(bytes), remedy));
  }
}

int write_dump(const DumpRequest& request, const Call& call, const std::string& model,
               ClaimedFile& file, const std::vector<NamedTensor>& tensors,
               const std::vector<std::pair<std::string, int64_t>>& counts, Output& out) {
  const HoldInterrupts hold;
  write_safetensors(
      file.written(), tensors,
      {{"tool", "scute " SCUTE_VERSION}, {"model", model}, {"command", call.canonical_command()}});
  file.publish();
  const int64_t bytes = file_size(request.out);
  if (request.json) {
    Json result;
    result["file"] = request.out;
    result["bytes"] = bytes;
    for (const auto& [what, count] : counts) result[what + "s"] = count;
    for (const NamedTensor& tensor : tensors) {
      result["tensors"][tensor.name] = to_string(tensor.tensor.shape());
    }
    out.write_json(result);
    return kDone;
  }
  std::string made;
  for (const auto& [what, count] : counts) made += count_of(count, what) + ", ";
  out.write(fmt::format("wrote {}: {}, {}{}\n", request.out,
                        count_of(static_cast<int64_t>(tensors.size()), "tensor"), made,
                        bytes_text(bytes)));
  return kDone;
}

}  // namespace scute::cli
