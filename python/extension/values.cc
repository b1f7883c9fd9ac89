#include "extension/values.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"

namespace scute::python {
namespace {

namespace nb = nanobind;

/// Below this many values, counting is shorter than letting other threads run.
constexpr int64_t kShortWork = 16384;
/// Values converted at a time: 256 kB, which stays in the second-level cache.
constexpr int64_t kPiece = 65536;

/// Scratch of this thread, kept from call to call.
SampleCounter& counter_of(int fine) {
  thread_local std::map<int, SampleCounter> counters;
  return counters.try_emplace(fine, fine).first->second;
}

void count_pieces(const FloatArray& values, SampleCounter& counter, Statistic& into) {
  std::vector<float> piece(static_cast<size_t>(std::min(values.size(), kPiece)));
  for (int64_t first = 0; first < values.size(); first += kPiece) {
    const int64_t n = std::min(values.size() - first, kPiece);
    values.copy(first, n, piece.data());
    counter.count({piece.data(), 1, n}, into);
  }
  into.samples += 1;
}

void count_sample(const FloatArray& values, std::string_view site, Vectors vectors,
                  Statistic& into) {
  SampleCounter& counter = counter_of(into.histogram.fine());
  if (const auto view = values.view()) return counter.see(site, vectors, *view, into);
  if (!vectors.absmax && !vectors.meanabs && !vectors.elements) {
    return count_pieces(values, counter, into);
  }
  std::vector<float> all(static_cast<size_t>(values.size()));
  values.copy(0, values.size(), all.data());
  counter.see(site, vectors, {all.data(), values.size() / values.columns(), values.columns()},
              into);
}

/// Without the GIL while it lives, where that pays.
class LongWork {
 public:
  explicit LongWork(int64_t values) {
    if (values >= kShortWork) released_.emplace();
  }

 private:
  std::optional<nb::gil_scoped_release> released_;
};

}  // namespace

void HistogramValue::update(const FloatArray& values, std::string_view site, Vectors vectors) {
  if (values.size() == 0) return;
  const LongWork work(values.size());
  const std::lock_guard lock(guard_);
  distribution_.reset();
  count_sample(values, site, vectors, statistic_);
}

void HistogramValue::merge(const Statistic& other) {
  const std::lock_guard lock(guard_);
  distribution_.reset();
  statistic_.merge(other);
}

void HistogramValue::assign(Statistic statistic) {
  const std::lock_guard lock(guard_);
  distribution_.reset();
  statistic_ = std::move(statistic);
}

Statistic HistogramValue::copy() const {
  return read([](const Statistic& statistic) { return statistic; });
}

std::shared_ptr<const Distribution> HistogramValue::distribution() const {
  const std::lock_guard lock(guard_);
  if (!distribution_) distribution_ = std::make_shared<const Distribution>(statistic_);
  return distribution_;
}

SiteStatistics::SiteStatistics(int fine, bool per_channel)
    : fine_(fine), per_channel_(per_channel) {
  const Histogram check(fine);
}

SiteStatistics::SiteStatistics(StatisticsSet set)
    : fine_(set.fine), per_channel_(std::ranges::any_of(set.sites, [](const auto& site) {
        return !site.second.channel_absmax.empty() && !vectors_of(site.first).absmax;
      })) {
  replace(std::move(set));
}

SiteStatistics::Sites SiteStatistics::sites() const {
  const std::lock_guard lock(guard_);
  return sites_;
}

std::shared_ptr<StatisticValue> SiteStatistics::find(const std::string& site) const {
  const std::lock_guard lock(guard_);
  const auto found = sites_.find(site);
  return found == sites_.end() ? nullptr : found->second;
}

std::shared_ptr<StatisticValue> SiteStatistics::at(const std::string& site) {
  const std::lock_guard lock(guard_);
  auto& statistic = sites_[site];
  if (!statistic) statistic = std::make_shared<StatisticValue>(fine_, per_channel_);
  return statistic;
}

void SiteStatistics::set(const std::string& site, Statistic statistic) {
  if (statistic.histogram.fine() != fine_) {
    fail(site, fmt::format("a statistic of fine {}", fine_),
         std::to_string(statistic.histogram.fine()));
  }
  auto value = std::make_shared<StatisticValue>(std::move(statistic));
  const std::lock_guard lock(guard_);
  sites_[site] = std::move(value);
}

bool SiteStatistics::remove(const std::string& site) {
  const std::lock_guard lock(guard_);
  return sites_.erase(site) > 0;
}

StatisticsSet SiteStatistics::copy() const {
  StatisticsSet out;
  out.meta = meta;
  const nb::gil_scoped_release released;
  out.fine = fine_;
  for (const auto& [site, statistic] : sites()) out.sites.emplace(site, statistic->copy());
  return out;
}

void SiteStatistics::replace(StatisticsSet set) {
  Sites sites, before = this->sites();
  for (auto& [site, statistic] : set.sites) {
    auto& value = sites[site] = std::move(before[site]);
    if (value) {
      value->assign(std::move(statistic));
    } else {
      value = std::make_shared<StatisticValue>(std::move(statistic));
    }
  }
  const std::lock_guard lock(guard_);
  fine_ = set.fine;
  sites_ = std::move(sites);
  meta = std::move(set.meta);
}

}  // namespace scute::python
