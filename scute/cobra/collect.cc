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

/// What is measured of a part; see PartWork.
PartWork part_work(const CobraDescription& model, const CobraCollectOptions& options,
                   const PartRequest& part) {
  if (!part.any()) return PartWork(part, "");
  return PartWork(part,
                  cobra_collection_key(hash_cobra(model),
                                       hash_tokenizer(model.language, options.text.input.tokenizer),
                                       hash_pictures(options.images), options));
}

struct OwnPicture {
  size_t ordinal;  ///< among the pictures of the whole collection
  PictureReader::Loaded picture;
};

/// The next few that are to be measured, none at the end; adds the numbers of all that are passed
/// to `counted`, which are `wanted` at most.
std::vector<OwnPicture> next_own(PictureReader& reader, const PartWork& work, int64_t wanted,
                                 const Threads& threads, std::vector<int64_t>& counted) {
  std::vector<OwnPicture> out;
  while (std::ssize(out) < 2 * threads.count()) {
    auto loaded = reader.next_few(wanted - std::ssize(counted), threads);
    if (loaded.empty()) break;
    for (PictureReader::Loaded& one : loaded) {
      const size_t ordinal = counted.size();
      counted.push_back(one.number);
      if (work.takes(static_cast<int64_t>(ordinal))) out.push_back({ordinal, std::move(one)});
    }
  }
  return out;
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
                                 const CobraCollectOptions& options, const PassControl& control,
                                 const PartRequest& part) {
  check(options);
  PartWork work = part_work(description, options, part);
  CobraCollectResult result;
  result.before = work.finished();
  if (work.was_complete()) {
    result.statistics = *part.begun;
    result.was_complete = true;
    return result;
  }
  const std::vector<Site> sites = cobra_collection_sites(description, options);
  PictureReader reader(description, options.images);
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
  const int64_t most = std::min(wanted, result.listed);
  Measurement measurement(sites, measure_options(options), control, work.left(most));
  const auto meta = [&] {
    return cobra_collection_meta(description, options, result, reader.used(), texts);
  };
  work.begin(measurement, most, options.fine, meta);
  std::vector<int64_t> counted;  // numbers of the pictures of the collection
  while (!measurement.interrupted()) {
    const std::vector<OwnPicture> own =
        next_own(reader, work, wanted, measurement.threads(), counted);
    if (own.empty()) break;
    std::vector<Sample> samples;
    for (const OwnPicture& one : own) samples.push_back({.number = one.picture.number});
    const int64_t finished = measurement.run(samples, [&](int64_t i, Run& run) {
      const auto& picture = own[static_cast<size_t>(i)].picture;
      pass(run, picture.pixels, texts.of(picture.number));
    });
    work.add(finished);
    result.measured += finished;
    if (measurement.interrupted()) {
      const size_t first = own[static_cast<size_t>(finished)].ordinal;
      reader.forget(static_cast<int64_t>(counted.size() - first));
      counted.resize(first);
    }
  }
  result.pictures = std::ssize(counted);
  if (pass.needs().text) {
    for (const int64_t number : counted) result.text_tokens += std::ssize(texts.of(number));
  }
  result.interrupted = measurement.interrupted();
  result.corrupt = reader.corrupt();
  result.unused = reader.left();
  reader.require_one();
  result.silent_sites = measurement.silent_sites();
  result.statistics.fine = options.fine;
  result.statistics.sites = measurement.take();
  result.statistics.meta = meta();
  work.mark(result.statistics, result.interrupted ? most : result.pictures, result.silent_sites,
            result.interrupted);
  return result;
}

}  // namespace scute
