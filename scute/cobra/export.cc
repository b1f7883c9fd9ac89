#include "scute/cobra/export.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"
#include "scute/cobra/matrices.h"
#include "scute/cobra/writer.h"
#include "scute/io/file.h"
#include "scute/language/export.h"
#include "scute/models/linear.h"
#include "scute/recipe/folder_writer.h"

namespace scute {
namespace {

constexpr const char* kPatches = "patch_embed.proj";

/// Takes the tensors of one matrix: outputs × inputs in floats, or as the model has it in floats.
Tensor take_matrix(const CobraMatrix& matrix, Weights& weights) {
  const std::string& name = matrix.tensor;
  const std::string scale = name + ".weight_scale";
  if (!weights.contains(scale)) return weights.take(name + ".weight");
  const bool packed = weights.contains(name + ".weight_packed");
  const int64_t outputs = packed ? weights.at(scale).dim(0) : weights.at(name + ".weight").dim(0);
  Weights own(weights.source());
  for (const char* part : {".weight", ".weight_packed", ".weight_shape", ".weight_scale",
                           ".weight_channel_scale", ".input_scale"}) {
    if (weights.contains(name + part)) own.add(name + part, weights.take(name + part));
  }
  WeightReader reader(own);
  const LinearTensors tensors(reader, name, outputs, matrix.inputs);
  reader.finish();
  return dequantize(tensors.weight_codes());
}

/// A convolution's kernel as other programs store it.
Tensor as_kernel(Tensor flat, const VisionConfig& tower) {
  constexpr int64_t kColors = 3;
  return std::move(flat).reshaped({tower.width, kColors, tower.patch, tower.patch});
}

class CobraExporter {
 public:
  CobraExporter(const CobraDescription& model, DType type) : model_(model), type_(type) {}

  void write(const FolderWriter& folder) const {
    CobraWeights weights = read_cobra_weights(model_, CobraModel::Parts::vision);
    for (size_t i = 0; i < weights.towers.size(); ++i) {
      write_tower(model_, i, plain_part(i, weights.towers[i]), folder);
    }
    write_part(folder, "projector", plain_part(weights.towers.size(), weights.projector));
    if (model_.language.low_bit) {
      make_folder(folder.file("llm"));
      write_plain(model_.language, dequantized(model_.language, type_), folder, "llm/");
    } else {
      write_float_language(model_.language, folder);
    }
    Json config = Json::object();
    for (const auto& [key, value] : model_.json.as_object("config.json")) {
      if (key != "scute") config.append_member(key, value);
    }
    write_file(folder.file("config.json"), config.dump_config(2) + "\n");
    Json recipe;
    recipe["tool"] = "scute " SCUTE_VERSION;
    recipe["dequantized"] = model_.name;
    recipe["model_sha256"] = hash_cobra(model_);
    write_file(folder.file("recipe.json"), recipe.dump(2) + "\n");
  }

 private:
  std::vector<NamedTensor> plain_part(size_t part, Weights& weights) const {
    std::vector<NamedTensor> out;
    for (const CobraMatrix& matrix : cobra_matrices(model_.config)) {
      if (matrix.part != part) continue;
      Tensor weight = take_matrix(matrix, weights).rounded_to(type_);
      if (matrix.tensor == kPatches) weight = as_kernel(weight, model_.config.towers[part]);
      out.push_back({matrix.tensor + ".weight", std::move(weight)});
    }
    for (const std::string& name : weights.names()) {
      Tensor rest = weights.take(name);
      out.push_back({name, type_ == DType::f32 ? rest.to_f32() : std::move(rest)});
    }
    return out;
  }

  const CobraDescription& model_;
  DType type_;
};

}  // namespace

ProbeComparison export_cobra(const CobraDescription& model, DType type, const std::string& path,
                             bool replace) {
  if (!model.low_bit) fail(model.path, "a low-bit Cobra (scute quantize)", "a float one");
  FolderWriter folder(path, {.sources = {model.path}, .replace = replace});
  CobraExporter(model, type).write(folder);
  constexpr auto kAll = CobraModel::Parts::all;
  // One after the other: a model of this kind fills memory.
  const auto before = probe_cobra(load_cobra(model, {}, kAll), kProbeSeed);
  const ProbeComparison out = compare_probes(
      before, probe_cobra(load_cobra(describe_cobra(folder.path()), {}, kAll), kProbeSeed));
  folder.commit();
  return out;
}

}  // namespace scute
