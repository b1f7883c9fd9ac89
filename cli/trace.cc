#include "cli/trace.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "cli/terminal/options.h"
#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/base/names.h"

namespace scute::cli {
namespace {

/// Layers shown on a terminal unless --all.
constexpr size_t kLayers = 2;

std::string short_name(const std::string& name, std::string_view prefix) {
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

std::string short_range(double lo, double hi) {
  if (lo == -hi) return "±" + significant(hi, 4);
  return significant(lo, 3) + " .. " + significant(hi, 3);
}

std::string value_text(const TracedScale& scale) {
  const auto smallest = static_cast<double>(scale.smallest);
  const auto largest = static_cast<double>(scale.largest);
  if (scale.smallest == scale.largest) return significant(largest, 4);
  return significant(smallest, 3) + " .. " + significant(largest, 3);
}

std::string site_text(const std::string& site) { return site.empty() ? "not known" : site; }

/// What the names of a layer's tensors and sites begin with, and the tables leave out.
struct Prefixes {
  std::string tensors, sites;
};

Prefixes prefixes_of(const TracedLayer& layer) {
  if (!layer.part.empty()) return {layer.part + ".", layer.part + "."};
  const std::string whole = fmt::format("backbone.layers.{}.", layer.layer);
  const bool mixer = std::ranges::all_of(layer.scales, [&](const TracedScale& scale) {
    return scale.stored.tensor.starts_with(whole + "mixer.");
  });
  return {mixer ? whole + "mixer." : whole, fmt::format("layer_{}.", layer.layer)};
}

/// The tensors under headings that say where in the layer they act.
std::string scales_text(const TracedLayer& layer) {
  const bool head = layer.layer == kHeadLayer;
  const auto [tensors, sites] = prefixes_of(layer);
  Table table({{head ? "" : tensors, Table::Align::left},
               {"scale"},
               {"shape", Table::Align::right, 1},
               {head ? "site" : sites, Table::Align::left}});
  std::string step;
  for (const TracedScale& scale : layer.scales) {
    if (scale.stored.step != step) table.add({scale.stored.step, "", "", ""});
    step = scale.stored.step;
    table.add({"  " + short_name(scale.stored.tensor, tensors), value_text(scale),
               to_string(scale.shape), short_name(site_text(scale.stored.site), sites)});
  }
  return table.text();
}

/// Those of the scales, then the clips.
std::vector<TracedRange> all_ranges(const TracedLayer& layer) {
  std::vector<TracedRange> out = layer.ranges;
  out.insert(out.end(), layer.clips.begin(), layer.clips.end());
  return out;
}

std::string ranges_text(const TracedLayer& layer) {
  const bool head = layer.layer == kHeadLayer;
  const std::string sites = prefixes_of(layer).sites;
  Table table({{head ? "site" : sites, Table::Align::left},
               {"policy", Table::Align::left},
               {"range before"},
               {"range after"},
               {"clipped %"},
               {"SQNR dB"}});
  for (const TracedRange& range : all_ranges(layer)) {
    table.add({short_name(range.site, sites), range.policy.empty() ? "-" : range.policy,
               range.seen ? short_range(range.seen->first, range.seen->second) : "-",
               short_range(range.lo, range.hi),
               range.clipped ? fixed(100 * *range.clipped, 4) : "-",
               range.sqnr ? fixed(*range.sqnr, 1) : "-"});
  }
  return table.text();
}

std::string reasons_text(const TracedLayer& layer) {
  const std::string sites = prefixes_of(layer).sites;
  std::string out;
  for (const TracedRange& range : all_ranges(layer)) {
    std::string text = range.because;
    if (!range.remark.empty()) text += (text.empty() ? "" : "; ") + range.remark;
    if (!text.empty()) out += short_name(range.site, sites) + ": " + text + "\n";
  }
  return out;
}

std::string layer_text(const TracedLayer& layer) {
  std::string title = layer.layer == kHeadLayer ? "head" : layer.name();
  if (layer.layer >= 0) title = "layer " + title;
  if (!layer.format.empty()) title += ", " + layer.format;
  if (layer.scales.empty()) title += ": no activation is rounded";
  if (layer.scales.empty() && layer.clips.empty()) return title + "\n";
  std::string out = title + "\n";
  if (!layer.scales.empty()) out += scales_text(layer) + "\n";
  out += ranges_text(layer);
  if (const std::string reasons = reasons_text(layer); !reasons.empty()) out += "\n" + reasons;
  return out;
}

std::string as_text(const Trace& trace, size_t most) {
  const bool one = trace.mixer == MixerKind::mamba1;
  const std::string mixer =
      fmt::format("{}, {}", one ? "Mamba-1" : "Mamba-2", joined(layer_chain(trace.mixer), " → "));
  std::string out = fmt::format("{}: {}\n", trace.path, mixer);
  if (!trace.parts.empty()) {
    out = fmt::format("{}: Cobra, {}; llm: {}\n", trace.path, joined(trace.parts, ", "), mixer);
  }
  for (const PartChain& chain : trace.chains) {
    out += fmt::format("{}: {}\n", chain.part, joined(chain.steps, " → "));
  }
  for (const std::string& note : trace.notes) out += note + "\n";
  if (trace.edits > 0) {
    out +=
        fmt::format("{} of ranges by hand (recipe.json: edits)\n", count_of(trace.edits, "edit"));
  }
  for (size_t i = 0; i < trace.layers.size() && i < most; ++i) {
    const bool gap = i == 0 || !trace.layers[i].scales.empty();
    out += (gap ? "\n" : "") + layer_text(trace.layers[i]);
  }
  if (trace.layers.size() > most) {
    out += fmt::format("\n… and {} more layers: --all shows them, --layer N one\n",
                       trace.layers.size() - most);
  }
  return out;
}

void keep_layer(Trace& trace, const std::string& layer) {
  std::vector<std::string> names;
  int64_t layers = 0;
  for (const TracedLayer& one : trace.layers) {
    layers += one.layer >= 0 ? 1 : 0;
    if (one.layer < 0) names.push_back(one.name());
  }
  std::erase_if(trace.layers, [&](const TracedLayer& one) { return one.name() != layer; });
  if (trace.layers.empty()) {
    const std::string others = names.empty() ? "" : ", or " + joined(names, ", ");
    fail("--layer",
         fmt::format("one of the {} of {}{}", count_of(layers, "layer"), trace.path, others),
         layer);
  }
}

}  // namespace

void TraceRequest::declare(Options& options) {
  options.model(model);
  options.text("--layer", layer, "LAYER",
               "this layer alone: its number, lm_head, or a part of Cobra such as vision.dino; "
               "without it all");
  options.flag("--csv", csv, "one line a scale, comma-separated, a title line first");
  options.flag("--all", all, fmt::format("every layer, also more than {} on a terminal", kLayers));
  options.json(json);
}

void TraceRequest::check() const {
  if (csv && json) throw UsageError("expected --csv or --json, found both");
}

int show_trace(Trace trace, const TraceRequest& request, Output& out) {
  if (!request.layer.empty()) keep_layer(trace, request.layer);
  if (request.json) {
    out.write_json(trace.to_json());
  } else if (request.csv) {
    out.write_lines(trace.to_csv());
  } else {
    const bool cut = !request.all && ::isatty(STDOUT_FILENO) == 1;
    out.write(as_text(trace, cut ? kLayers : trace.layers.size()));
  }
  return kDone;
}

}  // namespace scute::cli
