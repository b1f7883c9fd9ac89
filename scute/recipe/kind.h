// What kind of model a path is: the only place that looks.
#pragma once

#include <string>
#include <string_view>

namespace scute {

enum class ModelKind {
  language,   ///< a folder: config.json, weights, tokenizer.json
  cobra,      ///< a folder whose config.json has a "model" with a "vision_backbone_id"
  regressor,  ///< a file, .pt
};

/// "language model", "Cobra", "regressor".
std::string_view name_of(ModelKind kind);

/// Looks at the path, and at a folder's config.json, alone; that the rest is in order is for the
/// readers of that kind to say. Error, one line that says what to type, when nothing is there, for
/// another file (a model is a folder), for a folder of no known kind and for one that two claim.
ModelKind kind_of(const std::string& path);

}  // namespace scute
