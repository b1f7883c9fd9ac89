#include "scute/recipe/measure.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <optional>

#include "scute/observe/composite.h"
#include "scute/observe/subsample_tap.h"

namespace scute {
namespace {

using Seen = std::map<std::string, Statistic>;

/// Thrown through a model that is in the middle of a sample.
struct SampleGivenUp {};

bool is_set(const std::atomic<bool>* flag) {
  return flag != nullptr && flag->load(std::memory_order_relaxed);
}

/// Models ask at every site whether it is wanted: that is where a cancellation is noticed.
class CancellingTap : public Tap {
 public:
  CancellingTap(std::vector<Tap*> to, const std::atomic<bool>* cancelled)
      : to_(std::move(to)), cancelled_(cancelled) {}
  bool wants(const Site& site) const override {
    if (is_set(cancelled_)) throw SampleGivenUp{};
    return std::ranges::any_of(to_, [&](const Tap* tap) { return tap->wants(site); });
  }
  void see(const Site& site, MatView<const float> x) override {
    for (Tap* tap : to_) {
      if (tap->wants(site)) tap->see(site, x);
    }
  }

 private:
  std::vector<Tap*> to_;
  const std::atomic<bool>* cancelled_;
};

/// Keeps the first values of each site of one sample.
class FirstValues : public Tap {
 public:
  FirstValues(const std::vector<Site>& sites, int64_t most) : sites_(sites), most_(most) {
    for (const Site& site : sites_) {
      if (site.index >= static_cast<int>(kept_.size())) {
        kept_.resize(static_cast<size_t>(site.index) + 1);
      }
    }
  }
  bool wants(const Site& site) const override {
    return site.index >= 0 && site.index < static_cast<int>(kept_.size());
  }
  void see(const Site& site, MatView<const float> x) override {
    auto& values = kept_[static_cast<size_t>(site.index)];
    for (int64_t r = 0; r < x.rows; ++r) {
      const int64_t room = most_ - static_cast<int64_t>(values.size());
      values.insert(values.end(), x.row(r), x.row(r) + std::clamp<int64_t>(room, 0, x.cols));
    }
  }
  std::vector<NamedTensor> take() const {
    std::vector<NamedTensor> out;
    for (const Site& site : sites_) {
      const auto& values = kept_[static_cast<size_t>(site.index)];
      out.push_back({site.name, Tensor::of<float>({static_cast<int64_t>(values.size())}, values)});
    }
    return out;
  }

 private:
  const std::vector<Site>& sites_;
  int64_t most_;
  std::vector<std::vector<float>> kept_;
};

// What a cancellation may cost of finished work, and how often statistics are added: adding all
// sites' pages costs about the same whatever they hold, so it is done seldom, not sample by sample.
constexpr double kStretchSeconds = 0.5;

}  // namespace

/// Consecutive samples that one worker does before their statistics are added.
struct Measurement::Stretch {
  int64_t first, end;
};

/// The samples of one run(): handed out in order, and added in order.
class Measurement::Queue {
 public:
  Queue(int64_t count, int workers, const std::atomic<bool>* cancelled)
      : count_(count), workers_(workers), cancelled_(cancelled) {}

