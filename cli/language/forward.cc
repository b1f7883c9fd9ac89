#include "cli/language/forward.h"

#include "scute/base/random.h"

namespace scute::cli {

std::vector<int32_t> random_ids(int64_t length, int64_t vocabulary, uint64_t seed) {
  Random random(seed);
  std::vector<int32_t> out(static_cast<size_t>(length));
  for (int32_t& id : out)
    id = static_cast<int32_t>(random.below(static_cast<uint64_t>(vocabulary)));
  return out;
}

std::vector<Site> observed_sites(const SiteList& list, const std::string& glob) {
  std::vector<Site> sites = list.match(glob.empty() ? "*" : glob, "--sites");
  std::erase_if(sites, [](const Site& site) { return site.name == "lm_head:output"; });
  return sites;
}

}  // namespace scute::cli
