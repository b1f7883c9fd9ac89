#include "scute/language/collect.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>

#include "scute/base/error.h"
#include "scute/language/calibration.h"
#include "scute/language/collect_meta.h"
#include "scute/language/layer_pass.h"
#include "scute/observe/ema.h"

namespace scute {
namespace {

bool is_logits(const Site& site) { return site.name == "lm_head:output"; }

std::vector<Site> chosen_sites(const SiteList& list, const CollectOptions& options) {
  std::vector<Site> out = list.match(options.sites.empty() ? "*" : options.sites, "--sites");
  std::erase_if(out, [&](const Site& site) {
    return (options.sites.empty() && is_logits(site)) ||
           (site.extent == Site::Extent::per_step && options.state_every == 0);
  });
  return out;
}

/// The pass, and beside it, if asked for, the moving average.
class WindowObserver {
 public:
  WindowObserver(const std::vector<Site>& sites, const CollectOptions& options,
                 const PassControl& control, int64_t windows)
      : ema_(sites, {.sigma = options.sigma, .alpha = options.alpha}),
        progress_(control.progress),
        measurement_(sites,
                     {.fine = options.fine,
                      .per_channel = options.per_channel,
                      .state_every = options.state_every,
                      .also = options.ema ? &ema_ : nullptr},
                     {control.threads, [this](int64_t done, int64_t total) { note(done, total); },
                      control.cancelled},
                     windows) {}
  WindowObserver(const WindowObserver&) = delete;
  WindowObserver& operator=(const WindowObserver&) = delete;

  Measurement& measurement() { return measurement_; }
  /// Samples that go through the layers together: all of them count, or none.
  int64_t run_together(std::span<const Sample> samples, const SampleSteps& steps) {
    together_ = true;
    const int64_t finished = measurement_.run(samples, steps);
    if (finished > 0) averages_ = ema_.results();
    return finished;
  }
  const std::map<std::string, EmaResult>& averages() const { return averages_; }

 private:
  /// An average cannot forget a sample that is given up later: what counts is kept.
  void note(int64_t done, int64_t total) {
    if (!together_) averages_ = ema_.results();
    if (progress_) progress_(done, total);
  }

  EmaObserver ema_;
  std::map<std::string, EmaResult> averages_;
  std::function<void(int64_t, int64_t)> progress_;
  bool together_ = false;
  Measurement measurement_;
};

/// What a pass over windows needs.
struct WindowPass {
  const ModelDescription& description;
  const CollectOptions& options;
  const PassControl& control;
  const std::vector<Site>& sites;
  const std::vector<const Window*>& windows;
  LanguageModel::Head head;

