// scute sites: the places that can be observed, and what a name stands for; for every kind.
#pragma once

#include <string>
#include <vector>

#include "cli/terminal/options.h"
#include "scute/language/scale_names.h"
#include "scute/models/sites.h"

namespace scute::cli {

struct SitesRequest {
  std::string model;
  std::vector<std::string> what;  ///< a glob, or "find" and a name, or nothing
  bool json = false;

  void declare(Options& options);
  void check() const;
  bool find() const { return !what.empty() && what[0] == "find"; }
};

/// Lists the model's sites that match, or explains the name that is looked for: also of a tensor
/// of `scales`. Gives the exit code.
int show_sites(const SiteList& list, const std::vector<StoredScale>& scales,
               const SitesRequest& request, Output& out);
/// What the name that is looked for stands for, in `words` of the caller, and these sites.
int explain_sites(const SiteList& list, const SitesRequest& request, const std::string& words,
                  const std::vector<Site>& sites, Output& out);

}  // namespace scute::cli
