// scute export for language models: for other programs.
#include "scute/language/export.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "cli/described.h"
#include "cli/form.h"
#include "cli/plain_export.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/outputs.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/words.h"
#include "scute/base/names.h"
#include "scute/io/file.h"
#include "scute/language/gguf/export.h"
#include "scute/language/random_model.h"

namespace scute::cli {
namespace {

struct LanguageExportRequest : PlainExportRequest {
  std::string gguf;  ///< the type's name; empty: no GGUF file
  std::optional<std::string> random;

  void declare(Options& options);
  void check() const;
};

void LanguageExportRequest::declare(Options& options) {
  options.model(model, Options::Need::optional);
  options.random(random, "");
  declare_form(options);
  options.custom("--gguf", "f32|bf16|q8_0|q4_0", "",
                 "one file for llama.cpp and what stands on it: matrices of this type, of low-bit "
                 "models from their dequantized weights",
                 [this](const std::string& given) {
                   parse_gguf_type(given);
                   gguf = given;
                 });
  options.text("--out,--output", folder, "DIR|FILE",
               "the folder to write; with --gguf the file, a "
               "name ending in .gguf",
               Options::Need::required);
  options.flag("--force", force,
               "replace it also if it was edited since scute wrote it, a file also if it is not "
               "scute's");
  declare_rest(options);
  options.not_with({"--dequantized", "--dtype"}, "--gguf TYPE");
  options.only_with({"--random"}, "--gguf TYPE");
  options.note(fmt::format("Sizes: {}", joined(named_sizes(), ", ")));
}

void LanguageExportRequest::check() const {
  if (random && !model.empty()) {
    throw UsageError("expected either MODEL or --random SIZE, found both");
  }
  if (!random && model.empty()) {
    throw UsageError("expected MODEL, or --random SIZE with --gguf TYPE, found neither");
  }
  if (!gguf.empty()) return check_ending("--out", folder, {".gguf"});
  if (!plain) throw UsageError("expected --dequantized (of low-bit models) or --gguf TYPE");
}

int export_to_gguf(const LanguageExportRequest& request, Output& out) {
  ClaimedFile file(request.folder, request.force,
                   request.random ? std::vector<std::string>{} : std::vector{request.model});
  const ModelDescription model = request.random ? random_description(*request.random, 42)
                                                : described(request.model, request.job.quiet);
  const GgufExport written = write_gguf(model, parse_gguf_type(request.gguf), file.written());
  const HoldInterrupts hold;
  file.publish();
  const int64_t bytes = file_size(request.folder);
  for (const std::string& remark : written.remarks) {
    note(request.job.quiet, fmt::format("scute: remark: {}: {}", request.folder, remark));
  }
  if (request.job.json) {
    Json result;
    result["file"] = request.folder;
    result["bytes"] = bytes;
    result["type"] = request.gguf;
    result["architecture"] = written.architecture;
    result["tensors"] = written.tensors;
    result["matrices_kept_f32"] = written.kept;
    result["remarks"] = Json::array();
    for (const std::string& remark : written.remarks) result["remarks"].push_back(remark);
    out.write_json(result);
    return kDone;
  }
  out.write(fmt::format("wrote {}: GGUF, architecture {}, {}, {}, {}\n", request.folder,
                        written.architecture, count_of(written.tensors, "tensor"), request.gguf,
                        bytes_text(bytes)));
  if (written.kept > 0) {
    out.write(
        fmt::format("{} of them stayed f32: rows that are no multiple of 32 long\n", written.kept));
  }
  return kDone;
}

int run(LanguageExportRequest& request, const Call&, Output& out) {
  if (!request.gguf.empty()) return export_to_gguf(request, out);
  const ModelDescription description = described(request.model, false);
  const HoldInterrupts hold;
  PlainExportAnswer answer;
  answer.comparison =
      export_dequantized(description, request.type(), request.folder, request.force);
  answer.names = description.dialect;
  answer.what = fmt::format("logits of {} tokens", grouped(answer.comparison.tokens));
  answer.bytes = file_size((std::filesystem::path(request.folder) / "model.safetensors").string());
  return show_plain_export(request, answer, out);
}

}  // namespace

Form language_export_form() {
  return form<LanguageExportRequest>(
      {.kind = ModelKind::language,
       .summary = "a GGUF file, or a low-bit model as a plain checkpoint",
       .example = "scute export examples/tiny-mamba1 --gguf q8_0 --out tiny-q8_0.gguf\n"
                  "scute export --random mamba2-tiny --gguf bf16 --out random.gguf\n"
                  "scute quantize examples/tiny-mamba1 --w-bits 4 --a-bits 16 --out tiny-w4a16\n"
                  "scute export tiny-w4a16 --dequantized --out tiny-w4a16-float",
       .sizes = named_sizes});
}

}  // namespace scute::cli
