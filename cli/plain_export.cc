// scute export: a low-bit language model for other programs.
#include "scute/language/export.h"

#include <fmt/format.h>

#include <filesystem>

#include "cli/form.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/options.h"
#include "cli/terminal/words.h"
#include "scute/io/file.h"

namespace scute::cli {
namespace {

struct ExportRequest {
  std::string model, folder, dtype = "f32";
  bool plain = false, force = false, json = false;

  void declare(Options& options) {
    options.model(model);
    options.flag("--dequantized", plain,
                 "a plain checkpoint of floats: the rounded weights, rotations undone, activations "
                 "not rounded");
    options.out_folder(folder, force);
    options.choice("--dtype", dtype, {"f32", "bf16"},
                   "of the weights written; bf16 is half the size and rounds them again");
    options.json(json);
  }
  void check() const {
    if (!plain) throw UsageError("expected --dequantized, the one form for low-bit models");
  }
};

int run(ExportRequest& request, const Call&, Output& out) {
  const ModelDescription description = describe_model(request.model);
  const HoldInterrupts hold;
  const ProbeComparison comparison =
      export_dequantized(description, request.dtype == "f32" ? DType::f32 : DType::bf16,
                         request.folder, request.force);
  const std::string file = (std::filesystem::path(request.folder) / "model.safetensors").string();
  if (request.json) {
    Json result;
    result["folder"] = request.folder;
    result["bytes"] = file_size(file);
    result["dtype"] = request.dtype;
    result["dialect"] = description.dialect;
    result["compared_tokens"] = comparison.tokens;
    result["largest_difference"] = comparison.largest;
    out.write_json(result);
  } else {
    out.write(fmt::format(
        "wrote      {}: {} names, {}, model.safetensors {}\n"
        "compared   logits of {} tokens differ from {}'s by at most {} of the largest\n",
        request.folder, description.dialect, request.dtype, bytes_text(file_size(file)),
        grouped(comparison.tokens), request.model, significant(comparison.largest, 3)));
  }
  return kDone;
}

}  // namespace

Form language_export_form() {
  return form<ExportRequest>(
      {.kind = ModelKind::language,
       .summary = "a low-bit language model as a plain checkpoint",
       .example = "scute quantize examples/tiny-mamba1 --w-bits 4 --a-bits 16 --out tiny-w4a16\n"
                  "scute export tiny-w4a16 --dequantized --out tiny-w4a16-float"});
}

}  // namespace scute::cli
