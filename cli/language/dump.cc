// scute dump for language models: of given tokens.
#include "scute/language/dump.h"

#include "cli/described.h"
#include "cli/dump.h"
#include "cli/form.h"
#include "cli/terminal/options.h"
#include "cli/terminal/outputs.h"
#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/io/npy.h"
#include "scute/language/collect.h"

namespace scute::cli {
namespace {

struct LanguageDumpRequest : DumpRequest {
  std::string ids, text;
  bool stepwise = false;

  void declare(Options& options) {
    options.model(model);
    options.text("--ids", ids, "FILE", "token ids as .npy: (L), or (B, L) sequences");
    options.last_reads();
    options.text("--text", text, "FILE", "any text file, tokenized as one sequence");
    options.last_reads();
    declare_target(options);
    options.flag("--stepwise", stepwise, "one token at a time from a state");
    declare_machine(options);
    options.only_with({"--tokenizer"}, "--text FILE");
  }
  void check() const {
    if (ids.empty() == text.empty()) {
      throw UsageError("expected either --ids FILE or --text FILE (see scute dump --help)");
    }
    DumpRequest::check();
  }
};

Tensor read_ids(const LanguageDumpRequest& request, const ModelDescription& model) {
  if (!request.ids.empty()) {
    Tensor ids = read_npy(InputFiles().open(request.ids, true));
    if (ids.dtype() != DType::i32 && ids.dtype() != DType::i64) {
      fail(request.ids, "int32 or int64 token ids", std::string(name_of(ids.dtype())));
    }
    return ids;
  }
  const auto tokenizer = load_tokenizer(model, request.tokenizer);
  if (!tokenizer) fail(model.path, "a tokenizer.json (or --tokenizer FILE)", "none");
  const auto ids = tokenizer->encode(InputFiles().text(request.text));
  if (ids.empty()) fail(request.text, "at least one token", "none");
  return Tensor::of<int32_t>({static_cast<int64_t>(ids.size())}, ids);
}

void check_memory(const std::vector<Site>& sites, const ModelDescription& model,
                  const Tensor& ids) {
  int64_t per_token = model.config.vocabulary;
  for (const Site& site : sites) {
    if (site.extent == Site::Extent::per_token) per_token += element_count(site.shape, site.name);
  }
  require_dump_memory(checked_mul(checked_mul(per_token, ids.size(), "dump"), 4, "dump"),
                      "fewer tokens or --sites need less");
}

int run(LanguageDumpRequest& request, const Call& call, Output& out) {
  ClaimedFile file(request.out, request.force,
                   {request.model, request.ids, request.text, request.tokenizer});
  const ModelDescription description = described(request.model, false);
  backend_only_with(call, description.low_bit);
  const std::vector<Site> sites = dumped_sites(list_sites(description), request);
  const Tensor ids = read_ids(request, description);
  check_memory(sites, description, ids);

  const LanguageModel model =
      load_model(description, request.execution, LanguageModel::Head::packed);
  const auto tensors = dump(model, ids, sites, request.stepwise, request.threads);
  return write_dump(request, call, description.name, file, tensors, {{"token", ids.size()}}, out);
}

}  // namespace

Form language_dump_form() {
  return form<LanguageDumpRequest>(
      {.kind = ModelKind::language,
       .example = "scute dump examples/tiny-mamba1 --text examples/text/README.md --sites "
                  "'layer_0.*:input' --out dump.safetensors"});
}

}  // namespace scute::cli
