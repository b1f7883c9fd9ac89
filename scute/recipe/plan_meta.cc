#include "scute/recipe/plan_meta.h"

#include <string_view>

namespace scute {

Json plan_meta(const StatisticsSet& statistics, const std::string& statistics_sha256) {
  Json meta;
  meta["format"] = "scute-plan";
  meta["version"] = 1;
  meta["tool"] = "scute " SCUTE_VERSION;
  for (const std::string_view key :
       {"model", "model_sha256", "tokenizer_sha256", "windows_sha256", "samples", "tokens",
        "seqlen", "shuffle", "state_every", "compute", "observer", "instruction_set",
        "features_sha256", "role"}) {
    const Json* value = statistics.meta.find(key);
    if (value != nullptr) meta[key] = *value;
  }
  const Json* data = statistics.meta.find("data");
  if (data != nullptr && data->is_array()) {
    for (const Json& part : data->as_array("data")) {
      const Json* files = part.find("files");
      if (files == nullptr || !files->is_array()) continue;
      for (const Json& file : files->as_array("files")) meta["data"].push_back(file);
    }
  }
  if (!statistics_sha256.empty()) meta["statistics_sha256"] = statistics_sha256;
  return meta;
}

}  // namespace scute
