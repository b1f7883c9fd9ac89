#include "scute/language/collect.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>

#include "scute/base/error.h"
#include "scute/language/calibration.h"
#include "scute/language/collect_meta.h"
#include "scute/observe/ema.h"

namespace scute {
namespace {

std::vector<Site> chosen_sites(const SiteList& list, const CollectOptions& options) {
  std::vector<Site> out = list.match(options.sites.empty() ? "*" : options.sites, "--sites");
  std::erase_if(out, [&](const Site& site) {
    return (options.sites.empty() && site.name == "lm_head:output") ||
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
  const std::map<std::string, EmaResult>& averages() const { return averages_; }

 private:
  /// An average cannot forget a sample that is given up later: what counts is kept.
  void note(int64_t done, int64_t total) {
    averages_ = ema_.results();
    if (progress_) progress_(done, total);
  }

  EmaObserver ema_;
  std::map<std::string, EmaResult> averages_;
  std::function<void(int64_t, int64_t)> progress_;
  Measurement measurement_;
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
  if (options.ema) fail(kWhere, "no --observer ema: its order is that of one pass", "it");
  if (options.save_activations > 0) {
    fail(kWhere, "no --save-activations, which are of the first sample", "it");
  }
  return PartWork(part, collection_key(hash_model(model),
                                       hash_tokenizer(model, options.input.tokenizer), options));
}

}  // namespace

SiteList list_sites(const ModelDescription& model) {
  return LanguageModelSites(model.config, model.scheme).list;
}

CollectResult collect(const ModelDescription& description, const CollectOptions& options,
                      const PassControl& control, const PartRequest& part) {
  PartWork work = part_work(description, options, part);
  CollectResult result;
  result.before = work.finished();
  if (work.was_complete()) {
    result.statistics = *part.begun;
    result.was_complete = true;
    return result;
  }
  const std::vector<Site> sites = chosen_sites(list_sites(description), options);
  const bool with_logits =
      std::ranges::any_of(sites, [](const Site& site) { return site.name == "lm_head:output"; });
  Windows windows = calibration_windows(description, options.data, options.windows, options.input,
                                        Threads(control.threads), control.cancelled);
  std::vector<const Window*> mine;
  for (size_t i = 0; i < windows.windows.size(); ++i) {
    if (work.takes(static_cast<int64_t>(i))) mine.push_back(&windows.windows[i]);
  }
  hash_model_beside(description);
  const LanguageModel model =
      load_model(description, options.compute,
                 with_logits ? LanguageModel::Head::packed : LanguageModel::Head::absent);
  const auto show = [&](int64_t index, Run& run) {
    forward(model, run, *mine[static_cast<size_t>(index)], with_logits);
  };

  if (options.save_activations > 0) {
    result.activations = first_values(sites, options.save_activations, options.state_every, control,
                                      [&](Run& run) { show(0, run); });
  }
  WindowObserver observer(sites, options, control, std::ssize(mine));
  Measurement& measurement = observer.measurement();
  const int64_t planned = std::ssize(windows.windows);
  work.begin(measurement, planned, options.fine,
             [&] { return collection_meta(description, options, windows, tokens_of(windows)); });
  const std::vector<Sample> samples(mine.size());
  result.samples = measurement.run(samples, show);
  for (int64_t i = 0; i < result.samples; ++i) {
    result.tokens += std::ssize(mine[static_cast<size_t>(i)]->ids);
  }
  result.interrupted = measurement.interrupted();
  result.bad_lines = windows.bad_lines;
  result.samples_wanted = options.windows.samples;
  result.short_documents = windows.short_documents;
  result.empty_documents = windows.empty_documents;
  result.documents = windows.documents;
  result.silent_sites = measurement.silent_sites();
  result.silent_experts = silent_experts(description.config, result.silent_sites);
  result.statistics.fine = options.fine;
  result.statistics.sites = measurement.take();
  work.add(result.samples);
  if (work.finished() == 0 && !mine.empty()) {
    fail("collect", "at least one finished sample", "an interruption");
  }
  if (!part.shard) windows.windows.resize(static_cast<size_t>(work.finished()));
  result.statistics.meta = collection_meta(description, options, windows, tokens_of(windows));
  if (options.ema) result.statistics.meta["ema"] = ema_json(observer.averages(), options);
  work.mark(result.statistics, planned, result.silent_sites);
  return result;
}

}  // namespace scute
