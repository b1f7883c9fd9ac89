#include "scute/cobra/low_bit_files.h"

#include <algorithm>
#include <array>

#include "scute/base/error.h"
#include "scute/cobra/matrices.h"
#include "scute/io/checkpoint.h"

namespace scute {
namespace {

/// What a matrix's name ends with, and where its input is rounded.
struct MatrixStep {
  std::string_view matrix, step;
};

constexpr std::array<MatrixStep, 9> kMatrixSteps{{
    {".patch_embed.proj", "pixels → patch_embed"},
    {".attn.qkv", "norm1 → attn.qkv"},
    {".attn.proj", "attention → attn.proj"},
    {".mlp.fc1", "norm2 → mlp.fc1"},
    {".mlp.fc2", "GELU → mlp.fc2"},
    {"projector", "towers → projector"},
    {"projector.0", "towers → projector.0"},
    {"projector.2", "GELU → projector.2"},
    {"projector.4", "GELU → projector.4"},
}};

constexpr std::string_view kInputScale = ".input_scale";

/// As find_scales(): those of matrices in the order that tensors reach them, unknown ones behind.
std::vector<StoredScale> find_cobra_scales(const CobraConfig& config, const Weights& tensors) {
  std::vector<StoredScale> out;
  for (const CobraMatrix& matrix : cobra_matrices(config)) {
    const std::string tensor = matrix.name + std::string(kInputScale);
    if (!tensors.contains(tensor)) continue;
    out.push_back({tensor, kNoLayer, scale_step(matrix.name), matrix.site()});
  }
  for (const std::string& name : tensors.names()) {
    if (!is_activation_scale(name)) continue;
    const bool known = std::ranges::find(out, name, &StoredScale::tensor) != out.end();
    if (!known) out.push_back({name, kNoLayer, "not known", ""});
  }
  return out;
}

std::map<std::string, std::string> formats_from_json(const Json& scute, const char* key,
                                                     const std::string& where) {
  std::map<std::string, std::string> out;
  const std::string at = where + ": " + key;
  for (const auto& [name, format] : scute.at(key, where).as_object(at)) {
    out[name] = format.as_string(at + ": " + name);
  }
  return out;
}

bool in_bucket(std::string_view name, std::string_view bucket) {
  return name.starts_with(bucket) &&
         (name.size() == bucket.size() || name[bucket.size()] == '.' || name[bucket.size()] == ':');
}

void read_part(const std::string& folder, const std::string& prefix, InputFiles& files,
               Weights& to) {
  Weights weights = read_checkpoint(folder, files);
  for (const std::string& name : weights.names()) to.add(prefix + name, weights.take(name));
}

}  // namespace

std::string scale_step(std::string_view matrix) {
  for (const MatrixStep& row : kMatrixSteps) {
    const bool same =
        row.matrix.front() == '.' ? matrix.ends_with(row.matrix) : matrix == row.matrix;
    if (same) return std::string(row.step);
  }
  return "not known";
}

std::vector<StoredScale> CobraLowBitFiles::scales_of(const std::string& bucket) const {
  std::vector<StoredScale> out;
  for (const StoredScale& scale : parts.scales) {
    if (in_bucket(scale.tensor, bucket)) out.push_back(scale);
  }
  return out;
}

TensorPlace stored_place(const CobraConfig& config, const std::string& tensor) {
  for (const VisionConfig& tower : config.towers) {
    if (!in_bucket(tensor, tower.bucket)) continue;
    std::string folder = tower.bucket;
    std::ranges::replace(folder, '.', '/');
    return {std::move(folder), tensor.substr(tower.bucket.size() + 1)};
  }
  return {"projector", tensor};
}

CobraLowBitFiles read_cobra_low_bit_files(const std::string& folder) {
  CobraLowBitFiles out;
  out.description = describe_cobra(folder);
  const CobraDescription& model = out.description;
  if (!model.low_bit) fail(folder, "a low-bit Cobra (scute quantize)", "a float one");
  const std::string where = folder + "/config.json: scute";
  const Json& scute = model.json.at("scute", where);
  out.formats = formats_from_json(scute, "formats", where);
  out.matrices = formats_from_json(scute, "matrices", where);
  for (const CobraMatrix& matrix : cobra_matrices(model.config)) {
    const auto own = out.matrices.find(matrix.name);
    if (own != out.matrices.end() && own->second == out.formats[matrix.bucket]) {
      out.matrices.erase(own);
    }
  }
  LowBitFiles& parts = out.parts;
  parts.path = folder;
  parts.has_scheme = true;
  for (const VisionConfig& tower : model.config.towers) {
    const std::string part = folder + "/" + stored_place(model.config, tower.bucket + ".").folder;
    read_part(part, tower.bucket + ".", *model.files, parts.tensors);
  }
  read_part(folder + "/projector", "", *model.files, parts.tensors);
  parts.scales = find_cobra_scales(model.config, parts.tensors);
  parts.clips = model.ranges;
  read_records(parts);
  if (model.language.low_bit) out.language = read_low_bit_files(model.language.path);
  return out;
}

}  // namespace scute
