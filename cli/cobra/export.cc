// scute export for Cobra: a plain float folder.
#include "scute/cobra/export.h"

#include <fmt/format.h>

#include "cli/cobra/folder_size.h"
#include "cli/described.h"
#include "cli/form.h"
#include "cli/plain_export.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/words.h"

namespace scute::cli {
namespace {

struct CobraExportRequest : PlainExportRequest {};

int run(CobraExportRequest& request, const Call&, Output& out) {
  const CobraDescription description = described_cobra(request.model, false);
  const HoldInterrupts hold;
  PlainExportAnswer answer;
  answer.comparison = export_cobra(description, request.type(), request.folder, request.force);
  answer.names = "timm";
  answer.what =
      fmt::format("{} of towers, projector and llm", count_of(answer.comparison.values, "output"));
  answer.bytes = weight_bytes(request.folder);
  return show_plain_export(request, answer, out);
}

}  // namespace

Form cobra_export_form() {
  return form<CobraExportRequest>(
      {.kind = ModelKind::cobra,
       .summary = "a low-bit Cobra as a plain float folder",
       .example = "scute quantize tests/golden/cobra/model --w-bits 4 --a-bits 16 --out "
                  "cobra-w4a16\n"
                  "scute export cobra-w4a16 --dequantized --out cobra-w4a16-float"});
}

}  // namespace scute::cli
