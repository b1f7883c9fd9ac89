#include <fmt/format.h>

#include "cli/experiments/experiment_text.h"
#include "cli/experiments/log.h"
#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/experiments/activation_values.h"

namespace scute::cli {
namespace {

Json cuts_json(const ActivationValues& site) {
  Json out = Json::array();
  for (const AlphaCut& cut : site.cuts) {
    Json one;
    one["percentile_alpha"] = cut.alpha;
    one["threshold"] = cut.threshold;
    one["clipped_ratio"] = cut.clipped;
    one["range_reduction"] = cut.range_reduction;
    out.push_back(std::move(one));
  }
  return out;
}

Json as_json(const std::string& path, const std::vector<ActivationValues>& sites) {
  Json out;
  out["file"] = path;
  out["sites"] = Json::array();
  for (const ActivationValues& site : sites) {
    const bool any = site.count > 0;
    Json one;
    one["site"] = site.site;
    one["count"] = site.count;
    one["nan"] = site.nans;
    one["inf"] = site.infinities;
    one["min"] = any ? Json(site.min) : Json();
    one["max"] = any ? Json(site.max) : Json();
    one["cuts"] = cuts_json(site);
    out["sites"].push_back(std::move(one));
  }
  return out;
}

/// "layer_0.x_proj:input: 3 NaN and 1 Inf left out".
std::string left_out_text(const std::vector<ActivationValues>& sites) {
  std::string out;
  for (const ActivationValues& site : sites) {
    if (site.nans + site.infinities == 0) continue;
    out += fmt::format("{}: {} NaN and {} Inf left out\n", printable(site.site), site.nans,
                       site.infinities);
  }
  return out;
}

std::string as_text(const std::vector<ActivationValues>& sites) {
  Table table({{"site", Table::Align::left},
               {"n", Table::Align::right},
               {"min", Table::Align::right},
               {"max", Table::Align::right},
               {"alpha", Table::Align::right},
               {"threshold", Table::Align::right},
               {"clipped", Table::Align::right},
               {"range −%", Table::Align::right}});
  for (const ActivationValues& site : sites) {
    std::vector<std::string> left{printable(site.site), fmt::format("{}", site.count), "-", "-"};
    if (site.count > 0) left[2] = significant(site.min), left[3] = significant(site.max);
    if (site.cuts.empty()) table.add({left[0], left[1], left[2], left[3], "-", "-", "-", "-"});
    for (const AlphaCut& cut : site.cuts) {
      table.add({left[0], left[1], left[2], left[3], fmt::format("{}", cut.alpha),
                 significant(cut.threshold), percent_text(cut.clipped),
                 fixed(100 * cut.range_reduction, 1)});
      left.assign(4, "");  // once a site
    }
  }
  return table.text() + left_out_text(sites);
}

}  // namespace

void show_activations(const std::string& path, std::vector<double> alphas, bool json, Output& out) {
  if (alphas.empty()) {
    const auto named = alpha_of_file(path);
    alphas = named ? std::vector{*named} : std::vector{0.9995, 0.99999, 1.0};
  }
  const auto sites = read_activation_values(path, alphas);
  if (json) {
    out.write_json(as_json(path, sites));
  } else {
    out.write(as_text(sites));
  }
}

}  // namespace scute::cli