  /// Each sample lately took the worker so long (0: not known). Waits where others are so far
  /// behind that what is finished would pile up.
  std::optional<Stretch> next(double seconds_each) {
    std::unique_lock lock(guard_);
    added_or_stopped_.wait(lock, [&] { return stopped_ || std::ssize(finished_) < 2 * workers_; });
    if (stopped_ || next_ == count_ || is_set(cancelled_)) return std::nullopt;
    const int64_t fair = (count_ - next_) / (2 * workers_);
    const double most = seconds_each > 0 ? kStretchSeconds / seconds_each : 1;
    const auto length = static_cast<int64_t>(std::min(most, static_cast<double>(fair)));
    const int64_t first = next_;
    next_ += std::max<int64_t>(length, 1);
    return Stretch{first, next_};
  }
  /// Calls add(stretch, seen) for what is now complete from the beginning on, one at a time.
  template <class Add>
  void finish(Stretch stretch, Seen seen, const Add& add) {
    const std::lock_guard lock(guard_);
    finished_.emplace(stretch.first, std::pair(stretch, std::move(seen)));
    for (auto at = finished_.begin(); at != finished_.end() && at->first == added_;
         at = finished_.erase(at)) {
      add(at->second.first, std::move(at->second.second));
      added_ = at->second.first.end;
    }
    added_or_stopped_.notify_all();
  }
  /// No further sample is handed out. `failure`: of this sample; null: it was given up.
  void stop(int64_t sample, std::exception_ptr failure) {
    const std::lock_guard lock(guard_);
    stopped_ = true;
    if (failure != nullptr && sample < failed_) {
      failed_ = sample;
      failure_ = std::move(failure);
    }
    added_or_stopped_.notify_all();
  }
  /// When all workers are done.
  int64_t added() const {
    if (failure_ != nullptr) std::rethrow_exception(failure_);
    return added_;
  }

 private:
  std::mutex guard_;
  std::condition_variable added_or_stopped_;
  int64_t count_, workers_;
  const std::atomic<bool>* cancelled_;
  int64_t next_ = 0, added_ = 0;
  std::map<int64_t, std::pair<Stretch, Seen>> finished_;  ///< not added yet, by their first
  bool stopped_ = false;
  int64_t failed_ = std::numeric_limits<int64_t>::max();
  std::exception_ptr failure_;
};

/// What a worker needs: a recorder, perhaps behind a tap that shows it a part, and a run.
class Measurement::Lane {
 public:
  Lane(const std::vector<Site>& sites, const MeasureOptions& options,
       const std::atomic<bool>* cancelled)
      : recorder_(sites, {.fine = options.fine, .per_channel = options.per_channel}) {
    Tap* tap = &recorder_;
    if (options.most_values > 0) {
      tap = &subsample_.emplace(recorder_, options.most_values, options.seed);
    }
    std::vector<Tap*> taps{tap};
    if (options.also != nullptr) taps.push_back(options.also);
    tap_.emplace(std::move(taps), cancelled);
    run_.emplace(&*tap_, options.state_every);
  }
  Run& begin(const Sample& sample, const Team& team) {
    if (subsample_) subsample_->begin(sample.number);
    run_->use(team);
    return *run_;
  }
  Seen take() { return recorder_.take(); }

