#include "scute/cobra/collect_pass.h"

#include <algorithm>
#include <utility>

#include "scute/base/error.h"

namespace scute {
namespace {

std::optional<Site> find_llm(const std::vector<Site>& sites) {
  const auto found = std::ranges::find(sites, std::string("llm"), &Site::name);
  return found == sites.end() ? std::nullopt : std::optional<Site>(*found);
}

}  // namespace

bool inside_bucket(const std::string& site, const std::string& bucket) {
  return site == bucket || site.starts_with(bucket + ".");
}

bool CobraNeeds::vision() const { return std::ranges::find(towers, true) != towers.end(); }

CobraNeeds cobra_needs(const std::vector<Site>& sites, const CobraConfig& config) {
  CobraNeeds out;
  out.towers.assign(config.towers.size(), false);
  for (const Site& site : sites) {
    bool vision = false;
    for (size_t i = 0; i < config.towers.size(); ++i) {
      if (!inside_bucket(site.name, config.towers[i].bucket)) continue;
      out.towers[i] = vision = true;
    }
    if (vision) continue;
    if (inside_bucket(site.name, "projector")) {
      out.projector = true;
    } else if (site.name == "llm") {
      out.text = true;
    } else {
      out.blocks = true;
      out.head = out.head || site.name == "lm_head:output";
    }
  }
  out.projector = out.projector || out.blocks;
  out.text = out.text || out.blocks;
  if (out.projector) out.towers.assign(out.towers.size(), true);
  return out;
}

CobraPass::CobraPass(const CobraDescription& description, const std::vector<Site>& sites,
                     Compute compute, const std::optional<ByLayers>& by_layers)
    : description_(description),
      compute_(compute),
      needs_(cobra_needs(sites, description.config)),
      llm_(find_llm(sites)) {
  using Parts = CobraModel::Parts;
  const CobraConfig& config = description.config;
  if (needs_.vision()) hash_cobra_beside(description);
  if (needs_.blocks && by_layers) {
    if (description.low_bit) fail("--memory", "room for a whole low-bit Cobra", "less");
    by_layers_ = by_layers;
    const ModelDescription language = cobra_language(description);
    layered_.emplace(config.language, read_weights(language), compute, language.scheme,
                     CobraSites(config, language.scheme).language);
  } else if (needs_.vision()) {
    load(!needs_.blocks ? Parts::vision : needs_.head ? Parts::all : Parts::vision_and_language);
  }
  if (needs_.text && !needs_.blocks) table_.emplace(load_cobra_embedding(description));
  width_ = config.language.width;
  vocabulary_ = config.language.vocabulary;
}

int64_t CobraPass::together(const Threads& threads) const {
  constexpr int64_t kForEachThread = 2;  // few enough to stop soon
  const int64_t few = kForEachThread * threads.count();
  return by_layers_ ? std::max(few, by_layers_->samples) : few;
}

int64_t CobraPass::measure(Measurement& measurement, std::span<const CobraSample> pictures) {
  std::vector<Sample> samples;
  for (const CobraSample& one : pictures) samples.push_back({.number = one.number});
  if (layered_) return measure_by_layers(measurement, pictures, samples);
  return measurement.run(samples,
                         [&](int64_t i, Run& run) { show(run, pictures[static_cast<size_t>(i)]); });
}

int64_t CobraPass::measure_by_layers(Measurement& measurement,
                                     std::span<const CobraSample> pictures,
                                     std::span<const Sample> samples) {
  const int64_t rows = description_.config.projector_config().tokens();
  std::vector<int64_t> lengths;
  for (const CobraSample& one : pictures) lengths.push_back(rows + std::ssize(one.ids));
  const auto enter = [&](int64_t index, Run& run, MatView<float> stream) {
    const CobraSample& one = pictures[static_cast<size_t>(index)];
    layered_->enter(run, see(run, *one.pixels), one.ids, stream);
  };
  const auto end = needs_.head ? LayerPass::End::head : LayerPass::End::norm;
  LayerPass pass(*layered_, std::move(lengths), enter, end, by_layers_->folder);
  SampleSteps steps = pass.all();
  steps.begin = [&](int64_t step) {
    model_.reset();
    pass.begin(step);
    if (step == 0) load(CobraModel::Parts::vision);
  };
  return measurement.run(samples, steps);
}

void CobraPass::show(Run& run, const CobraSample& one) const {
  const Arena::Scope scope(run.arena());
  MatView<float> picture;
  if (needs_.vision()) picture = see(run, *one.pixels);
  if (needs_.blocks) {
    read(run, picture, one.ids);
  } else if (table_ && !one.ids.empty()) {
    const auto vectors = run.matrix(std::ssize(one.ids), width_);
    (*table_)(one.ids, vectors);
    run.pass(*llm_, vectors);
  }
}

MatView<float> CobraPass::see(Run& run, const std::vector<Tensor>& pixels) const {
  const CobraConfig& config = model_->config();
  const auto features =
      run.matrix(config.towers.front().patches(), config.projector_config().vision);
  const auto views = pixel_views(pixels);
  int64_t column = 0;
  for (size_t i = 0; i < pixels.size(); ++i) {
    const int64_t width = config.towers[i].width;
    if (needs_.towers[i]) {
      model_->tower(run, i, views[i], features.columns(column, width));
    }
    column += width;
  }
  if (!needs_.projector) return {};
  const auto out = run.matrix(model_->picture_tokens(), width_);
  model_->project(run, features, out);
  return out;
}

void CobraPass::read(Run& run, MatView<float> picture, std::span<const int32_t> ids) const {
  const int64_t length = picture.rows + std::ssize(ids);
  const auto hidden = run.matrix(length, width_);
  State state = model_->language().new_state();
  model_->language().hidden(run, picture, ids, state, hidden);
  if (needs_.head) model_->language().logits(run, hidden, run.matrix(length, vocabulary_));
}

}  // namespace scute
