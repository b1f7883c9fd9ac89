// scute sites: the places that can be observed, and what a name stands for.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "cli/cobra.h"
#include "cli/terminal/options.h"
#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/cobra/folder.h"
#include "scute/cobra/percentile_config.h"
#include "scute/language/collect.h"

namespace scute::cli {
namespace {

std::string_view extent_words(Site::Extent extent) {
  switch (extent) {
    case Site::Extent::per_token:
      return "every token";
    case Site::Extent::per_sample:
      return "after the last token";
    case Site::Extent::per_step:
      return "after every 64th token (--state-every)";
  }
  return "";
}

std::vector<std::string> aliases_of(const SiteList& list, const std::string& name) {
  std::vector<std::string> out;
  for (const auto& [alias, target] : list.aliases()) {
    if (target == name) out.push_back(alias);
  }
  return out;
}

Json as_json(const SiteList& list, const std::vector<Site>& sites) {
  Json out = Json::array();
  for (const Site& site : sites) {
    Json entry;
    entry["name"] = site.name;
    entry["shape"] = Json::array();
    for (const int64_t size : site.shape) entry["shape"].push_back(size);
    entry["seen"] = extent_words(site.extent);
    entry["aliases"] = Json::array();
    for (const std::string& alias : aliases_of(list, site.name)) entry["aliases"].push_back(alias);
    out.push_back(std::move(entry));
  }
  return out;
}

std::string as_text(const SiteList& list, const std::vector<Site>& sites) {
  Table table({{"site", Table::Align::left},
               {"shape", Table::Align::right},
               {"seen", Table::Align::left},
               {"other names", Table::Align::left}});
  for (const Site& site : sites) {
    table.add({site.name, to_string(site.shape), std::string(extent_words(site.extent)),
               joined(aliases_of(list, site.name), " ")});
  }
  return table.text();
}

/// The names that contain `part`, the shortest first, at most `most`.
std::vector<std::string> names_with(const SiteList& list, const std::string& part, size_t most) {
  std::vector<std::string> out;
  for (const Site& site : list.sites()) {
    if (site.name.find(part) != std::string::npos) out.push_back(site.name);
  }
  std::ranges::stable_sort(out, {}, &std::string::size);
  if (out.size() > most) out.resize(most);
  return out;
}

/// How `name` came to stand for `sites`.
std::string explanation(const SiteList& list, const std::string& name,
                        const std::vector<Site>& sites) {
  const auto alias = list.aliases().find(name);
  if (alias != list.aliases().end()) return fmt::format("{} is {}", name, alias->second);
  if (list.find(name) != nullptr) return fmt::format("{} is a site", name);
  return fmt::format("{} matches {}", name, count_of(static_cast<int64_t>(sites.size()), "site"));
}

int answer(const SiteList& list, const std::string& name, const std::string& words,
           const std::vector<Site>& sites, bool json, Output& out) {
  if (json) {
    Json result;
    result["name"] = name;
    result["explanation"] = words;
    result["sites"] = as_json(list, sites);
    out.write_json(result);
  } else {
    out.write(words + "\n\n" + as_text(list, sites));
  }
  return kDone;
}

int find_site(const SiteList& list, const std::string& model, const std::string& name, bool json,
              Output& out) {
  std::vector<Site> sites;
  try {
    sites = list.match(name, model);
  } catch (const Error&) {
    const auto near = names_with(list, name, 3);
    if (near.empty()) throw;  // it names those that are spelled alike
    fail(model, fmt::format("a site called \"{}\"", name),
         fmt::format("none; names that contain it: {}, …", joined(near, ", ")));
  }
  return answer(list, name, explanation(list, name, sites), sites, json, out);
}

/// What a bucket of Cobra is: where it is taken, and how much of it a picture gives.
std::string bucket_words(const CobraDescription& model, const std::string& bucket) {
  const CobraConfig& config = model.config;
  for (const VisionConfig& tower : config.towers) {
    if (tower.bucket != bucket) continue;
    return fmt::format(
        "{} is what block {} of {} gives, the last one that is computed, without final norm and "
        "prefix tokens: {} patches × {} a picture, which the projector reads",
        bucket, tower.depth - 2, tower.depth, tower.patches(), tower.width);
  }
  const ProjectorConfig projector = config.projector_config();
  if (bucket == "projector") {
    return fmt::format(
        "projector is the projector's output, {} × {} a picture, which the language "
        "model reads before the text",
        projector.tokens(), projector.language);
  }
  return fmt::format(
      "llm is the text's token vectors as they are looked up, {} each (embedding:"
      "output of the language model)",
      projector.language);
}

/// A bucket with the sites inside it.
int find_bucket(const CobraDescription& model, const SiteList& list, const std::string& bucket,
                bool json, Output& out) {
  std::vector<Site> sites = list.match(bucket, model.path);
  for (const Site& site : list.sites()) {
    if (site.name.starts_with(bucket + ".")) sites.push_back(site);
  }
  return answer(list, bucket, bucket_words(model, bucket), sites, json, out);
}

}  // namespace

int run_sites(const Arguments& arguments, Output& out) {
  std::string model;
  std::vector<std::string> what;
  bool json = false;
  Options options("sites");
  options.model(model);
  options.texts("GLOB", what, "GLOB...",
                "only these sites, e.g. 'layer_0.*'; or: find NAME, to have a name explained");
  options.json(json);
  if (!options.parse(arguments, out)) return kDone;
  const bool find = !what.empty() && what[0] == "find";
  if (find ? what.size() != 2 : what.size() > 1) {
    throw UsageError("expected scute sites MODEL [GLOB] or scute sites MODEL find NAME");
  }
  std::optional<CobraDescription> cobra;
  if (is_cobra(model)) cobra = describe_cobra(model);
  const SiteList list = cobra ? CobraSites(cobra->config, cobra->language.scheme).list()
                              : list_sites(describe_model(model));
  if (find && cobra && is_bucket(what[1]) && list.find(what[1]) != nullptr) {
    return find_bucket(*cobra, list, what[1], json, out);
  }
  if (find) return find_site(list, model, what[1], json, out);
  const auto sites = list.match(what.empty() ? "*" : what[0], model);
  if (json) {
    Json result;
    result["model"] = model;
    result["sites"] = as_json(list, sites);
    out.write_json(result);
  } else {
    out.write(as_text(list, sites) +
              fmt::format("{}\n", count_of(static_cast<int64_t>(sites.size()), "site")));
  }
  return kDone;
}

}  // namespace scute::cli
