// A trace as JSON and as lines of comma-separated values.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/csv.h"
#include "scute/language/trace.h"

namespace scute {
namespace {

/// JSON's null is "not known"; an infinite SQNR (no error at all) is null too, as in plans.
Json number(const std::optional<double>& x) { return x && std::isfinite(*x) ? Json(*x) : Json(); }

const TracedRange* range_of(const TracedLayer& layer, const TracedScale& scale) {
  const auto found = std::ranges::find(layer.ranges, scale.stored.site, &TracedRange::site);
  return found == layer.ranges.end() ? nullptr : &*found;
}

Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

void add_range(Json& out, const TracedRange& range) {
  out["policy"] = text_or_null(range.policy);
  out["range_before"] =
      range.seen ? Json(Json::Array{range.seen->first, range.seen->second}) : Json();
  out["range_after"] = Json::Array{range.lo, range.hi};
  out["clipped"] = number(range.clipped);
  out["sqnr_db"] = number(range.sqnr);
  out["measured"] = text_or_null(range.measured);
  out["statistic"] = text_or_null(range.statistic);
  out["edited"] = range.edited;
  out["because"] = text_or_null(range.because);
  out["remark"] = text_or_null(range.remark);
}

Json clip_json(const TracedRange& range) {
  Json out = Json::object();
  out["site"] = range.site;
  add_range(out, range);
  return out;
}

Json scale_json(const TracedScale& scale, const TracedRange* range) {
  Json out = Json::object();
  out["tensor"] = scale.stored.tensor;
  out["step"] = scale.stored.step;
  out["shape"] = Json::array();
  for (const int64_t size : scale.shape) out["shape"].push_back(size);
  out["smallest"] = static_cast<double>(scale.smallest);
  out["largest"] = static_cast<double>(scale.largest);
  out["site"] = text_or_null(scale.stored.site);
  if (range == nullptr) return out;
  add_range(out, *range);
  return out;
}

std::string number_cell(const std::optional<double>& x) { return x ? fmt::format("{}", *x) : ""; }

/// The cells from the policy on.
std::string range_cells(const TracedRange* range) {
  if (range == nullptr) return ",,,,,,,,,,,,\n";
  const auto seen = range->seen;
  return fmt::format(
      ",{},{},{},{},{},{},{},{},{},{},{},{}\n", csv_text(range->policy),
      seen ? fmt::format("{}", seen->first) : "", seen ? fmt::format("{}", seen->second) : "",
      range->lo, range->hi, number_cell(range->clipped), number_cell(range->sqnr),
      csv_text(range->measured), csv_text(range->statistic), range->edited ? "yes" : "no",
      csv_text(range->because), csv_text(range->remark));
}

std::string line(const TracedLayer& layer, const TracedScale& scale, const TracedRange* range) {
  std::string shape;
  for (const int64_t size : scale.shape)
    shape += fmt::format("{}{}", shape.empty() ? "" : "x", size);
  return fmt::format("{},{},{},{},{},{},{}", csv_text(layer.name()), csv_text(scale.stored.step),
                     csv_text(scale.stored.tensor), shape, scale.smallest, scale.largest,
                     csv_text(scale.stored.site)) +
         range_cells(range);
}

std::string line(const TracedLayer& layer, const TracedRange& clip) {
  return fmt::format("{},clip,,,,,{}", csv_text(layer.name()), csv_text(clip.site)) +
         range_cells(&clip);
}

}  // namespace

Json Trace::to_json() const {
  Json out = Json::object();
  out["model"] = path;
  if (!parts.empty()) out["parts"] = Json::array();
  for (const std::string& part : parts) out["parts"].push_back(part);
  out["mixer"] = mixer == MixerKind::mamba1 ? "Mamba-1" : "Mamba-2";
  out["chain"] = Json::array();
  for (const std::string_view part : layer_chain(mixer)) out["chain"].push_back(Json(part));
  for (const PartChain& other : chains) {
    Json& steps = out["chains"][other.part];
    steps = Json::array();
    for (const std::string_view step : other.steps) steps.push_back(Json(step));
  }
  out["notes"] = Json::array();
  for (const std::string& note : notes) out["notes"].push_back(note);
  out["edits"] = edits;
  out["layers"] = Json::array();
  for (const TracedLayer& layer : layers) {
    Json one = Json::object();
    one["layer"] = layer.layer >= 0 ? Json(layer.layer) : Json(layer.name());
    one["format"] = text_or_null(layer.format);
    one["scales"] = Json::array();
    for (const TracedScale& scale : layer.scales) {
      one["scales"].push_back(scale_json(scale, range_of(layer, scale)));
    }
    if (!layer.clips.empty()) one["clips"] = Json::array();
    for (const TracedRange& clip : layer.clips) one["clips"].push_back(clip_json(clip));
    out["layers"].push_back(std::move(one));
  }
  return out;
}

std::string Trace::to_csv() const {
  std::string out =
      "layer,step,tensor,shape,smallest,largest,site,policy,before_lo,before_hi,lo,hi,clipped,"
      "sqnr_db,measured,statistic,edited,because,remark\n";
  for (const TracedLayer& layer : layers) {
    for (const TracedScale& scale : layer.scales) {
      out += line(layer, scale, range_of(layer, scale));
    }
    for (const TracedRange& clip : layer.clips) out += line(layer, clip);
  }
  return out;
}

}  // namespace scute