  /// The first values that the sites show of the first window, where they are to be kept.
  std::vector<NamedTensor> first(const std::function<void(Run&)>& show) const {
    if (options.save_activations == 0) return {};
    return first_values(sites, options.save_activations, options.state_every, control, show);
  }
};

void forward(const LanguageModel& model, Run& run, const Window& window, bool with_logits) {
  const auto length = static_cast<int64_t>(window.ids.size());
  const Arena::Scope scope(run.arena());
  const auto hidden = run.matrix(length, model.config().width);
  State state = model.new_state();
  model.hidden(run, window.ids, state, hidden);
  if (with_logits) {
    model.logits(run, hidden, run.matrix(length, model.config().vocabulary));
  }
}

/// All weights packed, a window from its first token to its last layer. Returns how many were
/// finished.
int64_t pass_whole(const WindowPass& pass, WindowObserver& observer,
                   std::vector<NamedTensor>& activations) {
  const LanguageModel model = load_model(pass.description, pass.options.compute, pass.head);
  const auto show = [&](int64_t index, Run& run) {
    forward(model, run, *pass.windows[static_cast<size_t>(index)], model.has_head());
  };
  activations = pass.first([&](Run& run) { show(0, run); });
  const std::vector<Sample> samples(pass.windows.size());
  return observer.measurement().run(samples, show);
}

/// The same with one layer in memory: chunks of windows through all layers, one chunk after the
/// other, so that an interruption costs a chunk.
int64_t pass_by_layers(const WindowPass& pass, WindowObserver& observer,
                       std::vector<NamedTensor>& activations) {
  LayeredModel model(pass.description.config, read_weights(pass.description), pass.options.compute,
                     pass.description.scheme);
  const auto end =
      pass.head == LanguageModel::Head::packed ? LayerPass::End::head : LayerPass::End::norm;
  const auto together = [&](int64_t first, int64_t count) {
    std::vector<std::span<const int32_t>> ids;
    for (int64_t i = first; i < first + count; ++i) {
      ids.emplace_back(pass.windows[static_cast<size_t>(i)]->ids);
    }
    return LayerPass(model, std::move(ids), end, pass.control.by_layers->folder);
  };
  activations = pass.first([&](Run& run) {
    LayerPass one = together(0, 1);
    for (int64_t step = 0; step < one.steps(); ++step) {
      one.begin(step);
      one.show(step, 0, run);
    }
  });
  const int64_t all = std::ssize(pass.windows), most = pass.control.by_layers->samples;
  int64_t done = 0;
  while (done < all) {
    const int64_t count = most > 0 ? std::min(most, all - done) : all - done;
    LayerPass some = together(done, count);
    const std::vector<Sample> samples(static_cast<size_t>(count));
    if (observer.run_together(samples, some.all()) == 0) break;
    done += count;
  }
  return done;
}

Json ema_json(const std::map<std::string, EmaResult>& results, const CollectOptions& options) {
  Json out = Json::object();
  out["sigma"] = options.sigma;
  out["alpha"] = options.alpha;
  out["order"] = "depends on the order of the samples; not mergeable";
  for (const auto& [name, result] : results) {
    Json site;
    site["percentile"] = static_cast<double>(result.percentile);
    site["max"] = static_cast<double>(result.max);
    site["samples"] = result.samples;
    out["sites"][name] = std::move(site);
  }
  return out;
}

int64_t tokens_of(const Windows& windows) {
  int64_t out = 0;
  for (const Window& window : windows.windows) out += std::ssize(window.ids);
  return out;
}

/// What is measured of a part; the key of the whole needs hashes that a whole collection computes
/// beside its work.
PartWork part_work(const ModelDescription& model, const CollectOptions& options,
                   const PartRequest& part) {
  if (!part.any()) return PartWork(part, "");
  constexpr const char* kWhere = "a collection in parts";
  Json key =
      collection_key(hash_model(model), hash_tokenizer(model, options.input.tokenizer), options);
  // What another command kept is refused as such.
  if (options.save_activations > 0) key["save_activations"] = options.save_activations;
  PartWork out(part, std::move(key));
  if (options.ema) fail(kWhere, "no --observer ema: its order is that of one pass", "it");
  if (options.save_activations > 0) {
    fail(kWhere, "no --save-activations, which are of the first sample", "it");
  }
  return out;
}

}  // namespace

SiteList list_sites(const ModelDescription& model) {
  return LanguageModelSites(model.config, model.scheme).list;
}

CollectResult collect(const ModelDescription& description, const CollectOptions& options,
                      const PassControl& control, const PartRequest& part) {
  PartWork work = part_work(description, options, part);
  CollectResult result;
  if (work.was_complete(result)) return result;
  const std::vector<Site> sites = chosen_sites(list_sites(description), options);
  const auto head = std::ranges::any_of(sites, is_logits) ? LanguageModel::Head::packed
                                                          : LanguageModel::Head::absent;
  Windows windows = calibration_windows(description, options.data, options.windows, options.input,
                                        Threads(control.threads), control.cancelled);
  std::vector<const Window*> mine;
  for (size_t i = 0; i < windows.windows.size(); ++i) {
    if (work.takes(static_cast<int64_t>(i))) mine.push_back(&windows.windows[i]);
  }
  hash_model_beside(description);
  WindowObserver observer(sites, options, control, std::ssize(mine));
  Measurement& measurement = observer.measurement();
  const int64_t planned = std::ssize(windows.windows);
  work.begin(measurement, planned, options.fine,
             [&] { return collection_meta(description, options, windows, tokens_of(windows)); });
  const auto pass = control.by_layers ? pass_by_layers : pass_whole;
  const int64_t measured =
      pass({description, options, control, sites, mine, head}, observer, result.activations);
  for (int64_t i = 0; i < measured; ++i) {
    result.measured_tokens += std::ssize(mine[static_cast<size_t>(i)]->ids);
  }
  result.bad_lines = windows.bad_lines;
  result.samples_wanted = options.windows.samples;
  result.short_documents = windows.short_documents;
  result.empty_documents = windows.empty_documents;
  result.documents = windows.documents;
  work.add(measured);
  result.samples = work.finished();
  for (size_t i = 0; i < windows.windows.size(); ++i) {
    if (work.has(static_cast<int64_t>(i))) result.tokens += std::ssize(windows.windows[i].ids);
  }
  if (work.finished() == 0 && !mine.empty()) {
    fail("collect", "at least one finished sample", "an interruption");
  }
  if (!part.shard) windows.windows.resize(static_cast<size_t>(work.finished()));
  work.finish(result, planned);
  result.silent_experts = silent_experts(description.config, result.silent_sites);
  if (options.ema) result.statistics.meta["ema"] = ema_json(observer.averages(), options);
  return result;
}

}  // namespace scute
