// scute trace for Cobra: towers, projector, buckets, then the language model's layers.
#include "scute/cobra/trace.h"

#include "cli/form.h"
#include "cli/trace.h"

namespace scute::cli {
namespace {

struct CobraTraceRequest : TraceRequest {};

int run(CobraTraceRequest& request, const Call&, Output& out) {
  return show_trace(trace_cobra(request.model), request, out);
}

}  // namespace

Form cobra_trace_form() {
  return form<CobraTraceRequest>(
      {.kind = ModelKind::cobra,
       .summary = "every static scale and clip of a low-bit Cobra: where it acts, where it comes "
                  "from",
       .example = "scute collect tests/golden/cobra/model --images tests/golden/cobra/pictures "
                  "--sites 'layer_*' --out cobra-stats.pt\n"
                  "scute quantize tests/golden/cobra/model --stats cobra-stats.pt --out "
                  "cobra-traced\n"
                  "scute trace cobra-traced --layer vision.dino"});
}

}  // namespace scute::cli