 private:
  Recorder recorder_;
  std::optional<SubsampleTap> subsample_;
  std::optional<CancellingTap> tap_;
  std::optional<Run> run_;
};

Measurement::Measurement(const std::vector<Site>& sites, const MeasureOptions& options,
                         const PassControl& control, int64_t total)
    : sites_(sites),
      options_(options),
      control_(control),
      threads_(options.also != nullptr ? 1 : control.threads),
      counted_(without_composites(sites)),
      sum_(counted_, {.fine = options.fine, .per_channel = options.per_channel}),
      lanes_(static_cast<size_t>(threads_.count())),
      total_(total) {}

Measurement::~Measurement() = default;

int64_t Measurement::run(std::span<const Sample> samples, const ShowSample& show) {
  const int64_t count = std::ssize(samples);
  const int64_t workers = std::min<int64_t>(threads_.count(), count);
  Queue queue(count, static_cast<int>(workers), control_.cancelled);
  threads_.for_each(workers, [&](int64_t, int worker) {
    work(samples, show, queue, lane_of(worker), threads_.team(worker));
  });
  const int64_t added = queue.added();
  interrupted_ = interrupted_ || added < count;
  return added;
}

Measurement::Lane& Measurement::lane_of(int worker) {
  auto& lane = lanes_[static_cast<size_t>(worker)];
  if (lane == nullptr) lane = std::make_unique<Lane>(counted_, options_, control_.cancelled);
  return *lane;
}

int64_t Measurement::run(std::span<const Sample> samples, const SampleSteps& steps) {
  const auto drop = [&] {
    for (const auto& lane : lanes_) {
      if (lane != nullptr) lane->take();
    }
  };
  try {
    take_steps(samples, steps);
  } catch (const SampleGivenUp&) {
    drop();
    interrupted_ = true;
    return 0;
  } catch (...) {
    drop();
    throw;
  }
  for (const auto& lane : lanes_) {
    if (lane != nullptr) sum_.merge(lane->take());
  }
  add({0, std::ssize(samples)}, samples, {});
  return std::ssize(samples);
}

void Measurement::take_steps(std::span<const Sample> samples, const SampleSteps& steps) {
  int64_t units = 0;
  for (const Sample& sample : samples) units += sample.units;
  for (int64_t step = 0; step < steps.count; ++step) {
    if (is_set(control_.cancelled)) throw SampleGivenUp{};
    steps.begin(step);
    threads_.for_each(std::ssize(samples), [&](int64_t i, int worker) {
      const Sample& sample = samples[static_cast<size_t>(i)];
      steps.show(step, i, lane_of(worker).begin(sample, threads_.team(worker)));
    });
    if (control_.progress) {
      control_.progress(done_ + units * (step + 1) / steps.count, total_);
    }
  }
}

void Measurement::work(std::span<const Sample> samples, const ShowSample& show, Queue& queue,
                       Lane& lane, const Team& team) {
  using Clock = std::chrono::steady_clock;
  double seconds_each = 0;
  while (const auto stretch = queue.next(seconds_each)) {
    const auto start = Clock::now();
    int64_t i = stretch->first;
    try {
      for (; i < stretch->end; ++i) show(i, lane.begin(samples[static_cast<size_t>(i)], team));
      const std::chrono::duration<double> time = Clock::now() - start;
      seconds_each = time.count() / static_cast<double>(stretch->end - stretch->first);
      queue.finish(*stretch, lane.take(),
                   [&](Stretch done, Seen seen) { add(done, samples, std::move(seen)); });
    } catch (const SampleGivenUp&) {
      lane.take();
      return queue.stop(i, nullptr);
    } catch (...) {
      lane.take();
      return queue.stop(i, std::current_exception());
    }
  }
}

/// One at a time: the queue sees to it.
void Measurement::add(Stretch stretch, std::span<const Sample> samples, Seen seen) {
  sum_.merge(std::move(seen));
  for (int64_t i = stretch.first; i < stretch.end; ++i) {
    done_ += samples[static_cast<size_t>(i)].units;
  }
  finished_ += stretch.end - stretch.first;
  if (control_.progress) control_.progress(done_, total_);
  if (!keep_ || !due_(finished_ - kept_)) return;
  kept_ = finished_;
  Seen all = sum_.statistics();
  add_composites(sites_, all);
  keep_(std::move(all), finished_);
}

void Measurement::resume(Seen seen) {
  Seen counted;
  for (const Site& site : counted_) {
    if (auto node = seen.extract(site.name)) counted.insert(std::move(node));
  }
  sum_.merge(std::move(counted));
}

void Measurement::keep(std::function<bool(int64_t)> due, std::function<void(Seen, int64_t)> keep) {
  due_ = std::move(due);
  keep_ = std::move(keep);
}

Seen Measurement::take() {
  Seen out = sum_.take();
  add_composites(sites_, out);
  return out;
}

std::vector<NamedTensor> first_values(const std::vector<Site>& sites, int64_t most,
                                      int64_t state_every, const PassControl& control,
                                      const std::function<void(Run&)>& show) {
  FirstValues first(sites, most);
  CancellingTap tap({&first}, control.cancelled);
  const Threads threads(control.threads);
  Run run(&tap, state_every);
  run.use(threads.team());
  try {
    show(run);
  } catch (const SampleGivenUp&) {
    return {};
  }
  return first.take();
}

}  // namespace scute
