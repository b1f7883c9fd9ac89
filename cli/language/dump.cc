// scute dump: logits and the tensors of chosen sites.
#include "scute/language/dump.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/form.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/machine.h"
#include "cli/terminal/options.h"
#include "cli/terminal/words.h"
#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/io/npy.h"
#include "scute/io/safetensors.h"
#include "scute/language/collect.h"

namespace scute::cli {
namespace {

struct DumpRequest {
  std::string model, ids, text, sites, tokenizer, out;
  Execution execution;
  int threads = 0;
  bool stepwise = false, json = false;

  void declare(Options& options);
  void check() const;
};

void DumpRequest::declare(Options& options) {
  options.model(model);
  options.text("--ids", ids, "FILE", "token ids as .npy: (L), or (B, L) sequences");
  options.text("--text", text, "FILE", "any text file, tokenized as one sequence");
  options.text("--out", out, "FILE", "a .safetensors", Options::Need::required);
  options.text("--sites", sites, "GLOB",
               "sites whose tensors are written; without it all but lm_head:output");
  options.flag("--stepwise", stepwise, "one token at a time from a state");
  options.compute(execution.compute);
  options.backend(execution.backend);
  options.tokenizer(tokenizer);
  options.machine(threads);
  options.json(json);
}

void DumpRequest::check() const {
  if (ids.empty() == text.empty()) {
    throw UsageError("expected either --ids FILE or --text FILE (see scute dump --help)");
  }
  if (!out.ends_with(".safetensors")) {
    throw UsageError(
        fmt::format("--out: expected a name ending in .safetensors, found \"{}\"", out));
  }
}

Tensor read_ids(const DumpRequest& request, const ModelDescription& model) {
  if (!request.ids.empty()) {
    Tensor ids = read_npy(request.ids);
    if (ids.dtype() != DType::i32 && ids.dtype() != DType::i64) {
      fail(request.ids, "int32 or int64 token ids", std::string(name_of(ids.dtype())));
    }
    return ids;
  }
  const auto tokenizer = load_tokenizer(model, request.tokenizer);
  if (!tokenizer) fail(model.path, "a tokenizer.json (or --tokenizer FILE)", "none");
  const auto ids = tokenizer->encode(read_text(request.text));
  if (ids.empty()) fail(request.text, "at least one token", "none");
  return Tensor::of<int32_t>({static_cast<int64_t>(ids.size())}, ids);
}

std::vector<Site> chosen_sites(const DumpRequest& request, const ModelDescription& model) {
  const SiteList list = list_sites(model);
  std::vector<Site> sites = list.match(request.sites.empty() ? "*" : request.sites, "--sites");
  if (request.sites.empty()) {
    std::erase_if(sites, [](const Site& site) { return site.name == "lm_head:output"; });
  }
  return sites;
}

/// Everything is held before it is written: too much is refused before the machine suffers.
void check_memory(const std::vector<Site>& sites, const ModelDescription& model,
                  const Tensor& ids) {
  int64_t per_token = model.config.vocabulary;
  for (const Site& site : sites) {
    if (site.extent == Site::Extent::per_token) per_token += element_count(site.shape, site.name);
  }
  const int64_t bytes = checked_mul(checked_mul(per_token, ids.size(), "dump"), 4, "dump");
  const int64_t available = memory_of_machine().available;
  if (available > 0 && bytes > available) {
    fail("dump", fmt::format("at most {} of tensors, the memory left", bytes_text(available)),
         fmt::format("{}; fewer tokens or --sites need less", bytes_text(bytes)));
  }
}

int run(DumpRequest& request, const Call& call, Output& out) {
  const ModelDescription description = describe_model(request.model);
  const std::vector<Site> sites = chosen_sites(request, description);
  const Tensor ids = read_ids(request, description);
  check_memory(sites, description, ids);
  { const AtomicFile probe(request.out); }

  const LanguageModel model =
      load_model(description, request.execution, LanguageModel::Head::packed);
  const auto tensors = dump(model, ids, sites, request.stepwise, request.threads);
  const HoldInterrupts hold;
  Arguments command{"dump"};
  // Without what does not influence the tensors, so that equal ones are equal files.
  for (size_t i = 0; i < call.arguments.size(); ++i) {
    const std::string& word = call.arguments[i];
    const bool flag = word == "--threads" || word == "--out";
    if (!flag && !word.starts_with("--threads=") && !word.starts_with("--out=")) {
      command.push_back(word);
    }
    if (flag) ++i;
  }
  write_safetensors(request.out, tensors,
                    {{"tool", "scute " SCUTE_VERSION},
                     {"model", description.name},
                     {"command", shell_command(command)}});
  if (request.json) {
    Json result;
    result["file"] = request.out;
    result["bytes"] = file_size(request.out);
    result["tokens"] = ids.size();
    for (const NamedTensor& tensor : tensors) {
      result["tensors"][tensor.name] = to_string(tensor.tensor.shape());
    }
    out.write_json(result);
  } else {
    out.write(fmt::format("wrote {}: {}, {} tokens, {}\n", request.out,
                          count_of(static_cast<int64_t>(tensors.size()), "tensor"),
                          grouped(ids.size()), bytes_text(file_size(request.out))));
  }
  return kDone;
}

}  // namespace

Form language_dump_form() {
  return form<DumpRequest>(
      {.kind = ModelKind::language,
       .example = "scute dump examples/tiny-mamba1 --text examples/text/README.md --sites "
                  "'layer_0.*:input' --out dump.safetensors"});
}

}  // namespace scute::cli
