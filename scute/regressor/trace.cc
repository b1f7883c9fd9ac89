#include "scute/regressor/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "scute/base/csv.h"
#include "scute/base/error.h"
#include "scute/models/regressor/regressor.h"
#include "scute/regressor/quantize.h"
#include "scute/regressor/ranges.h"

namespace scute {
namespace {

using Mode = RegressorQuantization::Mode;

/// The site whose range a value follows; empty: it follows no measurement.
std::string source_of(const std::string& value, const RegressorConfig& config) {
  const size_t dot = value.rfind('.');
  const std::string block = dot == std::string::npos ? "" : value.substr(0, dot + 1);
  const bool slim = config.variant == RegressorConfig::Variant::slim;
  if (value.find(".u_act:") != std::string::npos) {
    return block + (slim ? "ssm.dt_proj:input" : "x_proj:input");
  }
  if (value.find(".z_act:") != std::string::npos) return block + "z_act:input";
  if (value == "norm_f:input" || value == "head:output") return value;
  return "";
}

std::string why_value(const std::string& value) {
  if (value == "norm_f:input") return "the largest range of the residual stream's sites";
  if (value == "norm_f:output") return "no value is larger: width and the norm's weights";
  if (value.ends_with("ssm.dt_proj:output")) return "what goes into a sigmoid, -8 .. 8";
  return "";
}

/// Whether every code is Q8.8. Other tools say "fixed" of scales that they measured too.
bool is_fixed(const RegressorCheckpoint& checkpoint) {
  const auto q88 = [](float scale) { return scale == 0x1p-8F; };
  const auto stored = [&](const RegressorScales& scales) {
    return std::ranges::all_of(scales.input, q88);
  };
  return checkpoint.quantization.mode == Mode::fixed &&
         std::ranges::all_of(checkpoint.scales, stored);
}

class Tracer {
 public:
  explicit Tracer(const RegressorCheckpoint& checkpoint)
      : checkpoint_(checkpoint), fixed_(is_fixed(checkpoint)) {
    out_.path = checkpoint.path;
    if (!checkpoint.formats && checkpoint.scales.empty()) {
      fail(checkpoint.path, "a quantized checkpoint (scute quantize)", "a float one: no scales");
    }
    if (checkpoint.plan) out_.edits = edits_of(checkpoint.plan->meta);
    describe_origin();
  }

  RegressorTrace take() {
    if (checkpoint_.formats) {
      trace_formats(*checkpoint_.formats);
    } else {
      trace_rounding(stored_rounding(checkpoint_));
    }
    return std::move(out_);
  }

 private:
  static int64_t edits_of(const Json& meta) {
    const Json* edits = meta.find("edits");
    return edits != nullptr && edits->is_array() ? std::ssize(edits->as_array("edits")) : 0;
  }

  void describe_origin() {
    RegressorQuantization how = checkpoint_.quantization;
    if (!checkpoint_.formats && how.backend != RegressorBackend::integer) {
      how.backend = checkpoint_.scales.front().backend;
    }
    const std::string ranges =
        checkpoint_.plan ? describe_ranges(*checkpoint_.plan) : "ranges not recorded";
    out_.description = describe(how, ranges);
    if (fixed_) return;
    if (!checkpoint_.plan) {
      out_.notes.push_back(
          "no plan inside: what chose the ranges is not recorded (scute quantize, and eval "
          "--save-calib-ckpt, write it)");
    } else if (!checkpoint_.statistics) {
      out_.notes.push_back("no statistics inside: quantize with --stats keeps them");
    }
  }

  void trace_formats(const RegressorFormats& formats) {
    const std::optional<RegressorFormats> planned = planned_formats();
    const auto edited = [](const Grid& stored, const Grid* wanted) {
      return wanted != nullptr && stored.scale != wanted->scale;
    };
    for (const std::string& name : ordered(formats.layers)) {
      const auto& layer = formats.layers.at(name);
      const bool known = planned && planned->layers.contains(name);
      TracedFormat& input = add(name, "input", layer.input.spec.bits, {&layer.input.scale, 1});
      input.edited = known && edited(layer.input, &planned->layers.at(name).input);
      from_site(name + ":input", input);
      from_weights(add(name, "weight", layer.input.spec.bits, layer.weight));
      if (layer.bias == 0) continue;
      TracedFormat& bias = add(name, "bias", 16, {&layer.bias, 1});
      bias.because = fixed_ ? "Q8.8" : "the largest bias, in a power of two";
    }
    for (const auto& [name, grid] : formats.values) {
      TracedFormat& value = add(name, "value", 16, {&grid.scale, 1});
      const bool known = planned && planned->values.contains(name);
      value.edited = known && edited(grid, &planned->values.at(name));
      if (const std::string site = source_of(name, checkpoint_.config); !site.empty()) {
        from_site(site, value);
      }
      if (const std::string why = why_value(name); !why.empty() && !fixed_) value.because = why;
      if (fixed_) value.because = "Q8.8";
    }
  }

