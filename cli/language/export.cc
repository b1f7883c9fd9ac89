// scute export: a low-bit model for other programs, a regressor for hardware.
#include "scute/language/export.h"

#include <fmt/format.h>

#include <filesystem>

#include "cli/regressor/export.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/options.h"
#include "cli/terminal/words.h"
#include "scute/io/file.h"

namespace scute::cli {
namespace {

int export_plain(const ExportTarget& request, const std::string& dtype, Output& out) {
  const auto& [model, target, force, json] = request;
  const ModelDescription description = describe_model(model);
  const HoldInterrupts hold;
  const ProbeComparison comparison =
      export_dequantized(description, dtype == "f32" ? DType::f32 : DType::bf16, target, force);
  const std::string file = (std::filesystem::path(target) / "model.safetensors").string();
  if (json) {
    Json result;
    result["folder"] = target;
    result["bytes"] = file_size(file);
    result["dtype"] = dtype;
    result["dialect"] = description.dialect;
    result["compared_tokens"] = comparison.tokens;
    result["largest_difference"] = comparison.largest;
    out.write_json(result);
  } else {
    out.write(fmt::format(
        "wrote      {}: {} names, {}, model.safetensors {}\n"
        "compared   logits of {} tokens differ from {}'s by at most {} of the largest\n",
        target, description.dialect, dtype, bytes_text(file_size(file)), grouped(comparison.tokens),
        model, significant(comparison.largest, 3)));
  }
  return kDone;
}

}  // namespace

int run_export(const Arguments& arguments, Output& out) {
  ExportTarget target;
  std::string dtype = "f32";
  bool plain = false;
  PositionExport positions;
  Options options("export");
  options.text("MODEL,--model,--ckpt", target.model, "FOLDER",
               "low-bit model that quantize wrote, or a regressor's checkpoint, CKPT.pt",
               Options::Need::required);
  options.flag("--dequantized", plain,
               "a plain checkpoint of floats: the rounded weights, rotations undone, activations "
               "not rounded");
  options.text("--out,--output", target.folder, "DIR", "the folder to write",
               Options::Need::required);
  options.choice("--dtype", dtype, {"f32", "bf16"},
                 "of the weights written; bf16 is half the size and rounds them again");
  options.flag("--force", target.force, "replace the folder if it exists");
  positions.add_to(options);
  options.json(target.json);
  if (!options.parse(arguments, out)) return kDone;
  const bool regressor = target.model.ends_with(".pt");
  if (regressor && !plain) return export_positions(positions, target, out);
  if (regressor || positions.asked()) {
    throw UsageError(
        "expected a regressor's checkpoint, CKPT.pt, with --q8.8 or --per-layer, or a low-bit "
        "model's folder with --dequantized");
  }
  if (!plain) throw UsageError("expected --dequantized, the one form for low-bit models");
  return export_plain(target, dtype, out);
}

}  // namespace scute::cli
