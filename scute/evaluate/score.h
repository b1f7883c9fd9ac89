// What a model is worth, as a list of named metrics with the scores of their items: what compares,
// ranks, records and shows results knows no metric by name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "scute/base/json.h"

namespace scute {

/// Which way is better.
enum class MetricDirection { lower, higher };

/// How a metric follows from its items, and two of them are compared.
enum class MetricForm {
  perplexity,  ///< exp(Σ value / Σ weight); as the ratio B/A
  ratio,       ///< mean of values that are not negative; as the ratio B/A where both are positive
  mean,        ///< mean; as the difference B − A
  share,       ///< mean of 0 and 1; as B − A, with McNemar's exact test on pairs
};

/// What people read. `heading`: of the column in listings, which metrics of one heading share (the
/// first that an experiment has is shown, with its `mark`); empty: not in listings.
struct MetricWords {
  std::string label;          ///< "perplexity per last word"
  std::string brief;          ///< "word perplexity"
  std::string heading, mark;  ///< "perplexity", "w"
  std::string about;          ///< "per last word": what the column's legend says of it
  std::string items;          ///< what one is of, several of them: "passages"
  std::string group;          ///< "last_word": those of one group are of the same items
};

/// Where the items' scores stand in a file with one JSON object a line. Members that are missing
/// from a metric are empty.
struct ItemPlace {
  std::string kind;                ///< the member "kind" of its lines; empty: lines without one
  std::vector<std::string> value;  ///< path to the score; empty: no items are kept
  std::string name;    ///< the member that tells items apart, the same in both of a pair
  std::string weight;  ///< the member with an item's weight; empty: all weigh 1
};

/// What a score measures, and how it is written and shown.
struct Metric {
  std::string name;  ///< as JSON, CSV and MLflow spell it
  std::string unit;  ///< "m", "nats"; "share" is shown in percent; empty: a bare number
  MetricDirection direction = MetricDirection::lower;
  MetricForm form = MetricForm::mean;
  MetricWords words;
  ItemPlace place;
};

/// One item that a score is the mean of.
struct ScoredItem {
  std::string name;
  double value = 0, weight = 1;
};

/// One thing that must be equal for two scores to be comparable; `value` null: not known, agrees
/// with anything. `because`: said in place of "other KEY: A and B" where that would tell little.
struct ProtocolFact {
  std::string key;
  Json value;
  std::string because;
};

/// The mean of a metric over items, with its error and what it is comparable with.
struct MetricScore {
  Metric metric;
  double mean = 0;
  double standard_error = 0;           ///< NaN: not known, as of one item or where all were hit
  int64_t count = 0;                   ///< items; 0: not known
  std::vector<ProtocolFact> protocol;  ///< empty: not known
  std::vector<ScoredItem> items;       ///< empty: not at hand
};
/// In the order in which they are shown, and by the first of which experiments are ranked.
using Score = std::vector<MetricScore>;

/// What follows from the items, at least one.
double mean_of(MetricForm form, const std::vector<ScoredItem>& items);
/// A share's standard error; NaN where its items say nothing of their spread: one, or all of them
/// or none hit.
double share_error(double share, int64_t items);
/// Where all or none of the items were hit: with 95 % confidence the share itself is at most (none)
/// or at least (all) this, 3/n away (Hanley and Lippman-Hand, JAMA 249, 1983), which of 2 or 3
/// items is no bound at all. Empty where some were, and of one item.
std::optional<double> share_bound(double share, int64_t items);
/// Of a score whose metric is a share.
std::optional<double> share_bound(const MetricScore& score);
/// An error of 0 becomes unknown where the number of items or their share says that it is none:
/// what other versions and tools have recorded.
void forget_false_error(MetricScore& score);
/// Their score; its error is that of items of equal weight.
MetricScore score_of_items(Metric metric, std::vector<ScoredItem> items,
                           std::vector<ProtocolFact> protocol);

/// B against A on the same items.
struct PairedEffect {
  double size = 0;            ///< log(B/A) as a ratio, else B − A
  double standard_error = 0;  ///< of size; NaN where all items differ by the same
  /// McNemar's of shares; of others only where they have no standard error: of the signs alone.
  double p = 1;
  bool same = false;  ///< every item has the same score
};
/// Whether names and weights are the same, one by one.
bool same_items(const std::vector<ScoredItem>& a, const std::vector<ScoredItem>& b);
/// Both of same_items(), at least one. `as_ratio` of a form other than perplexity: by the delta
/// method.
PairedEffect compare_items(MetricForm form, bool as_ratio, const std::vector<ScoredItem>& a,
                           const std::vector<ScoredItem>& b);

/// How numbers of a unit are shown: times `factor`, in `unit`; `digits` behind the point, or
/// significant ones when empty.
struct ShownUnit {
  double factor = 1;
  std::string unit;
  std::optional<int> digits;
};
ShownUnit shown_unit(const std::string& unit);

}  // namespace scute
