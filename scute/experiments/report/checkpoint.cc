// The report's checkpoint: every static scale and range, and what the search measured.
#include "scute/base/names.h"
#include "scute/experiments/report/data.h"

namespace scute {
namespace {

Json or_null(const std::optional<double>& value, int digits) {
  return value ? number(*value, digits) : Json();
}

Json range_json(const TracedRange& range) {
  const SiteName name = split_site(range.site);
  Json out;
  out["site"] = range.site;
  out["layer"] = name.layer;
  out["op"] = name.op;
  out["policy"] = range.policy;
  out["because"] = range.because;
  out["remark"] = range.remark;
  if (range.seen) out["seen"] = Json::Array{number(range.seen->first), number(range.seen->second)};
  out["lo"] = number(range.lo);
  out["hi"] = number(range.hi);
  out["clipped"] = or_null(range.clipped, 4);
  out["sqnr"] = or_null(range.sqnr, 4);
  out["measured"] = range.measured;
  // `scute scales` changes the plan too, which then names that as the policy.
  out["edited"] = range.edited || range.policy == "edited";
  return out;
}

/// [tensor, step, site, shape, smallest, largest]
Json scale_json(const TracedScale& scale) {
  return Json::Array{scale.stored.tensor,
                     scale.stored.step,
                     scale.stored.site,
                     to_string(scale.shape),
                     number(static_cast<double>(scale.smallest)),
                     number(static_cast<double>(scale.largest))};
}

Json layer_json(const TracedLayer& layer) {
  Json out;
  out["name"] = layer.layer == kHeadLayer ? "head" : layer.name();
  out["format"] = layer.format;
  out["ranges"] = Json::array();
  for (const TracedRange& range : layer.ranges) out["ranges"].push_back(range_json(range));
  for (const TracedRange& clip : layer.clips) out["ranges"].push_back(range_json(clip));
  out["scales"] = Json::array();
  for (const TracedScale& scale : layer.scales) out["scales"].push_back(scale_json(scale));
  return out;
}

}  // namespace

Json checkpoint_data(const Trace& trace, const Json& recipe) {
  Json out;
  out["name"] = base_name(trace.path);
  out["family"] = std::string(trace.parts.empty() ? "" : "Cobra, llm ") +
                  (trace.mixer == MixerKind::mamba1 ? "Mamba-1" : "Mamba-2");
  out["edits"] = trace.edits;
  out["notes"] = Json::array();
  for (const std::string& note : trace.notes) out["notes"].push_back(note);
  for (const char* key : {"model", "model_sha256", "tool", "options", "search"}) {
    const Json* value = recipe.find(key);
    if (value != nullptr) out[key] = finite(*value);
  }
  out["layers"] = Json::array();
  for (const TracedLayer& layer : trace.layers) out["layers"].push_back(layer_json(layer));
  return out;
}

}  // namespace scute
