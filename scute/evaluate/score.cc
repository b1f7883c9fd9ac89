#include "scute/evaluate/score.h"

#include <algorithm>
#include <cmath>
#include <limits>

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

MeanAndError of_many(const std::vector<double>& values) {
  MeanAndError out = mean_and_error(values);
  if (values.size() < 2) out.standard_error = std::numeric_limits<double>::quiet_NaN();
  return out;
}

PairedEffect compare_shares(const std::vector<ScoredItem>& a, const std::vector<ScoredItem>& b) {
  int64_t gained = 0, lost = 0;
  std::vector<double> differences;
  for (size_t i = 0; i < a.size(); ++i) {
    gained += b[i].value > a[i].value ? 1 : 0;
    lost += b[i].value < a[i].value ? 1 : 0;
    differences.push_back(b[i].value - a[i].value);
  }
  const MeanAndError mean = of_many(differences);
  return {mean.mean, mean.standard_error, mcnemar(std::min(gained, lost), gained + lost), false};
}

/// mean(b)/mean(a) = r; to first order its error is that of the mean of (b − r·a)/mean(a).
PairedEffect compare_ratio(const std::vector<ScoredItem>& a, const std::vector<ScoredItem>& b) {
  const double ratio = sums_of(b).value / sums_of(a).value;
  std::vector<double> rests;
  for (size_t i = 0; i < a.size(); ++i) rests.push_back(b[i].value - ratio * a[i].value);
  const double mean = sums_of(b).value / static_cast<double>(b.size());
  return {std::log(ratio), of_many(rests).standard_error / mean, 1, false};
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
  return {y.value / y.weight - x.value / x.weight, of_many(differences).standard_error, 1, false};
}

PairedEffect compare_means(const std::vector<ScoredItem>& a, const std::vector<ScoredItem>& b) {
  std::vector<double> differences;
  for (size_t i = 0; i < a.size(); ++i) differences.push_back(b[i].value - a[i].value);
  const MeanAndError mean = of_many(differences);
  return {mean.mean, mean.standard_error, 1, false};
}

}  // namespace

double mean_of(MetricForm form, const std::vector<ScoredItem>& items) {
  const ItemSums sums = sums_of(items);
  const double mean = sums.value / sums.weight;
  return form == MetricForm::perplexity ? std::exp(mean) : mean;
}

MetricScore score_of_items(Metric metric, std::vector<ScoredItem> items,
                           std::vector<ProtocolFact> protocol) {
  std::vector<double> values;
  for (const ScoredItem& item : items) values.push_back(item.value / item.weight);
  MetricScore out;
  out.mean = mean_of(metric.form, items);
  out.standard_error = of_many(values).standard_error;
  if (metric.form == MetricForm::perplexity) out.standard_error *= out.mean;
  out.metric = std::move(metric);
  out.count = static_cast<int64_t>(items.size());
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
