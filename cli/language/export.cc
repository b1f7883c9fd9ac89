// scute export for language models: for other programs.
#include "scute/language/export.h"

#include <fmt/format.h>

#include <filesystem>

#include "cli/described.h"
#include "cli/form.h"
#include "cli/plain_export.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/words.h"
#include "scute/io/file.h"

namespace scute::cli {
namespace {

struct LanguageExportRequest : PlainExportRequest {};

int run(LanguageExportRequest& request, const Call&, Output& out) {
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
       .summary = "a low-bit language model as a plain checkpoint",
       .example = "scute quantize examples/tiny-mamba1 --w-bits 4 --a-bits 16 --out tiny-w4a16\n"
                  "scute export tiny-w4a16 --dequantized --out tiny-w4a16-float"});
}

}  // namespace scute::cli
