// scute scales on a regressor: ranges of the plan inside a checkpoint changed by hand, and every
// format that follows from them.
#include "cli/scales.h"

#include "cli/form.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/outputs.h"
#include "scute/base/error.h"
#include "scute/regressor/quantize.h"

namespace scute::cli {
namespace {

struct RegressorScalesRequest : ScalesRequest {};

int run(RegressorScalesRequest& request, const Call&, Output& out) {
  const RegressorCheckpoint checkpoint = read_regressor_checkpoint(request.target);
  if (!checkpoint.plan) {
    fail(request.target, "a quantized checkpoint with its plan inside (scute quantize)",
         checkpoint.scales.empty() ? "a float one" : "scales without a plan");
  }
  const std::string where = request.target + ": ranges";
  if (request.undo) check_scales_of_plan(checkpoint);
  const Json now = checkpoint.plan->to_json();
  const PlanFileEdit edit = request.undo ? undo_plan_json(now, where, *request.undo)
                                         : edit_plan_json(now, where, request.edits);
  const ScalesAnswer answer{.ranges = edit.changes};
  const CalibratedRegressor made =
      quantize_regressor(checkpoint, checkpoint.quantization, Plan::from_json(edit.json, where),
                         checkpoint.statistics ? &*checkpoint.statistics : nullptr);
  if (!request.dry_run && request.out.empty()) {
    const HoldInterrupts hold;
    write_calibrated_regressor(request.target, checkpoint, made);
  } else if (!request.dry_run) {
    check_ending("--out", request.out, {".pt"});
    ClaimedFile file(request.out, request.force, {request.target});
    write_calibrated_regressor(file.written(), checkpoint, made);
    file.publish();
  }
  return show_scales(request, answer, out);
}

}  // namespace

Form regressor_scales_form() {
  return form<RegressorScalesRequest>(
      {.kind = ModelKind::regressor,
       .summary = "change ranges of a quantized regressor, and the formats that follow from them",
       .example = "scute eval tests/golden/regressor/slim.pt --feat-root "
                  "tests/golden/regressor_features --quant-bits 8 --save-calib-ckpt slim-int8.pt\n"
                  "scute scales slim-int8.pt --set 'blocks.*.in_proj:input*=1.5'\n"
                  "scute scales slim-int8.pt --undo"});
}

}  // namespace scute::cli