  void trace_rounding(const RegressorRounding& rounding) {
    for (const std::string& name : ordered(rounding)) {
      const LayerRounding& layer = rounding.at(name);
      TracedFormat& input = add(name, "input", layer.bits, layer.input);
      const bool wraps = layer.backend == RegressorBackend::extension && layer.bits == 8 &&
                         name != "patch_embedding";
      if (wraps) {
        input.zero = layer.input_zero;
        input.lo = -static_cast<double>(layer.input_zero * input.most);
        input.hi = static_cast<double>((255 - layer.input_zero) * input.most);
      }
      from_site(name + ":input", input);
      from_weights(add(name, "weight", layer.bits, layer.weight));
    }
  }

  /// What the plan inside gives today; nothing without one.
  std::optional<RegressorFormats> planned_formats() const {
    if (!checkpoint_.plan || fixed_) return std::nullopt;
    Plan plan = *checkpoint_.plan;
    plan.meta = Json();
    try {
      return quantize_regressor(checkpoint_, checkpoint_.quantization, plan, nullptr).formats;
    } catch (const Error&) {
      return std::nullopt;  // of a part of the sites only
    }
  }

  /// Names of layers in the order tensors reach them, those of convolutions last.
  template <class Map>
  std::vector<std::string> ordered(const Map& layers) const {
    std::vector<std::string> out;
    const RegressorTensors tensors(checkpoint_.config, checkpoint_.weights);
    for (const RegressorProduct& product : regressor_products(checkpoint_.config, tensors)) {
      if (layers.contains(product.layer)) out.push_back(product.layer);
    }
    for (const auto& [name, layer] : layers) {
      if (std::ranges::find(out, name) == out.end()) out.push_back(name);
    }
    return out;
  }

  TracedFormat& add(const std::string& layer, const char* acts, int bits,
                    std::span<const float> scales) {
    TracedFormat one;
    one.layer = layer;
    one.acts = acts;
    one.bits = bits;
    one.count = std::ssize(scales);
    const auto [least, most] = std::ranges::minmax(scales);
    one.least = least;
    one.most = most;
    const GridSpec spec{bits, true};
    one.lo = static_cast<double>(most) * spec.lowest();
    one.hi = static_cast<double>(most) * spec.highest();
    out_.scales.push_back(std::move(one));
    return out_.scales.back();
  }

  void from_weights(TracedFormat& scale) const {
    scale.because = fixed_             ? "Q8.8"
                    : scale.count == 1 ? "the matrix's largest magnitude"
                                       : "each output's largest magnitude";
  }

  void from_site(const std::string& site, TracedFormat& scale) const {
    scale.site = site;
    if (fixed_) scale.because = "Q8.8";
    if (checkpoint_.statistics) {
      const auto seen = checkpoint_.statistics->sites.find(site);
      if (seen != checkpoint_.statistics->sites.end()) {
        scale.seen = {static_cast<double>(seen->second.min), static_cast<double>(seen->second.max)};
      }
    }
    if (!checkpoint_.plan) return;
    const auto found = checkpoint_.plan->sites.find(site);
    if (found == checkpoint_.plan->sites.end()) return;
    scale.policy = found->second.policy;
    scale.because = found->second.because;
    if (!scale.seen) scale.seen = {found->second.before_lo, found->second.before_hi};
  }

  const RegressorCheckpoint& checkpoint_;
  bool fixed_;
  RegressorTrace out_;
};

}  // namespace

Json RegressorTrace::to_json() const {
  Json out;
  out["model"] = path;
  out["format"] = description;
  out["edits"] = edits;
  out["notes"] = Json::array();
  for (const std::string& note : notes) out["notes"].push_back(note);
  out["scales"] = Json::array();
  for (const TracedFormat& scale : scales) {
    Json one;
    one["layer"] = scale.layer;
    one["acts"] = scale.acts;
    one["bits"] = scale.bits;
    one["count"] = scale.count;
    one["smallest"] = static_cast<double>(scale.least);
    one["largest"] = static_cast<double>(scale.most);
    if (scale.zero) one["zero"] = static_cast<double>(*scale.zero);
    one["lo"] = scale.lo;
    one["hi"] = scale.hi;
    one["site"] = scale.site.empty() ? Json() : Json(scale.site);
    one["seen"] =
        scale.seen ? Json(Json::Array{Json(scale.seen->first), Json(scale.seen->second)}) : Json();
    one["policy"] = scale.policy;
    one["because"] = scale.because;
    one["edited"] = scale.edited;
    out["scales"].push_back(std::move(one));
  }
  return out;
}

std::string RegressorTrace::to_csv() const {
  std::string out =
      "layer,acts,bits,count,smallest,largest,lo,hi,site,min,max,policy,because,edited\n";
  for (const TracedFormat& s : scales) {
    out += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", csv_text(s.layer),
                       csv_text(s.acts), s.bits, s.count, s.least, s.most, s.lo, s.hi,
                       csv_text(s.site), s.seen ? fmt::to_string(s.seen->first) : "",
                       s.seen ? fmt::to_string(s.seen->second) : "", csv_text(s.policy),
                       csv_text(s.because), s.edited ? "yes" : "no");
  }
  return out;
}

RegressorTrace trace_regressor(const RegressorCheckpoint& checkpoint) {
  return Tracer(checkpoint).take();
}

}  // namespace scute
