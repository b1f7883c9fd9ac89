// scute scales for language models.
#include "cli/scales.h"

#include "cli/form.h"

namespace scute::cli {
namespace {

struct LanguageScalesRequest : ScalesRequest {};

int run(LanguageScalesRequest& request, const Call&, Output& out) {
  FolderEdit edit = request.undo ? undo_folder(request.target, *request.undo)
                                 : edit_folder(request.target, request.edits);
  return show_scales(request, std::move(edit), write_folder_edit, "logits", out);
}

}  // namespace

Form language_scales_form() {
  return form<LanguageScalesRequest>(
      {.kind = ModelKind::language,
       .summary = "change ranges of a low-bit language model, and the scales that follow from them",
       .example =
           "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 32 "
           "--out stats.safetensors\n"
           "scute quantize examples/tiny-mamba1 --stats stats.safetensors --out tiny-edited\n"
           "scute scales tiny-edited --set 'layer_0.x_proj:input*=1.5' 'layer_1.z_act:input=6'\n"
           "scute scales tiny-edited --undo"});
}

}  // namespace scute::cli
