// Export: a low-bit model as a plain float checkpoint that any Mamba implementation runs.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "scute/language/quantize.h"
#include "scute/recipe/folder_writer.h"

namespace scute {

/// A tensor that is made when somebody needs it, so that one at a time is in memory. What it is
/// made of (codes, or the floats of a mapped file) stays alive with it.
struct DeferredTensor {
  std::string name;
  Shape shape;
  std::function<Tensor()> make;
};
struct DeferredTensors {
  std::vector<DeferredTensor> tensors;
  /// What factors on in_proj's segments are rounded to, as buffers beside the model's weights
  /// (Falcon-H1); none without Mamba-2.
  std::optional<DType> factors_type = std::nullopt;
};

/// A model's tensors as floats under our names (docs/families.md), low-bit or not: `type` as in
/// dequantized(), or as they are stored (what has codes as f32). Read strictly: Error as load_model
/// gives it.
DeferredTensors float_tensors(const ModelDescription& model, std::optional<DType> type);

/// A checkpoint of floats: the rounded weights as real numbers, rotations undone.
struct PlainModel {
  ModelDescription description;  ///< not low-bit; path is that of the low-bit folder
  std::vector<NamedTensor> tensors;
};

/// Every rotation is undone; norms that were folded stay ones (their weights are in the matrices),
/// a tied head stays tied, Mamba-2's heads and channels stay in the order that quantizing gave
/// them. Activations are then floats: scales of sites have no place here. Names are those of the
/// config's dialect, of hybrids those that the family publishes; the config loses
/// "quantization_config" and "scute".
///
/// `type`: f32 (exact but for undoing rotations, once rounded from double), or bf16, which rounds
/// matrices, convolutions and tables again; norms, biases, A_log and D stay as they are stored.
/// Error when the model is not low-bit, or what load_model says of its tensors.
PlainModel dequantized(const ModelDescription& model, DType type);

/// Writes its model.safetensors and config.json, and `from`'s tokenizer; `part`: where in the
/// folder, "" or a name with a slash at its end.
void write_plain(const ModelDescription& from, const PlainModel& model, const FolderWriter& folder,
                 const std::string& part = "");

/// Writes the folder, loads it again and compares its logits with the low-bit model's: equal but
/// for rounding where activations are floats in both, else apart by what rounding activations does.
/// Nothing is left under `path` on an Error; `replace` as in write_low_bit.
ProbeComparison export_dequantized(const ModelDescription& model, DType type,
                                   const std::string& path, bool replace);

}  // namespace scute
