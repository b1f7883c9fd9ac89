#include "scute/models/sites.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/kernels/hadamard.h"

namespace scute {

SiteList::SiteList() = default;
SiteList::SiteList(const SiteList&) = default;
SiteList::SiteList(SiteList&&) noexcept = default;
SiteList& SiteList::operator=(const SiteList&) = default;
SiteList& SiteList::operator=(SiteList&&) noexcept = default;
SiteList::~SiteList() = default;

Site SiteList::add(std::string name, Shape shape, Site::Extent extent) {
  sites_.push_back({std::move(name), std::move(shape), extent, static_cast<int>(sites_.size())});
  return sites_.back();
}

SiteList::InputSites SiteList::add_input(const std::string& name, int64_t width, Input input,
                                         Site::Extent extent) {
  InputSites out{{name, {width}, extent, -1}, {name + "@rotated", {width}, extent, -1}};
  if (input == Input::plain) out.plain = add(out.plain.name, {width}, extent);
  if (input == Input::rotated || hadamard_factor(width))
    out.rotated = add(out.rotated.name, {width}, extent);
  return out;
}

void SiteList::compose(const Site& whole, const std::vector<Site>& parts) {
  for (const Site& part : parts) {
    sites_[static_cast<size_t>(whole.index)].parts.push_back(part.index);
  }
}

void SiteList::alias(std::string alias, std::string name) {
  if (find(name) == nullptr)
    fail("site " + alias, "another name of a site", name + ", which is none");
  aliases_.emplace(std::move(alias), std::move(name));
}

void SiteList::alias_input(const std::string& alias, const std::string& name) {
  for (const char* twin : {"", "@rotated"}) {
    if (find(name + twin) != nullptr) this->alias(alias + twin, name + twin);
  }
}

const Site* SiteList::find(std::string_view name) const {
  const auto alias = aliases_.find(std::string(name));
  const std::string_view wanted = alias == aliases_.end() ? name : alias->second;
  const auto found = std::find_if(sites_.begin(), sites_.end(),
                                  [&](const Site& site) { return site.name == wanted; });
  return found == sites_.end() ? nullptr : &*found;
}

std::vector<Site> SiteList::match(std::string_view glob, std::string_view where) const {
  std::vector<char> chosen(sites_.size(), 0);
  std::vector<std::string> names;
  for (const Site& site : sites_) {
    names.push_back(site.name);
    if (glob_match(glob, site.name)) chosen[static_cast<size_t>(site.index)] = 1;
  }
  for (const auto& [alias, name] : aliases_) {
    names.push_back(alias);
    if (glob_match(glob, alias)) chosen[static_cast<size_t>(find(name)->index)] = 1;
  }
  std::vector<Site> out;
  for (const Site& site : sites_) {
    if (chosen[static_cast<size_t>(site.index)] != 0) out.push_back(site);
  }
  if (out.empty()) {
    // What people remember of "layer_3.in_proj:input" is "in_proj".
    std::set<std::string> parts;
    for (const std::string& name : names) {
      const size_t dot = name.find('.'), colon = name.rfind(':');
      if (dot < colon && colon != name.npos) parts.insert(name.substr(dot + 1, colon - dot - 1));
    }
    names.insert(names.end(), parts.begin(), parts.end());
    fail(where, fmt::format("a site matching \"{}\"", glob), "none" + did_you_mean(glob, names));
  }
  return out;
}

}  // namespace scute
