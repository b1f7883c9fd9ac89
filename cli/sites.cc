#include "cli/sites.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/base/names.h"

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
    case Site::Extent::routed:
      return "every token sent there";
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
  using enum Table::Align;
  Table table({{.title = "site", .align = left, .least = 48},
               {"shape", right},
               {.title = "seen", .align = left, .keep = Table::Keep::beginning, .least = 16},
               {"other names", left}});
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

/// Sites whose scales are kept in tensors of this name or glob, and in words which.
std::string sites_of_tensors(const SiteList& list, const std::vector<StoredScale>& scales,
                             const std::string& name, std::vector<Site>& sites) {
  std::string words;
  for (const StoredScale& scale : scales) {
    const Site* site = list.find(scale.site);
    if (site == nullptr || !glob_match(name, scale.tensor)) continue;
    if (words.empty()) words = fmt::format("{} holds the scale of {}", scale.tensor, scale.site);
    const auto same = [&](const Site& other) { return other.name == site->name; };
    if (std::ranges::none_of(sites, same)) sites.push_back(*site);
  }
  if (sites.size() < 2) return words;
  return fmt::format("{} matches tensors that hold the scales of {}", name,
                     count_of(std::ssize(sites), "site"));
}

int find_site(const SiteList& list, const std::vector<StoredScale>& scales,
              const SitesRequest& request, Output& out) {
  const std::string &name = request.what[1], &model = request.model;
  std::vector<Site> sites;
  if (const std::string words = sites_of_tensors(list, scales, name, sites); !words.empty()) {
    return explain_sites(list, request, words, sites, out);
  }
  try {
    sites = list.match(name, model);
  } catch (const Error&) {
    const auto near = names_with(list, name, 3);
    if (near.empty()) throw;  // it names those that are spelled alike
    fail(model, fmt::format("a site called \"{}\"", name),
         fmt::format("none; names that contain it: {}, …", joined(near, ", ")));
  }
  return explain_sites(list, request, explanation(list, name, sites), sites, out);
}

}  // namespace

void SitesRequest::declare(Options& options) {
  options.model(model);
  options.texts("GLOB", what, "GLOB...",
                "only these sites, e.g. 'layer_0.*'; or: find NAME, to have a name explained: of a "
                "site, or of a tensor that trace prints");
  options.json(json);
}

void SitesRequest::check() const {
  if (find() ? what.size() != 2 : what.size() > 1) {
    throw UsageError("expected scute sites MODEL [GLOB] or scute sites MODEL find NAME");
  }
}

int explain_sites(const SiteList& list, const SitesRequest& request, const std::string& words,
                  const std::vector<Site>& sites, Output& out) {
  if (request.json) {
    Json result;
    result["name"] = request.what[1];
    result["explanation"] = words;
    result["sites"] = as_json(list, sites);
    out.write_json(result);
  } else {
    out.write(words + "\n\n" + as_text(list, sites));
  }
  return kDone;
}

int show_sites(const SiteList& list, const std::vector<StoredScale>& scales,
               const SitesRequest& request, Output& out) {
  if (request.find()) return find_site(list, scales, request, out);
  const auto sites = list.match(request.what.empty() ? "*" : request.what[0], request.model);
  if (request.json) {
    Json result;
    result["model"] = request.model;
    result["sites"] = as_json(list, sites);
    out.write_json(result);
  } else {
    out.write(as_text(list, sites) +
              fmt::format("{}\n", count_of(static_cast<int64_t>(sites.size()), "site")));
  }
  return kDone;
}

}  // namespace scute::cli
