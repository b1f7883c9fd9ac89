#include "cli/plain_export.h"

#include <fmt/format.h>

#include "cli/terminal/words.h"

namespace scute::cli {

void PlainExportRequest::declare(Options& options) {
  options.model(model);
  declare_form(options);
  options.out_folder(folder, force);
  declare_rest(options);
}

void PlainExportRequest::declare_form(Options& options) {
  options.flag("--dequantized", plain,
               "a plain checkpoint of floats: the rounded weights, rotations undone, activations "
               "not rounded");
}

void PlainExportRequest::declare_rest(Options& options) {
  options.choice("--dtype", dtype, {"f32", "bf16"},
                 "of the weights written; bf16 is half the size and rounds them again");
  job.declare(options);
}

void PlainExportRequest::check() const {
  if (!plain) throw UsageError("expected --dequantized, the one form for low-bit models");
}

int show_plain_export(const PlainExportRequest& request, const PlainExportAnswer& answer,
                      Output& out) {
  const ProbeComparison& comparison = answer.comparison;
  if (request.job.json) {
    Json result;
    result["folder"] = request.folder;
    result["bytes"] = answer.bytes;
    result["dtype"] = request.dtype;
    result["dialect"] = answer.names;
    result["compared_tokens"] = comparison.tokens;
    result["largest_difference"] = comparison.largest;
    out.write_json(result);
  } else {
    out.write(fmt::format(
        "wrote      {}: {} names, {}, {} {}\n"
        "compared   {} differ from {}'s by at most {} of the largest\n",
        request.folder, answer.names, request.dtype, "model.safetensors", bytes_text(answer.bytes),
        answer.what, request.model, significant(comparison.largest, 3)));
  }
  return kDone;
}

}  // namespace scute::cli
