// scute scales for Cobra: inputs of matrices, clips of buckets, sites of the language model.
#include "cli/scales.h"

#include "cli/form.h"
#include "scute/cobra/scales.h"

namespace scute::cli {
namespace {

struct CobraScalesRequest : ScalesRequest {};

int run(CobraScalesRequest& request, const Call&, Output& out) {
  FolderEdit edit = request.undo ? undo_folder(request.target, *request.undo)
                                 : edit_cobra(request.target, request.edits);
  return show_scales(request, std::move(edit), write_cobra_edit, "towers, projector and logits",
                     out);
}

}  // namespace

Form cobra_scales_form() {
  return form<CobraScalesRequest>(
      {.kind = ModelKind::cobra,
       .summary = "change ranges of a low-bit Cobra: scales of inputs, clips of buckets",
       .example = "scute collect tests/golden/cobra/model --images tests/golden/cobra/pictures "
                  "--out cobra-stats.pt\n"
                  "scute quantize tests/golden/cobra/model --stats cobra-stats.pt --out "
                  "cobra-edited\n"
                  "scute scales cobra-edited --set 'vision.dino.blocks.0.attn.qkv:input=2.5' "
                  "'vision.siglip*=1.2'\n"
                  "scute scales cobra-edited --undo"});
}

}  // namespace scute::cli
