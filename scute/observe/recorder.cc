#include "scute/observe/recorder.h"

#include "scute/base/error.h"

namespace scute {

Recorder::Recorder(const std::vector<Site>& sites, const RecorderOptions& options)
    : fine_(options.fine), counter_(options.fine) {
  for (const Site& site : sites) {
    Vectors vectors = vectors_of(site.name);
    vectors.absmax |= options.per_channel;
    if (!vectors_.emplace(site.name, vectors).second) {
      fail(site.name, "each site once", "it twice");
    }
    names_.push_back(site.name);
  }
}

bool Recorder::wants(const Site& site) const { return vectors_.contains(site.name); }

void Recorder::see(const Site& site, MatView<const float> values) {
  const auto vectors = vectors_.find(site.name);
  if (vectors == vectors_.end()) fail(site.name, "a site this recorder was made for", "another");
  if (values.size() == 0) return;
  Statistic& statistic = statistics_.try_emplace(site.name, Statistic(fine_)).first->second;
  counter_.see(site.name, vectors->second, values, statistic);
}

void Recorder::merge(const Recorder& other) {
  if (other.names_ != names_) fail("recorder", "the same sites in both", "others");
  merge(other.statistics_);
}

void Recorder::merge(std::map<std::string, Statistic> taken) {
  for (auto& [name, statistic] : taken) {
    if (!vectors_.contains(name)) fail(name, "a site this recorder was made for", "another");
    try {
      statistics_.try_emplace(name, Statistic(fine_)).first->second.merge(statistic);
    } catch (const Error& error) {
      throw Error(name + ": " + error.what());
    }
  }
}

std::vector<std::string> Recorder::silent_sites() const {
  std::vector<std::string> out;
  for (const std::string& name : names_) {
    if (!statistics_.contains(name)) out.push_back(name);
  }
  return out;
}

}  // namespace scute
