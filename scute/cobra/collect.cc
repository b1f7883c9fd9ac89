#include "scute/cobra/collect.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/cobra/collect_meta.h"
#include "scute/cobra/picture_reader.h"

namespace scute {
namespace {

/// Which parts of the model the sites asked for need.
struct Needs {
  std::vector<bool> towers;
  bool projector = false, text = false, blocks = false, head = false;

  bool vision() const { return std::ranges::find(towers, true) != towers.end(); }
};

bool inside(const std::string& site, const std::string& bucket) {
  return site == bucket || site.starts_with(bucket + ".");
}

Needs needs_of(const std::vector<Site>& sites, const CobraConfig& config) {
  Needs out;
  out.towers.assign(config.towers.size(), false);
  for (const Site& site : sites) {
    bool vision = false;
    for (size_t i = 0; i < config.towers.size(); ++i) {
      if (!inside(site.name, config.towers[i].bucket)) continue;
      out.towers[i] = vision = true;
    }
    if (vision) continue;
    if (inside(site.name, "projector")) {
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

/// One picture and its text through what is needed of the model.
class Pass {
 public:
  Pass(const CobraDescription& description, const std::vector<Site>& sites, Compute compute)
      : needs_(needs_of(sites, description.config)), llm_(find_llm(sites)) {
    using Parts = CobraModel::Parts;
    if (needs_.vision()) {
      const Parts parts = !needs_.blocks ? Parts::vision
                          : needs_.head  ? Parts::all
                                         : Parts::vision_and_language;
      hash_cobra_beside(description);
      model_.emplace(load_cobra(description, compute, parts));
    }
    if (needs_.text && !needs_.blocks) table_.emplace(load_cobra_embedding(description));
    width_ = description.config.language.width;
    vocabulary_ = description.config.language.vocabulary;
  }
  const Needs& needs() const { return needs_; }

  void operator()(Run& run, const std::vector<Tensor>& pixels, std::span<const int32_t> ids) const {
    const Arena::Scope scope(run.arena());
    MatView<float> picture;
    if (needs_.vision()) picture = see(run, pixels);
    if (needs_.blocks) {
      read(run, picture, ids);
    } else if (table_ && !ids.empty()) {
      const auto vectors = run.matrix(std::ssize(ids), width_);
      (*table_)(ids, vectors);
      run.pass(*llm_, vectors);
    }
  }

 private:
  static std::optional<Site> find_llm(const std::vector<Site>& sites) {
    const auto found = std::ranges::find(sites, std::string("llm"), &Site::name);
    return found == sites.end() ? std::nullopt : std::optional<Site>(*found);
  }
  MatView<float> see(Run& run, const std::vector<Tensor>& pixels) const {
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
  void read(Run& run, MatView<float> picture, std::span<const int32_t> ids) const {
    const int64_t length = picture.rows + std::ssize(ids);
    const auto hidden = run.matrix(length, width_);
    State state = model_->language().new_state();
    model_->language().hidden(run, picture, ids, state, hidden);
    if (needs_.head) model_->language().logits(run, hidden, run.matrix(length, vocabulary_));
  }

  Needs needs_;
  std::optional<Site> llm_;
  std::optional<CobraModel> model_;
  std::optional<Embedding> table_;
  int64_t width_ = 0, vocabulary_ = 0;
};

MeasureOptions measure_options(const CobraCollectOptions& options) {
  // Rounded up, so that a batch keeps at least what was asked for of each picture.
  const int64_t share =
      (options.max_samples_per_batch + options.batch_size - 1) / options.batch_size;
  return {.fine = options.fine,
          .per_channel = options.per_channel,
          .state_every = options.state_every,
          .most_values = share,
          .seed = options.text.seed};
}

void check(const CobraCollectOptions& options) {
  require_at_least("--batches", options.batches, 1);
  require_at_least("--batch-size", options.batch_size, 1);
  require_at_least("--max-samples-per-batch", options.max_samples_per_batch, 0);
  if (options.per_channel && options.max_samples_per_batch > 0) {
    fail("--max-samples-per-batch", "no --per-channel, which needs every value", "both");
  }
}

/// A bucket that nothing of this model is: which there are, why, and what to do.
[[noreturn]] void refuse_target(const CobraDescription& model, const SiteList& list,
                                const std::string& target) {
  std::vector<std::string> there;
  for (const std::string& bucket : bucket_names()) {
    if (list.find(bucket) != nullptr) there.push_back(bucket);
  }
  const Json* id = model.json.at("model", model.path).find("vision_backbone_id");
  fail("--targets " + target,
       fmt::format("a bucket that {} has: {}", model.name, joined(there, ", ")),
       fmt::format("none{}; its vision backbone is {}. Leave it out of --targets, or look with "
                   "scute sites {} find NAME",
                   did_you_mean(target, there), id->dump(), model.path));
}

}  // namespace

std::vector<Site> cobra_collection_sites(const CobraDescription& model,
                                         const CobraCollectOptions& options) {
  const SiteList list = CobraSites(model.config, model.language.scheme).list();
  std::vector<bool> chosen(list.sites().size(), false);
  const auto choose = [&](const Site& site) { chosen[static_cast<size_t>(site.index)] = true; };
  const bool all = options.targets == bucket_names();
  for (const std::string& target : options.targets) {
    if (list.find(target) == nullptr) {
      if (all) continue;  // a model with one tower
      refuse_target(model, list, target);
    }
    for (const Site& site : list.sites()) {
      if (site.index >= 0 && inside(site.name, target)) choose(site);
    }
  }
  if (!options.sites.empty()) {
    for (const Site& site : list.match(options.sites, "--sites")) {
      if (options.state_every > 0 || site.extent != Site::Extent::per_step) choose(site);
    }
  }
  std::vector<Site> out = list.sites();
  std::erase_if(out, [&](const Site& site) {
    return site.index < 0 || !chosen[static_cast<size_t>(site.index)];
  });
  return out;
}

CobraCollectResult collect_cobra(const CobraDescription& description,
                                 const CobraCollectOptions& options, const PassControl& control) {
  check(options);
  const std::vector<Site> sites = cobra_collection_sites(description, options);
  PictureReader reader(description, options.images);
  CobraCollectResult result;
  result.listed = reader.listed();
  const PictureTexts texts(description, options.text, result.listed);
  result.bad_lines = texts.bad_lines();
  const Pass pass(description, sites, options.compute);
  if (pass.needs().blocks && !texts.any()) {
    fail("--sites",
         "text for the language model: --prompts FILE, or random ids (no --no-random-text)",
         "none");
  }

  const int64_t wanted =
      checked_mul(options.batches, options.batch_size, "--batches × --batch-size");
  Measurement measurement(sites, measure_options(options), control,
                          std::min(wanted, result.listed));
  while (result.pictures < wanted) {
    const auto loaded = reader.next_few(wanted - result.pictures, measurement.threads());
    if (loaded.empty()) break;
    std::vector<Sample> samples;
    for (const auto& picture : loaded) samples.push_back({.number = picture.number});
    const int64_t finished = measurement.run(samples, [&](int64_t i, Run& run) {
      const auto& picture = loaded[static_cast<size_t>(i)];
      pass(run, picture.pixels, texts.of(picture.number));
    });
    for (const auto& picture : std::span(loaded).first(static_cast<size_t>(finished))) {
      if (pass.needs().text) result.text_tokens += std::ssize(texts.of(picture.number));
    }
    result.pictures += finished;
    if (!measurement.interrupted()) continue;
    reader.forget(std::ssize(loaded) - finished);
    break;
  }
  result.interrupted = measurement.interrupted();
  result.corrupt = reader.corrupt();
  result.unused = reader.left();
  reader.require_one();
  result.silent_sites = measurement.silent_sites();
  result.statistics.fine = options.fine;
  result.statistics.sites = measurement.take();
  result.statistics.meta =
      cobra_collection_meta(description, options, result, reader.used(), texts);
  return result;
}

}  // namespace scute
