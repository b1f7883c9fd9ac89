#include "scute/cobra/low_bit.h"

#include <algorithm>

#include "scute/base/error.h"
#include "scute/cobra/matrices.h"
#include "scute/language/low_bit_matrix_check.h"

namespace scute {
namespace {

const Weights& part_of(const CobraWeights& weights, size_t part) {
  return part < weights.towers.size() ? weights.towers[part] : weights.projector;
}

void refuse_scales(const Weights& weights, const std::string& folder) {
  const std::vector<std::string> names = weights.names();
  const auto scale = std::ranges::find_if(
      names, [](const std::string& name) { return name.ends_with(".weight_scale"); });
  if (scale == names.end()) return;
  fail(folder, "a \"scute\" object in config.json beside low-bit tensors", "none, but " + *scale);
}

}  // namespace

Json cobra_low_bit_json(const CobraFormats& formats, const CobraDescription& model) {
  Json out = Json::object();
  out["format"] = "scute-cobra";
  out["version"] = 1;
  out["tool"] = "scute " SCUTE_VERSION;
  out["formats"] = Json::object();
  for (const std::string& bucket : cobra_buckets(model.config)) {
    out["formats"][bucket] = formats.buckets.at(bucket).name();
  }
  out["matrices"] = Json::object();
  for (const CobraMatrix& matrix : cobra_matrices(model.config)) {
    out["matrices"].append_member(matrix.name, formats.matrices.at(matrix.name).name());
  }
  out["ranges"] = Json::object();
  for (const auto& [site, range] : model.ranges) {
    out["ranges"][site] = Json(Json::Array{Json(static_cast<double>(range.first)),
                                           Json(static_cast<double>(range.second))});
  }
  return out;
}

void check_cobra_low_bit(const CobraDescription& model, const CobraWeights& weights) {
  if (!model.low_bit) {
    for (const Weights& tower : weights.towers) refuse_scales(tower, model.path);
    return refuse_scales(weights.projector, model.path);
  }
  const std::string where = model.path + "/config.json: scute";
  const Json& matrices = model.json.at("scute", where).at("matrices", where);
  for (const CobraMatrix& matrix : cobra_matrices(model.config)) {
    const std::string at = where + ": matrices: " + matrix.name;
    const std::string& name = matrices.at(matrix.name, where + ": matrices").as_string(at);
    const LayerFormat format = LayerFormat::parse(name, at);
    check_low_bit_matrix(part_of(weights, matrix.part), matrix.tensor, format.weight_bits,
                         !format.is_float() && format.eight_bit_activations(), name);
  }
  for (const Weights& tower : weights.towers) check_finite(tower);
  check_finite(weights.projector);
}

void use_ranges(const CobraDescription& model, CobraModel::Parts parts, CobraModel& to) {
  for (const auto& [name, range] : model.ranges) {
    const Site* site = to.sites().find(name);
    const bool of_language = site != nullptr && site->index >= to.sites().find("llm")->index;
    if (of_language && parts == CobraModel::Parts::vision) continue;
    to.set_range(name, range.first, range.second);
  }
}

}  // namespace scute
