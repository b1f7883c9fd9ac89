#include "scute/cobra/stages.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "scute/language/layer_pass.h"

namespace scute {

CobraStages make_stages(Run& run, const CobraConfig& config) {
  const auto projector = config.projector_config();
  return {run.matrix(config.towers.front().patches(), projector.vision),
          run.matrix(projector.tokens(), config.language.width),
          run.matrix(1, config.language.vocabulary)};
}

namespace {

/// Towers and projector, which rounds what it reads to the grid of its input.
void see(Run& run, const CobraModel& model, const PictureAndText& one, const CobraStages& out) {
  const Arena::Scope scope(run.arena());
  model.features(run, pixel_views(*one.pixels), out.features);
  const auto read = run.matrix(out.features.rows, out.features.cols);
  std::copy_n(out.features.data, out.features.size(), read.data);
  model.project(run, read, out.rows);
}

}  // namespace

void fill_stages(Run& run, const CobraModel& model, const PictureAndText& one,
                 const CobraStages& out) {
  const Arena::Scope scope(run.arena());
  see(run, model, one, out);
  const LanguageModel& language = model.language();
  const auto hidden = run.matrix(out.rows.rows + std::ssize(one.ids), model.width());
  State state = language.new_state();
  language.hidden(run, out.rows, one.ids, state, hidden);
  language.logits(run, hidden.slice_rows(hidden.rows - 1, 1), out.logits);
}

void LayeredCobra::fill(std::span<const PictureAndText> pictures, std::span<const CobraStages> out,
                        const Threads& threads, std::span<Run> runs) {
  const auto each = [&](const std::function<void(int64_t index, Run & run)>& work) {
    threads.for_each(std::ssize(pictures),
                     [&](int64_t i, int worker) { work(i, runs[static_cast<size_t>(worker)]); });
  };
  {
    const CobraModel vision = vision_();
    each([&](int64_t index, Run& run) {
      const auto i = static_cast<size_t>(index);
      see(run, vision, pictures[i], out[i]);
    });
  }
  std::vector<int64_t> lengths;
  for (size_t i = 0; i < pictures.size(); ++i) {
    lengths.push_back(out[i].rows.rows + std::ssize(pictures[i].ids));
  }
  const auto enter = [&](int64_t index, Run& run, MatView<float> stream) {
    const auto i = static_cast<size_t>(index);
    language_.enter(run, out[i].rows, pictures[i].ids, stream);
  };
  const auto leave = [&](int64_t index, Run& run, MatView<const float> hidden) {
    language_.logits(run, hidden.slice_rows(hidden.rows - 1, 1),
                     out[static_cast<size_t>(index)].logits);
  };
  LayerPass pass(language_, lengths, enter, LayerPass::End::norm_beside_head, folder_, leave);
  for (int64_t step = 0; step < pass.steps(); ++step) {
    pass.begin(step);
    each([&](int64_t index, Run& run) { pass.show(step, index, run); });
  }
  language_.rest();
}

LayeredModel layered_language(const CobraDescription& model, Weights weights,
                              const Execution& execution) {
  const Scheme& scheme = model.language.scheme;
  LanguageModelSites sites = CobraSites(model.config, scheme).language;
  const int first = sites.embedding_output.index;
  const SiteList all = sites.list;
  LayeredModel out(model.config.language, std::move(weights), execution, scheme, std::move(sites));
  for (const auto& [name, range] : model.ranges) {
    const Site* site = all.find(name);
    if (site == nullptr || site->index < first) continue;  // of towers and projector
    out.set_range(*site, range.first, range.second);
  }
  return out;
}

LayeredCobra load_layered_cobra(const CobraDescription& model, const Execution& execution,
                                const std::string& streams_in) {
  return {model.config,
          [model, execution] { return load_cobra(model, execution, CobraModel::Parts::vision); },
          layered_language(model, read_weights(cobra_language(model)), execution), streams_in};
}

}  // namespace scute
