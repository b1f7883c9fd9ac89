// One pass: samples through a model, exact statistics of what its sites show. A product says what a
// sample is.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "scute/base/threads.h"
#include "scute/models/run.h"
#include "scute/observe/recorder.h"

namespace scute {

/// A pass in which samples go through a layer together, one layer at a time in memory.
struct ByLayers {
  int64_t samples = 0;  ///< together; 0: all
  /// Between layers each sample's numbers lie in a file without a name in this folder; "": in
  /// memory.
  std::string folder = "";
};

/// What does not influence the result.
struct PassControl {
  int threads = 0;  ///< 0: all processors
  /// Called with the units that are done and all of them, ascending, from any thread. They count
  /// for sure, but for those of samples that go through a model together.
  std::function<void(int64_t done, int64_t total)> progress = {};
  const std::atomic<bool>* cancelled = nullptr;  ///< set: stop, also inside a sample
  std::optional<ByLayers> by_layers = {};        ///< of models that can; empty: all weights packed
};

/// What does.
struct MeasureOptions {
  int fine = 8;              ///< mantissa bits of a bucket
  bool per_channel = false;  ///< also max |x| per channel
  int64_t state_every = 64;  ///< as Run
  /// At most so many values of each tensor are counted, as SubsampleTap picks them; 0: every one.
  int64_t most_values = 0;
  uint64_t seed = 0;  ///< of that choice
  /// Shown everything too, sample after sample on one thread, before progress is told. What a
  /// sample that was interrupted showed is not taken back. May be null.
  Tap* also = nullptr;
};

/// One sample of a collection.
struct Sample {
  int64_t number = 0;  ///< decides, with the seed, which of its values are counted
  int64_t units = 1;   ///< of progress
};
/// Runs one sample, all of it on this thread.
using ShowSample = std::function<void(int64_t index, Run& run)>;

/// What samples do step by step, all of them one step before any does the next.
struct SampleSteps {
  int64_t count = 0;
  /// Called before the samples' step, on one thread.
  std::function<void(int64_t step)> begin;
  std::function<void(int64_t step, int64_t index, Run& run)> show;
};

/// The statistics of samples, the same bytes for any number of threads.
///
/// Samples are handed out in order and added in order: those that count are always the first ones.
/// A cancellation is noticed at the next site that any sample reaches, wanted or not; samples begun
/// and not finished are given up and leave no trace. From the flag to the end of run() it takes as
/// long as the longest way between two sites, a product, never a sample: 0.95 s in one sample of
/// 30,000 tokens on a machine with ten times as much to do as processors, where waiting for the
/// sample had taken 38 s.
class Measurement {
 public:
  /// Of these sites; those that are others side by side are added up, not counted. `total`: the
  /// units of all samples of all calls of run(). `options.also` and `control.cancelled` must live
  /// as long as this.
  Measurement(const std::vector<Site>& sites, const MeasureOptions& options,
              const PassControl& control, int64_t total);
  ~Measurement();

  /// Takes up where another measurement of the same sites ended: `seen` is what it took.
  void resume(std::map<std::string, Statistic> seen);
  /// From now on, whenever due(samples finished since it last said so) is true, calls keep(what
  /// take() would give, samples finished by all calls of run()); from any thread, one at a time.
  void keep(std::function<bool(int64_t samples)> due,
            std::function<void(std::map<std::string, Statistic>, int64_t samples)> keep);

  /// Shows these samples, on several threads; returns how many were finished: all, or after a
  /// cancellation the first ones, and then no further one is begun by any call. What show() throws
  /// is thrown here: of the lowest sample that failed.
  int64_t run(std::span<const Sample> samples, const ShowSample& show);

  /// The same for samples that go step by step, each of which shows other sites: the same
  /// statistics, byte for byte. All of them are finished, or after a cancellation none.
  int64_t run(std::span<const Sample> samples, const SampleSteps& steps);

  const Threads& threads() const { return threads_; }
  /// Whether a run() ended before its last sample.
  bool interrupted() const { return interrupted_; }
  /// Sites asked for that saw no value, in the order asked for.
  std::vector<std::string> silent_sites() const { return sum_.silent_sites(); }
  /// Of the sites that saw a value, composites among them; begins anew.
  std::map<std::string, Statistic> take();

 private:
  class Lane;
  class Queue;
  struct Stretch;
  void work(std::span<const Sample> samples, const ShowSample& show, Queue& queue, Lane& lane,
            const Team& team);
  void add(Stretch stretch, std::span<const Sample> samples, std::map<std::string, Statistic> seen);
  Lane& lane_of(int worker);
  void take_steps(std::span<const Sample> samples, const SampleSteps& steps);

  std::vector<Site> sites_;
  MeasureOptions options_;
  PassControl control_;
  Threads threads_;
  std::vector<Site> counted_;
  Recorder sum_;
  std::vector<std::unique_ptr<Lane>> lanes_;  ///< of the workers, made when they begin
  int64_t total_, done_ = 0;                  ///< units
  int64_t finished_ = 0, kept_ = 0;           ///< samples; of them in what was kept last
  std::function<bool(int64_t)> due_;
  std::function<void(std::map<std::string, Statistic>, int64_t)> keep_;
  bool interrupted_ = false;
};

/// The first `most` values that each of the sites shows of one sample; none after a cancellation.
std::vector<NamedTensor> first_values(const std::vector<Site>& sites, int64_t most,
                                      int64_t state_every, const PassControl& control,
                                      const std::function<void(Run&)>& show);

}  // namespace scute
