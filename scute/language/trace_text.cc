// A trace as JSON and as lines of comma-separated values.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/language/trace.h"

namespace scute {
namespace {

/// JSON's null is "not known"; an infinite SQNR (no error at all) is null too, as in plans.
Json number(const std::optional<double>& x) { return x && std::isfinite(*x) ? Json(*x) : Json(); }

Json pair_json(double a, double b) { return Json(Json::Array{Json(a), Json(b)}); }

const TracedRange* range_of(const TracedLayer& layer, const TracedScale& scale) {
  const auto found = std::ranges::find(layer.ranges, scale.stored.site, &TracedRange::site);
  return found == layer.ranges.end() ? nullptr : &*found;
}

Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

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
  out["policy"] = text_or_null(range->policy);
  out["range_before"] = range->seen ? pair_json(range->seen->first, range->seen->second) : Json();
  out["range_after"] = pair_json(range->lo, range->hi);
  out["clipped"] = number(range->clipped);
  out["sqnr_db"] = number(range->sqnr);
  out["measured"] = text_or_null(range->measured);
  out["statistic"] = text_or_null(range->statistic);
  out["edited"] = range->edited;
  out["because"] = text_or_null(range->because);
  out["remark"] = text_or_null(range->remark);
  return out;
}

/// RFC 4180: quoted where it must be, quotes doubled.
std::string cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

std::string number_cell(const std::optional<double>& x) { return x ? fmt::format("{}", *x) : ""; }

std::string layer_name(const TracedLayer& layer) {
  return layer.layer == kHeadLayer ? "lm_head" : fmt::format("{}", layer.layer);
}

std::string line(const TracedLayer& layer, const TracedScale& scale, const TracedRange* range) {
  std::string shape;
  for (const int64_t size : scale.shape)
    shape += fmt::format("{}{}", shape.empty() ? "" : "x", size);
  std::string out = fmt::format("{},{},{},{},{},{},{}", layer_name(layer), cell(scale.stored.step),
                                cell(scale.stored.tensor), shape, scale.smallest, scale.largest,
                                cell(scale.stored.site));
  if (range == nullptr) return out + ",,,,,,,,,,,,\n";
  const auto seen = range->seen;
  out += fmt::format(",{},{},{},{},{},{},{},{},{},{},{},{}\n", cell(range->policy),
                     seen ? fmt::format("{}", seen->first) : "",
                     seen ? fmt::format("{}", seen->second) : "", range->lo, range->hi,
                     number_cell(range->clipped), number_cell(range->sqnr), cell(range->measured),
                     cell(range->statistic), range->edited ? "yes" : "no", cell(range->because),
                     cell(range->remark));
  return out;
}

}  // namespace

Json Trace::to_json() const {
  Json out = Json::object();
  out["model"] = path;
  out["mixer"] = mixer == MixerKind::mamba1 ? "Mamba-1" : "Mamba-2";
  out["chain"] = Json::array();
  for (const std::string_view part : layer_chain(mixer)) out["chain"].push_back(Json(part));
  out["notes"] = Json::array();
  for (const std::string& note : notes) out["notes"].push_back(note);
  out["edits"] = edits;
  out["layers"] = Json::array();
  for (const TracedLayer& layer : layers) {
    Json one = Json::object();
    one["layer"] = layer.layer == kHeadLayer ? Json("lm_head") : Json(layer.layer);
    one["format"] = text_or_null(layer.format);
    one["scales"] = Json::array();
    for (const TracedScale& scale : layer.scales) {
      one["scales"].push_back(scale_json(scale, range_of(layer, scale)));
    }
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
  }
  return out;
}

}  // namespace scute
