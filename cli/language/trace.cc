// scute trace for language models.
#include "cli/trace.h"

#include "cli/form.h"

namespace scute::cli {
namespace {

struct LanguageTraceRequest : TraceRequest {};

int run(LanguageTraceRequest& request, const Call&, Output& out) {
  return show_trace(trace_scales(request.model), request, out);
}

}  // namespace

Form language_trace_form() {
  return form<LanguageTraceRequest>(
      {.kind = ModelKind::language,
       .example =
           "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 32 "
           "--out stats.safetensors\n"
           "scute quantize examples/tiny-mamba1 --stats stats.safetensors --out tiny-traced\n"
           "scute trace tiny-traced --layer 0"});
}

}  // namespace scute::cli
