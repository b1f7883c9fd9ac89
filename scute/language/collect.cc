#include "scute/language/collect.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <mutex>

#include "scute/base/error.h"
#include "scute/base/threads.h"
#include "scute/language/calibration.h"
#include "scute/language/collect_meta.h"
#include "scute/observe/composite.h"
#include "scute/observe/ema.h"
#include "scute/observe/recorder.h"
#include "scute/recipe/collect_taps.h"

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

/// Hands out the windows in order; after a cancellation none, so that those handed out are always
/// the first ones.
class Queue {
 public:
  Queue(int64_t count, const std::atomic<bool>* cancelled) : count_(count), cancelled_(cancelled) {}
  std::optional<int64_t> next() {
    const std::lock_guard lock(guard_);
    if (next_ == count_ || (cancelled_ != nullptr && cancelled_->load())) return std::nullopt;
    return next_++;
  }
  int64_t handed_out() const { return next_; }

 private:
  std::mutex guard_;
  int64_t next_ = 0, count_;
  const std::atomic<bool>* cancelled_;
};

/// A recorder and a run for each thread; recorders are merged at the end.
class Pool {
 public:
  Pool(int workers, const std::vector<Site>& sites, const CollectOptions& options)
      : ema_(sites, {.sigma = options.sigma, .alpha = options.alpha}) {
    const std::vector<Site> counted = without_composites(sites);
    for (int i = 0; i < workers; ++i) {
      recorders_.push_back(std::make_unique<Recorder>(
          counted, RecorderOptions{.fine = options.fine, .per_channel = options.per_channel}));
      runs_.push_back(std::make_unique<Run>(recorders_.back().get(), options.state_every));
    }
    if (options.ema) {
      both_ = std::make_unique<Tee>(std::vector<Tap*>{recorders_.front().get(), &ema_});
      runs_.front() = std::make_unique<Run>(both_.get(), options.state_every);
    }
  }
  Run& run(int worker) { return *runs_[static_cast<size_t>(worker)]; }
  const EmaObserver& ema() const { return ema_; }
  const Recorder& merged() {
    for (size_t i = 1; i < recorders_.size(); ++i) recorders_.front()->merge(*recorders_[i]);
    recorders_.resize(1);
    return *recorders_.front();
  }

 private:
  EmaObserver ema_;
  std::vector<std::unique_ptr<Recorder>> recorders_;
  std::unique_ptr<Tee> both_;
  std::vector<std::unique_ptr<Run>> runs_;
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

Json ema_results(const EmaObserver& ema, const CollectOptions& options) {
  Json out = Json::object();
  out["sigma"] = options.sigma;
  out["alpha"] = options.alpha;
  out["order"] = "depends on the order of the samples; not mergeable";
  for (const auto& [name, result] : ema.results()) {
    Json site;
    site["percentile"] = static_cast<double>(result.percentile);
    site["max"] = static_cast<double>(result.max);
    site["samples"] = result.samples;
    out["sites"][name] = std::move(site);
  }
  return out;
}

}  // namespace

SiteList list_sites(const ModelDescription& model) {
  return LanguageModelSites(model.config, model.scheme).list;
}

CollectResult collect(const ModelDescription& description, const CollectOptions& options,
                      const CollectRun& how) {
  const std::vector<Site> sites = chosen_sites(list_sites(description), options);
  const bool with_logits =
      std::ranges::any_of(sites, [](const Site& site) { return site.name == "lm_head:output"; });
  Windows windows =
      calibration_windows(description, options.data, options.windows, options.tokenizer);
  const LanguageModel model =
      load_model(description, options.compute,
                 with_logits ? LanguageModel::Head::packed : LanguageModel::Head::absent);

  CollectResult result;
  if (options.save_activations > 0) {
    FirstValues first(sites, options.save_activations);
    Run run(&first, options.state_every);
    forward(model, run, windows.windows.front(), with_logits);
    result.activations = first.take();
  }

  const auto planned = static_cast<int64_t>(windows.windows.size());
  // The moving average depends on the order of the samples, so it needs them one after the other.
  const Threads threads(options.ema ? 1 : how.threads);
  Pool pool(static_cast<int>(std::min<int64_t>(threads.count(), planned)), sites, options);
  Queue queue(planned, how.cancelled);
  std::atomic<int64_t> done{0};
  threads.for_each(planned, [&](int64_t, int worker) {
    const auto index = queue.next();
    if (!index) return;
    forward(model, pool.run(worker), windows.windows[static_cast<size_t>(*index)], with_logits);
    if (how.progress) how.progress(done.fetch_add(1) + 1, planned);
  });

  result.interrupted = queue.handed_out() < planned;
  windows.windows.resize(static_cast<size_t>(queue.handed_out()));
  if (windows.windows.empty()) fail("collect", "at least one finished sample", "an interruption");
  for (const Window& window : windows.windows) {
    result.tokens += static_cast<int64_t>(window.ids.size());
  }
  result.samples = static_cast<int64_t>(windows.windows.size());
  result.samples_wanted = options.windows.samples;
  result.short_documents = windows.short_documents;
  result.empty_documents = windows.empty_documents;
  result.documents = windows.documents;
  const Recorder& all = pool.merged();
  result.silent_sites = all.silent_sites();
  result.statistics.fine = options.fine;
  result.statistics.sites = all.statistics();
  add_composites(sites, result.statistics.sites);
  result.statistics.meta = collection_meta(description, options, windows, result.tokens);
  if (options.ema) result.statistics.meta["ema"] = ema_results(pool.ema(), options);
  return result;
}

}  // namespace scute
