// What Python's Histogram, Statistic and Statistics hold: values of the library, each with a lock,
// because Python's threads may use one while another counts into it without the GIL.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "extension/arrays.h"
#include "scute/observe/distribution.h"
#include "scute/observe/sample_counter.h"
#include "scute/observe/statistics_file.h"

namespace scute::python {

/// Whoever holds the lock neither has nor takes the GIL for longer than it copies, so that waiting
/// with the GIL ends.
class HistogramValue {
 public:
  explicit HistogramValue(int fine) : statistic_(fine) {}
  explicit HistogramValue(Statistic statistic) : statistic_(std::move(statistic)) {}
  HistogramValue(const HistogramValue& other) : statistic_(other.copy()) {}
  HistogramValue& operator=(const HistogramValue&) = delete;

  /// One sample. Releases the GIL while it counts; of many values nothing is counted when a
  /// signal's handler raises meanwhile.
  void update(const FloatArray& values, std::string_view site, Vectors vectors);
  void merge(const Statistic& other);
  void assign(Statistic statistic);
  Statistic copy() const;
  /// Something read of it.
  template <class Read>
  auto read(const Read& question) const {
    const std::lock_guard lock(guard_);
    return question(statistic_);
  }
  /// Made once after each change.
  std::shared_ptr<const Distribution> distribution() const;

 private:
  mutable std::mutex guard_;
  Statistic statistic_;
  mutable std::shared_ptr<const Distribution> distribution_;
};

/// The same with what is kept per channel.
class StatisticValue : public HistogramValue {
 public:
  StatisticValue(int fine, bool per_channel) : HistogramValue(fine), per_channel_(per_channel) {}
  explicit StatisticValue(Statistic statistic)
      : HistogramValue(std::move(statistic)),
        per_channel_(read([](const Statistic& s) { return !s.channel_absmax.empty(); })) {}
  StatisticValue(const StatisticValue&) = default;

  bool per_channel() const { return per_channel_; }

 private:
  bool per_channel_;
};

/// Site → statistic. What it hands out is shared with it.
class SiteStatistics {
 public:
  using Sites = std::map<std::string, std::shared_ptr<StatisticValue>>;

  SiteStatistics(int fine, bool per_channel);
  explicit SiteStatistics(StatisticsSet set);

  int fine() const { return fine_; }
  bool per_channel() const { return per_channel_; }
  /// Of now.
  Sites sites() const;
  /// Null when there is none.
  std::shared_ptr<StatisticValue> find(const std::string& site) const;
  /// Made when it is missing.
  std::shared_ptr<StatisticValue> at(const std::string& site);
  /// Error when the statistic has another `fine`.
  void set(const std::string& site, Statistic statistic);
  bool remove(const std::string& site);
  /// A copy as the library has it. With the GIL, which is released meanwhile.
  StatisticsSet copy() const;
  /// With the GIL. All of it; what was handed out of sites that stay has the new values.
  void replace(StatisticsSet set);

  Json meta;  ///< with the GIL only

 private:
  int fine_;
  bool per_channel_;
  mutable std::mutex guard_;
  Sites sites_;
};

}  // namespace scute::python
