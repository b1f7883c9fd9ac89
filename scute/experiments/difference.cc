#include "scute/experiments/difference.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "scute/base/error.h"
#include "scute/evaluate/compare.h"
#include "scute/experiments/fields.h"
#include "scute/language/scoring.h"

namespace scute {
namespace {

using Metric = Difference::Metric;
using Verdict = Difference::Verdict;

constexpr double kLevel = 0.05;

/// One experiment: its result of one task, and the items' scores when they are at hand.
struct Side {
  const LogEntry& entry;
  const Json* task;  ///< results.tasks.NAME; null in logs of other tools
  const Scores* scores;
};

bool is_ratio(Metric metric) { return metric != Metric::accuracy; }

/// log(B/A) or B − A, and its standard error: on this scale the errors are symmetric.
struct Effect {
  double size, standard_error;
};
Effect effect_of(const Difference& d) {
  if (!is_ratio(d.metric)) return {d.difference, d.standard_error};
  return {std::log1p(d.difference), d.standard_error / (1 + d.difference)};
}

/// The z that a standard normal variable exceeds in size with probability `p`, by bisection.
double normal_bound(double p) {
  double low = 0, high = 40;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (std::erfc(middle / std::sqrt(2.0)) > p ? low : high) = middle;
  }
  return high;
}

/// n·((z_(1−level/2) + z_0.8)·SE/|d|)²: the sample size for which a two-sided test at `level` finds
/// a true difference d with power 0.8 (Cohen, Statistical Power Analysis for the Behavioral
/// Sciences, 2nd ed. 1988, §12; z_0.975 = 1.96, z_0.8 = 0.8416), as SE falls with √n.
std::optional<int64_t> needed(const Difference& d, double level) {
  const Effect effect = effect_of(d);
  if (effect.size == 0 || !(effect.standard_error > 0) || d.items < 1) return std::nullopt;
  const double ratio =
      (normal_bound(level) + 0.8416) * effect.standard_error / std::abs(effect.size);
  const double items = std::ceil(static_cast<double>(d.items) * ratio * ratio);
  if (!(items < 0x1p53)) return std::nullopt;
  // Few items: Student's bound is wider than the normal one, so this many were not enough.
  return std::max(static_cast<int64_t>(items), d.items + 1);
}

void judge(Difference& d, double level) {
  d.items_needed.reset();
  const bool up = d.difference > 0;
  if (d.p < kLevel) {
    d.verdict = up == is_ratio(d.metric) ? Verdict::worse : Verdict::better;
  } else {
    d.verdict = Verdict::noise;
    d.items_needed = needed(d, level);
  }
}

Difference not_comparable(Difference d, std::string because) {
  d.p = 1;
  d.verdict = Verdict::not_comparable;
  d.because = std::move(because);
  return d;
}

/// Null unless both are there.
const Json* member(const Side& side, const char* key) {
  return side.task == nullptr ? nullptr : side.task->find(key);
}

bool differ(const Side& a, const Side& b, const char* key) {
  const Json *x = member(a, key), *y = member(b, key);
  if (x == nullptr || y == nullptr) return x != y;
  if (x->is_number() && y->is_number()) return x->as_double("") != y->as_double("");
  return *x != *y;
}

std::string shown(const Side& side, const char* key) {
  const Json* value = member(side, key);
  return value == nullptr ? "unknown" : value->is_string() ? value->as_string("") : value->dump();
}

/// Why the two were not measured on the same items; empty when they were. Whether a text was read
/// at once or token by token (`stepwise`) does not change the items.
std::string protocol_difference(const Side& a, const Side& b, Metric metric) {
  if (a.task == nullptr || b.task == nullptr) {
    return "the log does not say on which items, nor the standard error";
  }
  if (differ(a, b, "sha256") || (member(a, "sha256") == nullptr && differ(a, b, "file"))) {
    const bool renamed = differ(a, b, "file");
    return renamed ? fmt::format("other files: {} and {}", shown(a, "file"), shown(b, "file"))
                   : fmt::format("the file {} was changed in between", shown(a, "file"));
  }
  std::vector<const char*> keys{"n"};
  if (metric == Metric::perplexity) keys = {"window", "stride", "context", "n"};
  if (metric == Metric::accuracy || metric == Metric::last_word_perplexity) {
    keys = {"max_context", "n"};
  }
  for (const char* key : keys) {
    if (!differ(a, b, key)) continue;
    const std::string_view name =
        std::string_view(key) == "n" ? "number of items" : std::string_view(key);
    return fmt::format("other {}: {} and {}", name, shown(a, key), shown(b, key));
  }
  if (metric != Metric::perplexity) return "";
  const std::string one = text_field(a.entry.hashes, {"tokenizer"});
  const std::string two = text_field(b.entry.hashes, {"tokenizer"});
  if ((!one.empty() && !two.empty() && one != two) || differ(a, b, "predictions")) {
    return "other tokenizers: a perplexity is per token";
  }
  return "";
}

/// Scores that belong to the numbers of the record: as many, and the same perplexity but for the
/// rounding of its text.
bool fits(double recorded, double measured, int64_t recorded_items, size_t items) {
  return std::cmp_equal(recorded_items, items) &&
         std::abs(recorded - measured) <= 1e-6 * std::abs(recorded);
}

bool fits(const Side& side, Metric metric, const Difference& d, double value) {
  if (side.scores == nullptr || metric == Metric::position_error) return false;
  if (metric == Metric::perplexity) {
    const auto& found = side.scores->perplexity;
    return found && fits(value, found->perplexity, d.items, found->windows.size());
  }
  const auto& found = side.scores->last_word;
  if (!found) return false;
  const bool hits = metric == Metric::accuracy;
  return fits(value, hits ? found->accuracy : found->perplexity, d.items, found->items.size());
}

void set_ratio(Difference& d, double log_ratio, double log_error) {
  d.difference = std::expm1(log_ratio);
  d.standard_error = (1 + d.difference) * log_error;
  const double t = log_error > 0 ? log_ratio / log_error
                   : log_ratio == 0
                       ? 0
                       : std::copysign(std::numeric_limits<double>::infinity(), log_ratio);
  d.p = student_p(t, static_cast<double>(d.items - 1));
}

/// Difference, error and p from pairs; false when the windows are not the same after all.
bool pair_up(const Side& a, const Side& b, Difference& d, bool& same) {
  if (d.metric == Metric::perplexity) {
    const PerplexityResult &x = *a.scores->perplexity, &y = *b.scores->perplexity;
    PerplexityRatio ratio;
    try {
      ratio = compare(y, x);
    } catch (const Error&) {
      return false;
    }
    set_ratio(d, y.mean_nll - x.mean_nll, ratio.standard_error / ratio.ratio);
    same = std::ranges::equal(x.windows, y.windows, {}, &WindowScore::nll, &WindowScore::nll);
    return true;
  }
  const LastWordResult &x = *a.scores->last_word, &y = *b.scores->last_word;
  if (d.metric == Metric::accuracy) {
    const HitComparison hits = compare(y, x);
    d.difference = hits.difference;
    d.standard_error = hits.standard_error;
    d.p = hits.p;
    same = hits.gained + hits.lost == 0;
    return true;
  }
  std::vector<double> differences;
  for (size_t i = 0; i < x.items.size(); ++i) {
    differences.push_back(y.items[i].nll - x.items[i].nll);
  }
  const MeanAndError mean = mean_and_error(differences);
  set_ratio(d, mean.mean, mean.standard_error);
  same = std::ranges::all_of(differences, [](double x_) { return x_ == 0; });
  return true;
}

/// From the two standard errors alone, as if the items were others: items that are hard are hard
/// for both, so this understates what is known.
void leave_unpaired(double error_a, double error_b, Difference& d) {
  double z = 0;
  if (is_ratio(d.metric)) {
    const double log_error = std::hypot(error_a / d.a, error_b / d.b);
    const double log_ratio = std::log(d.b / d.a);
    set_ratio(d, log_ratio, log_error);
    z = log_ratio / log_error;
  } else {
    d.difference = d.b - d.a;
    d.standard_error = std::hypot(error_a, error_b);
    z = d.difference / d.standard_error;
  }
  d.p = std::isnan(z) ? 1 : std::erfc(std::abs(z) / std::sqrt(2.0));
}

/// `value` and `error`: the keys of the result in its task.
Difference compare_one(const Side& a, const Side& b, Difference d, const char* error) {
  d.difference = is_ratio(d.metric) ? d.b / d.a - 1 : d.b - d.a;
  const std::string other = protocol_difference(a, b, d.metric);
  if (!other.empty()) return not_comparable(std::move(d), other);
  const auto items = number_field(*a.task, {"n"});
  if (!items || *items < 2 || *items > 0x1p53) {
    return not_comparable(std::move(d), "fewer than two items say nothing of their spread");
  }
  d.items = static_cast<int64_t>(*items);
  bool same = false;
  d.paired = fits(a, d.metric, d, d.a) && fits(b, d.metric, d, d.b) && pair_up(a, b, d, same);
  if (!d.paired) {
    const auto error_a = number_field(*a.task, {error}), error_b = number_field(*b.task, {error});
    if (!error_a || !error_b || *error_a < 0 || *error_b < 0) {
      return not_comparable(std::move(d), "the log has no standard error");
    }
    leave_unpaired(*error_a, *error_b, d);
  }
  judge(d, kLevel);
  if (same) d.verdict = Verdict::same;
  return d;
}

/// A result of both; empty unless both have it as a number (a perplexity: a positive one).
std::optional<Difference> start(const LogEntry& a, const LogEntry& b, Metric metric, FieldPath path,
                                FieldPath old_path) {
  const auto value = [&](const LogEntry& entry) {
    auto found = number_field(entry.results, path);
    if (!found && old_path.size() > 0) found = number_field(entry.results, old_path);
    if (found && is_ratio(metric) && *found <= 0) found.reset();
    return found;
  };
  const auto x = value(a), y = value(b);
  if (!x || !y) return std::nullopt;
  Difference out;
  out.metric = metric;
  out.a = *x;
  out.b = *y;
  return out;
}

std::string p_text(double p) {
  return p < 0.001 ? "p < 0.001" : fmt::format("p = {:.{}f}", p, p < 0.1 ? 3 : 2);
}

/// Two digits and blanks for the rest: "5,200".
std::string about(int64_t n) {
  int64_t unit = 1;
  while (n / unit >= 100) unit *= 10;
  std::string digits = fmt::format("{}", (n + unit - 1) / unit * unit);
  for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

}  // namespace

std::optional<Scores> read_scores(const LogEntry& entry, const std::string& folder) {
  const std::string path = path_beside(folder, text_field(entry.files, {"items"}));
  if (path.empty()) return std::nullopt;
  try {
    return read_items(path);
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::vector<Difference> compare_results(const LogEntry& a, const LogEntry& b,
                                        const std::string& folder) {
  const auto scores_a = read_scores(a, folder), scores_b = read_scores(b, folder);
  return compare_results(a, b, scores_a ? &*scores_a : nullptr, scores_b ? &*scores_b : nullptr);
}

std::vector<Difference> compare_results(const LogEntry& a, const LogEntry& b,
                                        const Scores* scores_a, const Scores* scores_b) {
  std::vector<Difference> out;
  const auto add = [&](Metric metric, const char* task, FieldPath path, FieldPath old_path,
                       const char* error) {
    auto found = start(a, b, metric, path, old_path);
    if (!found) return;
    const Side x{a, field(a.results, {"tasks", task}), scores_a};
    const Side y{b, field(b.results, {"tasks", task}), scores_b};
    out.push_back(compare_one(x, y, std::move(*found), error));
  };
  add(Metric::perplexity, "perplexity", {"tasks", "perplexity", "perplexity"}, {},
      "perplexity_stderr");
  add(Metric::accuracy, "last_word", {"tasks", "last_word", "accuracy"}, {"accuracy"},
      "accuracy_stderr");
  add(Metric::last_word_perplexity, "last_word", {"tasks", "last_word", "perplexity"},
      {"perplexity"}, "perplexity_stderr");
  add(Metric::position_error, "positions", {"tasks", "positions", "mean"}, {}, "mean_stderr");
  return out;
}

std::string verdict_text(const Difference& d) {
  const bool windows = d.metric == Metric::perplexity || d.metric == Metric::position_error;
  const std::string_view items = windows ? "windows" : "passages";
  const std::string_view unpaired =
      d.paired ? ""
      : d.metric == Metric::position_error
          ? "; from standard errors alone"
          : "; from standard errors alone: items' scores are missing or "
            "are not those of the record";
  switch (d.verdict) {
    case Verdict::same:
      return fmt::format("the same in all {} {}", d.items, items);
    case Verdict::not_comparable:
      return "not comparable: " + d.because;
    case Verdict::better:
      return fmt::format("better ({}{})", p_text(d.p), unpaired);
    case Verdict::worse:
      return fmt::format("worse ({}{})", p_text(d.p), unpaired);
    case Verdict::noise:
      break;
  }
  std::string out = fmt::format("no more than noise ({}{})", p_text(d.p), unpaired);
  if (d.items_needed) out += fmt::format(": about {} {} would tell", about(*d.items_needed), items);
  return out;
}

void adjust_for_many(std::vector<Difference*> differences) {
  std::erase_if(differences,
                [](const Difference* d) { return d->verdict == Verdict::not_comparable; });
  std::ranges::stable_sort(differences, {}, [](const Difference* d) { return d->p; });
  double least = 0;  // an adjusted p is never below that of a smaller one (Holm 1979)
  for (size_t i = 0; i < differences.size(); ++i) {
    Difference& d = *differences[i];
    const auto left = static_cast<double>(differences.size() - i);
    least = d.p = std::max(least, std::min(1.0, left * d.p));
    if (d.verdict != Verdict::same) judge(d, kLevel / left);
  }
}

}  // namespace scute
