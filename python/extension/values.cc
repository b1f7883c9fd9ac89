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
/// Values counted before a signal is looked for: 10 to 60 ms.
constexpr int64_t kPatience = int64_t{1} << 24;

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

/// Throws what a signal's handler raises, Ctrl-C say. Without the GIL, and with no lock that a
/// thread which has it may wait for.
void listen() {
  const nb::gil_scoped_acquire acquired;
  if (PyErr_CheckSignals() != 0) throw nb::python_error();
}

/// Rows of many values, some at a time: in place where they lie in order, else copied.
class Pieces {
 public:
  /// `rows`: pieces are whole rows; else what follows in order.
  Pieces(const FloatArray& values, bool rows) : values_(values), view_(values.view()) {
    const bool strided = view_ && view_->stride != view_->cols && view_->rows > 1;
    columns_ = rows || strided ? values.columns() : 1;
    const int64_t most = view_ ? kPatience : kPiece;
    step_ = std::max<int64_t>(1, most / columns_);
  }
  int64_t rows() const { return values_.size() / columns_; }
  int64_t step() const { return step_; }
  /// Of rows [first, first + step()); valid until the next call.
  MatView<const float> at(int64_t first) {
    const int64_t count = std::min(step_, rows() - first);
    if (!view_) {
      copied_.resize(static_cast<size_t>(count * columns_));
      values_.copy(first * columns_, count * columns_, copied_.data());
      return shaped(copied_.data(), count, columns_);
    }
    if (columns_ > 1) return {view_->row(first), count, columns_, view_->stride};
    return shaped(view_->data + first, count, columns_);
  }

 private:
  static MatView<const float> shaped(const float* data, int64_t rows, int64_t columns) {
    return columns > 1 ? MatView<const float>(data, rows, columns)
                       : MatView<const float>(data, 1, rows);
  }

  const FloatArray& values_;
  std::optional<MatView<const float>> view_;
  int64_t columns_ = 1, step_ = 1;
  std::vector<float> copied_;
};

/// One sample of many values, looking for signals. Without the GIL.
Statistic long_sample(const FloatArray& values, std::string_view site, Vectors vectors, int fine) {
  Statistic out(fine);
  SampleCounter& counter = counter_of(fine);
  Pieces pieces(values, vectors.absmax);
  int64_t unheard = 0;
  for (int64_t first = 0; first < pieces.rows(); first += pieces.step()) {
    const MatView<const float> piece = pieces.at(first);
    counter.see(site, vectors, piece, out);
    unheard += piece.size();
    if (unheard < kPatience) continue;
    listen();
    unheard = 0;
  }
  out.samples = 1;
  return out;
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
  // Means and elements of the state need all of a sample at once, which no model makes as long.
  if (values.size() >= 2 * kPatience && !vectors.meanabs && !vectors.elements) {
    const auto [fine, channels] = read(
        [](const Statistic& s) { return std::pair(s.histogram.fine(), s.channel_absmax.size()); });
    const auto columns = static_cast<size_t>(values.columns());
    if (!vectors.absmax || channels == 0 || channels == columns) {
      return merge(long_sample(values, site, vectors, fine));
    }
  }
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
