#include "scute/evaluate/score.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "scute/base/portable_math.h"
#include "scute/evaluate/compare.h"

namespace scute {
namespace {

struct ItemSums {
  double value = 0, weight = 0;
};

ItemSums sums_of(const std::vector<ScoredItem>& items) {
  ItemSums out;
  for (const ScoredItem& item : items) {
    out.value += item.value;
    out.weight += item.weight;
  }
  return out;
}

/// What the differences say of `size`, whose error is theirs times `factor`. Where all differ by
/// the same but for the last bits, their signs are left.
PairedEffect effect_of(double size, const std::vector<double>& differences, double factor) {
  constexpr double kRounding = 1e-12;
  const double error = factor * mean_and_error(differences).standard_error;
  const bool spread = error > kRounding * std::abs(size) || size == 0;
  if (spread) return {size, error, 1, false};
  return {size, std::numeric_limits<double>::quiet_NaN(), mcnemar(0, std::ssize(differences)),
          false};
}

PairedEffect compare_shares(const std::vector<ScoredItem>& a, const std::vector<ScoredItem>& b) {
  int64_t gained = 0, lost = 0;
  std::vector<double> differences;
  for (size_t i = 0; i < a.size(); ++i) {
    gained += b[i].value > a[i].value ? 1 : 0;
    lost += b[i].value < a[i].value ? 1 : 0;
    differences.push_back(b[i].value - a[i].value);
  }
  const MeanAndError mean = mean_and_error(differences);
  return {mean.mean, mean.standard_error, mcnemar(std::min(gained, lost), gained + lost), false};
}

/// mean(b)/mean(a) = r; to first order its error is that of the mean of (b − r·a)/mean(a).
PairedEffect compare_ratio(const std::vector<ScoredItem>& a, const std::vector<ScoredItem>& b) {
  const double ratio = sums_of(b).value / sums_of(a).value;
  std::vector<double> rests;
  for (size_t i = 0; i < a.size(); ++i) rests.push_back(b[i].value - ratio * a[i].value);
  const double mean = sums_of(b).value / static_cast<double>(b.size());
  return effect_of(portable::log(ratio), rests, 1 / mean);
}

/// The error is that of items of equal weight: all windows of one protocol predict equally many
/// tokens, but for the first of overlapping ones.
PairedEffect compare_perplexity(const std::vector<ScoredItem>& a,
                                const std::vector<ScoredItem>& b) {
  std::vector<double> differences;
  for (size_t i = 0; i < a.size(); ++i) {
    differences.push_back((b[i].value - a[i].value) / a[i].weight);
  }
  const ItemSums x = sums_of(a), y = sums_of(b);
  return effect_of(y.value / y.weight - x.value / x.weight, differences, 1);
}

PairedEffect compare_means(const std::vector<ScoredItem>& a, const std::vector<ScoredItem>& b) {
  std::vector<double> differences;
  for (size_t i = 0; i < a.size(); ++i) differences.push_back(b[i].value - a[i].value);
  return effect_of(mean_and_error(differences).mean, differences, 1);
}

}  // namespace

double share_error(double share, int64_t items) {
  if (items < 2 || share <= 0 || share >= 1) return std::numeric_limits<double>::quiet_NaN();
  return std::sqrt(share * (1 - share) / static_cast<double>(items - 1));
}

std::optional<double> share_bound(double share, int64_t items) {
  if (items < 2 || (share > 0 && share < 1)) return std::nullopt;
  const double away = std::min(1.0, 3 / static_cast<double>(items));
  return share > 0 ? 1 - away : away;
}

std::optional<double> share_bound(const MetricScore& score) {
  if (score.metric.form != MetricForm::share) return std::nullopt;
  return share_bound(score.mean, score.count);
}

void forget_false_error(MetricScore& score) {
  const bool share = score.metric.form == MetricForm::share;
  if (score.count == 1 || (share && (score.mean <= 0 || score.mean >= 1))) {
    score.standard_error = std::numeric_limits<double>::quiet_NaN();
  }
}

double mean_of(MetricForm form, const std::vector<ScoredItem>& items) {
  const ItemSums sums = sums_of(items);
  const double mean = sums.value / sums.weight;
  return form == MetricForm::perplexity ? portable::exp(mean) : mean;
}

MetricScore score_of_items(Metric metric, std::vector<ScoredItem> items,
                           std::vector<ProtocolFact> protocol) {
  std::vector<double> values;
  for (const ScoredItem& item : items) values.push_back(item.value / item.weight);
  MetricScore out;
  out.mean = mean_of(metric.form, items);
  out.count = static_cast<int64_t>(items.size());
  out.standard_error = metric.form == MetricForm::share ? share_error(out.mean, out.count)
                                                        : mean_and_error(values).standard_error;
  if (metric.form == MetricForm::perplexity) out.standard_error *= out.mean;
  out.metric = std::move(metric);
  out.items = std::move(items);
  out.protocol = std::move(protocol);
  return out;
}

bool same_items(const std::vector<ScoredItem>& a, const std::vector<ScoredItem>& b) {
  return std::ranges::equal(a, b, [](const ScoredItem& x, const ScoredItem& y) {
    return x.name == y.name && x.weight == y.weight;
  });
}

PairedEffect compare_items(MetricForm form, bool as_ratio, const std::vector<ScoredItem>& a,
                           const std::vector<ScoredItem>& b) {
  PairedEffect out = form == MetricForm::share        ? compare_shares(a, b)
                     : form == MetricForm::perplexity ? compare_perplexity(a, b)
                     : as_ratio                       ? compare_ratio(a, b)
                                                      : compare_means(a, b);
  out.same = std::ranges::equal(a, b, {}, &ScoredItem::value, &ScoredItem::value);
  return out;
}

ShownUnit shown_unit(const std::string& unit) {
  if (unit == "share") return {100, "%", 2};
  if (unit == "m") return {1000, "mm", 2};
  return {1, unit, std::nullopt};
}

}  // namespace scute
