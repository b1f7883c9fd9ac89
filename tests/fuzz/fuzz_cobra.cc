// Any JSON as what Cobra's files say: a tower's config, the percentile options, another tool's
// percentiles. Refused with an Error, or something that makes sense.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "scute/cobra/percentile_config.h"
#include "scute/cobra/percentile_tables.h"
#include "scute/cobra/vision_config.h"
#include "tests/fuzz/refusal.h"

namespace scute::fuzz_cobra {
namespace {

using scute::Json;
using scute::TorchValue;
using scute::fuzz::may_be_refused;

/// The same tree as PyTorch's file would hold it; whole numbers stay whole.
TorchValue as_torch(const Json& json) {
  if (json.is_bool()) return TorchValue(json.as_bool(""));
  if (json.is_int()) return TorchValue(json.as_int(""));
  if (json.is_number()) return TorchValue(json.as_double(""));
  if (json.is_string()) return TorchValue(json.as_string(""));
  if (json.is_array()) {
    TorchValue::List list;
    for (const Json& item : json.as_array("")) list.push_back(as_torch(item));
    return TorchValue(std::move(list));
  }
  if (!json.is_object()) return TorchValue();
  TorchValue::Dict dict;
  for (const auto& [key, value] : json.as_object("")) dict.emplace_back(key, as_torch(value));
  return TorchValue(std::move(dict));
}

void towers(const Json& json) {
  for (const auto kind : {scute::TowerKind::dino, scute::TowerKind::siglip}) {
    const auto tower =
        scute::describe_tower(kind, json, "vit_so400m_patch14_siglip_384", 56, "fuzz");
    tower.config.check("fuzz");
    for (const float deviation : tower.normalization.deviation) {
      if (!(deviation > 0)) std::abort();
    }
  }
}

void options(const Json& json) {
  std::optional<scute::PercentileOptions> read;
  may_be_refused([&] { read = scute::percentile_options_from_json(json, "fuzz"); });
  if (!read) return;
  if (read->batches < 1 || read->batch_size < 1 || read->targets.empty()) std::abort();
  // What scute wrote it must read, so an Error from here on ends the program.
  if (!(scute::percentile_options_from_json(to_json(*read), "fuzz") == *read)) std::abort();
}

void tables(const Json& json) {
  const auto read = scute::percentile_tables_of(as_torch(json), "fuzz");
  for (const char* name : {"tail", "minmax", "percentile:0.999"}) {
    may_be_refused([&] {
      const scute::Plan plan = scute::plan_from_tables(
          read, {.policy = scute::Policy::parse(name), .grid = {}, .rules = {}, .per_site = {}});
      for (const auto& [bucket, decision] : plan.sites) {
        if (!std::isfinite(decision.lo) || !(decision.lo <= decision.hi)) std::abort();
      }
    });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Json json;
  may_be_refused([&] { json = Json::parse(text, "fuzz"); });
  may_be_refused([&] { towers(json); });
  may_be_refused([&] { tables(json); });
  options(json);
  return 0;
}

}  // namespace scute::fuzz_cobra
