#include "scute/models/vision/cobra.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "scute/base/error.h"
#include "scute/base/names.h"

namespace scute {
namespace {

const CobraConfig& checked(const CobraConfig& config, const CobraWeights& weights) {
  const std::string& where = weights.projector.source();
  config.check(where);
  if (weights.towers.size() != config.towers.size()) {
    fail(where, fmt::format("the weights of {} towers", config.towers.size()),
         fmt::format("of {}", weights.towers.size()));
  }
  return config;
}

std::vector<std::string> names_of(const SiteList& list) {
  std::vector<std::string> out;
  for (const Site& site : list.sites()) out.push_back(site.name);
  for (const auto& [alias, name] : list.aliases()) out.push_back(alias);
  return out;
}

}  // namespace

ProjectorConfig CobraConfig::projector_config() const {
  ProjectorConfig out{.kind = projector, .language = language.width};
  for (const VisionConfig& tower : towers) {
    out.vision += tower.width;
    out.grid = tower.grid();
  }
  return out;
}

void CobraConfig::check(std::string_view where) const {
  if (towers.empty() || towers.size() > 2) {
    fail(where, "one or two vision towers", fmt::format("{}", towers.size()));
  }
  std::set<std::string> buckets;
  for (const VisionConfig& tower : towers) {
    tower.check(where);
    if (!buckets.insert(tower.bucket).second) {
      fail(where, "a name for each tower", fmt::format("{} twice", tower.bucket));
    }
    if (tower.grid() != towers.front().grid()) {
      fail(where,
           fmt::format("towers that cut pictures into equally many patches, {} a side as {}",
                       towers.front().grid(), towers.front().bucket),
           fmt::format("{} of {}", tower.grid(), tower.bucket));
    }
  }
  language.check(where);
}

CobraSites::CobraSites(const CobraSites&) = default;
CobraSites::CobraSites(CobraSites&&) noexcept = default;
CobraSites& CobraSites::operator=(const CobraSites&) = default;
CobraSites& CobraSites::operator=(CobraSites&&) noexcept = default;
CobraSites::~CobraSites() = default;

CobraSites::CobraSites(const CobraConfig& config, const Scheme& scheme) {
  SiteList before;
  std::vector<Site> outputs;
  for (const VisionConfig& tower : config.towers) {
    towers.emplace_back(tower, before);
    outputs.push_back(towers.back().output);
  }
  projector = ProjectorSites(config.projector_config(), outputs, before);
  language = LanguageModelSites(config.language, scheme, std::move(before), "llm");
}

CobraModel::CobraModel(const CobraModel&) = default;
CobraModel::CobraModel(CobraModel&&) noexcept = default;
CobraModel& CobraModel::operator=(const CobraModel&) = default;
CobraModel& CobraModel::operator=(CobraModel&&) noexcept = default;
CobraModel::~CobraModel() = default;

CobraModel::CobraModel(const CobraConfig& config, CobraWeights weights, const Execution& execution,
                       Parts parts, const Scheme& scheme)
    : config_(checked(config, weights)), sites_(config_, scheme), parts_(parts) {
  for (size_t i = 0; i < config_.towers.size(); ++i) {
    towers_.emplace_back(config_.towers[i], std::move(weights.towers[i]), execution,
                         sites_.towers[i]);
  }
  projector_ = Projector(config_.projector_config(), std::move(weights.projector), execution,
                         sites_.projector);
  if (parts == Parts::vision) return;
  const auto head = parts == Parts::all ? LanguageModel::Head::packed : LanguageModel::Head::absent;
  language_ = LanguageModel(config_.language, std::move(weights.language), execution, head, scheme,
                            sites_.language);
}

void CobraModel::tower(Run& run, size_t index, MatView<const float> pixels,
                       MatView<float> out) const {
  run.use(grids_);
  towers_.at(index)(run, pixels, out);
}

void CobraModel::features(Run& run, std::span<const MatView<const float>> pixels,
                          MatView<float> out) const {
  if (pixels.size() != towers_.size() || out.cols != projector_.config().vision) {
    fail("the picture",
         fmt::format("pixels for {} towers and a row of {} columns for their outputs",
                     towers_.size(), projector_.config().vision),
         fmt::format("{} and {}", pixels.size(), out.cols));
  }
  int64_t first = 0;
  for (size_t i = 0; i < towers_.size(); ++i) {
    const int64_t width = towers_[i].config().width;
    tower(run, i, pixels[i], out.columns(first, width));
    first += width;
  }
}

void CobraModel::project(Run& run, MatView<float> features, MatView<float> out) const {
  run.use(grids_);
  projector_(run, features, out);
}

void CobraModel::picture(Run& run, std::span<const MatView<const float>> pixels,
                         MatView<float> out) const {
  const Arena::Scope scope(run.arena());
  const ProjectorConfig& shape = projector_.config();
  const auto seen = run.matrix(shape.grid * shape.grid, shape.vision);
  features(run, pixels, seen);
  project(run, seen, out);
}

void CobraModel::set_range(std::string_view name, float lo, float hi) {
  const Site* site = sites().find(name);
  if (site == nullptr) {
    fail(name, "a site of the model", "none" + did_you_mean(name, names_of(sites())));
  }
  if (site->index >= sites_.language.embedding_output.index) {
    if (parts_ == Parts::vision) {
      fail(name, "a model built with its language model", "the vision part alone");
    }
    language_.set_range(*site, lo, hi);
  } else {
    grids_.set_clip(*site, lo, hi);
    for (VisionTower& tower : towers_) tower.set_input_range(*site, lo, hi);
    projector_.set_input_range(*site, lo, hi);
  }
  ranges_.insert_or_assign(site->name, std::pair(lo, hi));
}

ModelWork CobraModel::work_of_picture() const {
  ModelWork out;
  for (const VisionTower& tower : towers_) tower.add_work(out);
  projector_.add_work(out);
  return out;
}

ModelSize CobraModel::size() const {
  ModelSize out = parts_ == Parts::vision ? ModelSize{} : language_.size();
  for (const VisionTower& tower : towers_) tower.add_size(out);
  projector_.add_size(out);
  return out;
}

}  // namespace scute
