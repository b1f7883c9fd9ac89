// Low-bit Cobra folders: written beside their name, checked, and only then put there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scute/cobra/quantize.h"
#include "scute/recipe/folder_writer.h"

namespace scute {

/// What a model makes of one seeded random picture: F32 `features` (patches × V, the towers side by
/// side), `projector` (tokens × D), `logits` (48 × V, of up to 32 of those vectors and 16 seeded
/// ids behind them). Error when one is not finite.
std::vector<NamedTensor> probe_cobra(const CobraModel& model, uint64_t seed);

/// The same of a model in two parts, `vision` without its language model.
std::vector<NamedTensor> probe_cobra(const CobraModel& vision, LayeredModel& language,
                                     uint64_t seed);

/// PART/model.safetensors, in a folder that is made.
void write_part(const FolderWriter& folder, const std::string& part,
                const std::vector<NamedTensor>& tensors);
/// The same of a tower, with the config.json that `model` has of it.
void write_tower(const CobraDescription& model, size_t index,
                 const std::vector<NamedTensor>& tensors, const FolderWriter& folder);
/// llm/ as `language` is stored, with its tokenizer.
void write_float_language(const ModelDescription& language, const FolderWriter& folder);

/// Writes config.json, vision/T/{config.json,model.safetensors}, projector/model.safetensors, llm/
/// (a language model's folder of its own, with tokenizer.json), plan.json, statistics.safetensors,
/// recipe.json: complete without the original. Then loads it again and compares what both make of a
/// picture, bit for bit; Error when they differ: then, and when anything else fails, what was there
/// stays (FolderRules).
ProbeComparison write_cobra(const LowBitCobra& model, FolderWriter& folder,
                            FolderCheck check = FolderCheck::whole);
/// The same, claiming the name as late as this.
ProbeComparison write_cobra(const LowBitCobra& model, const std::string& path, bool replace);

}  // namespace scute
