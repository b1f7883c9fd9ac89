// scute trace on a regressor: every scale of a quantized checkpoint, where it acts and comes from.
#include "scute/regressor/trace.h"

#include <fmt/format.h>

#include "cli/form.h"
#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/names.h"

namespace scute::cli {
namespace {

struct RegressorTraceRequest {
  std::string model, only = "*";
  bool csv = false, json = false;

  void declare(Options& options) {
    options.model(model);
    options.text("--only", only, "GLOB", "only these layers and values, e.g. 'blocks.0.*'");
    options.flag("--csv", csv, "one line a scale, comma-separated, a title line first");
    options.json(json);
  }
  void check() const {
    if (csv && json) throw UsageError("expected --csv or --json, found both");
  }
};

std::string scale_text(const TracedFormat& scale) {
  const auto least = static_cast<double>(scale.least), most = static_cast<double>(scale.most);
  return scale.least == scale.most ? significant(most)
                                   : significant(least, 3) + " .. " + significant(most, 3);
}

/// What chose the scale, in a few words; the table's last column.
std::string origin_text(const TracedFormat& scale) {
  std::string out = scale.policy.empty() ? "" : scale.policy;
  if (!scale.because.empty()) out += (out.empty() ? "" : ": ") + scale.because;
  if (out.empty()) out = "not recorded";
  return scale.edited ? out + " (no longer the plan's)" : out;
}

std::string as_text(const RegressorTrace& trace) {
  using enum Table::Align;
  Table table(
      {{"layer or value", left},
       {"acts on", left},
       {"bits"},
       {"scales", right, 4},
       {"scale"},
       {"codes span", right, 1},
       {"seen", right, 3},
       {"range of", left, 2},
       {.title = "comes from", .align = left, .keep = Table::Keep::beginning, .least = 16}});
  std::string last;
  for (const TracedFormat& scale : trace.scales) {
    table.add({scale.layer == last ? "" : scale.layer, scale.acts, fmt::to_string(scale.bits),
               fmt::to_string(scale.count), scale_text(scale), range_text(scale.lo, scale.hi),
               scale.seen ? range_text(scale.seen->first, scale.seen->second) : "-",
               scale.site.empty() ? "-" : scale.site, origin_text(scale)});
    last = scale.layer;
  }
  std::string out = fmt::format("{}: {}\n", trace.path, trace.description);
  for (const std::string& note : trace.notes) out += "note: " + note + "\n";
  if (trace.edits > 0) out += fmt::format("{} of ranges by hand\n", count_of(trace.edits, "edit"));
  return out + "\n" + table.text();
}

int run(RegressorTraceRequest& request, const Call&, Output& out) {
  RegressorTrace trace = trace_regressor(read_regressor_checkpoint(request.model));
  std::vector<std::string> names;
  for (const TracedFormat& scale : trace.scales) names.push_back(scale.layer);
  std::erase_if(trace.scales,
                [&](const TracedFormat& scale) { return !glob_match(request.only, scale.layer); });
  if (trace.scales.empty()) {
    throw UsageError(fmt::format("--layer: expected a layer or value of {}, found \"{}\"{}",
                                 request.model, request.only, did_you_mean(request.only, names)));
  }
  if (request.json) {
    out.write_json(trace.to_json());
  } else if (request.csv) {
    out.write_lines(trace.to_csv());
  } else {
    out.write(as_text(trace));
  }
  return kDone;
}

}  // namespace

Form regressor_trace_form() {
  return form<RegressorTraceRequest>(
      {.kind = ModelKind::regressor,
       .summary = "every scale of a quantized regressor: where it acts, where it comes from",
       .example = "scute eval tests/golden/regressor/slim.pt --feat-root "
                  "tests/golden/regressor_features --quant-bits 8 --save-calib-ckpt slim-int8.pt\n"
                  "scute trace slim-int8.pt"});
}

}  // namespace scute::cli
