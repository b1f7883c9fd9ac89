#include "scute/experiments/difference.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "scute/base/error.h"
#include "scute/base/portable_math.h"
#include "scute/experiments/fields.h"
#include "scute/experiments/score_json.h"

namespace scute {
namespace {

using Verdict = Difference::Verdict;

constexpr double kLevel = 0.05;

/// log(B/A) or B − A, and its standard error: on this scale the errors are symmetric.
struct Effect {
  double size, standard_error;
};
Effect effect_of(const Difference& d) {
  if (!d.ratio) return {d.difference, d.standard_error};
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
    d.verdict =
        up == (d.metric.direction == MetricDirection::lower) ? Verdict::worse : Verdict::better;
  } else {
    d.verdict = Verdict::noise;
    d.items_needed = needed(d, level);
  }
}

Difference not_comparable(Difference d, std::string because) {
  d.p = 1;
  d.standard_error = std::numeric_limits<double>::quiet_NaN();
  d.verdict = Verdict::not_comparable;
  d.because = std::move(because);
  return d;
}

const Json* fact_of(const MetricScore& side, std::string_view key) {
  const auto at = std::ranges::find(side.protocol, key, &ProtocolFact::key);
  return at == side.protocol.end() ? nullptr : &at->value;
}

bool differ(const MetricScore& a, const MetricScore& b, std::string_view key) {
  const Json *x = fact_of(a, key), *y = fact_of(b, key);
  if (x == nullptr || y == nullptr) return x != y;
  if (x->is_null() || y->is_null()) return false;
  if (x->is_number() && y->is_number()) return x->as_double("") != y->as_double("");
  return *x != *y;
}

std::string shown(const MetricScore& side, std::string_view key) {
  const Json* value = fact_of(side, key);
  return value == nullptr ? "unknown" : value->is_string() ? value->as_string("") : value->dump();
}

/// Of the file that holds the items: by its bytes, by its name where these are not known.
std::string file_difference(const MetricScore& a, const MetricScore& b) {
  const bool bytes = differ(a, b, "sha256"), renamed = differ(a, b, "file");
  if (!bytes && (fact_of(a, "sha256") != nullptr || !renamed)) return "";
  return renamed ? fmt::format("other files: {} and {}", shown(a, "file"), shown(b, "file"))
                 : fmt::format("the file {} was changed in between", shown(a, "file"));
}

/// Why the two were not measured on the same items; empty when they were.
std::string protocol_difference(const MetricScore& a, const MetricScore& b) {
  if (a.protocol.empty() || b.protocol.empty()) {
    return "the log does not say on which items, nor the standard error";
  }
  if (std::string other = file_difference(a, b); !other.empty()) return other;
  std::vector<ProtocolFact> facts = a.protocol;
  facts.insert(facts.end(), b.protocol.begin(), b.protocol.end());
  for (const ProtocolFact& fact : facts) {
    const std::string& key = fact.key;
    if (key == "file" || key == "sha256" || !differ(a, b, key)) continue;
    if (!fact.because.empty()) return fact.because;
    return fmt::format("other {}: {} and {}", key == "n" ? "number of items" : key, shown(a, key),
                       shown(b, key));
  }
  return "";
}

/// Items that belong to the numbers of the record: as many, and the same mean but for the rounding
/// of its text.
bool fits(const MetricScore& score) {
  return std::cmp_equal(score.count, score.items.size()) && !score.items.empty() &&
         std::abs(score.mean - mean_of(score.metric.form, score.items)) <=
             1e-6 * std::abs(score.mean);
}

/// `size` of PairedEffect, with its error and Student's p.
void set_effect(Difference& d, double size, double error) {
  d.difference = d.ratio ? std::expm1(size) : size;
  d.standard_error = d.ratio ? (1 + d.difference) * error : error;
  d.p = 1;
  if (std::isnan(error)) return;
  const double t = error > 0   ? size / error
                   : size == 0 ? 0
                               : std::copysign(std::numeric_limits<double>::infinity(), size);
  d.p = student_p(t, static_cast<double>(d.items - 1));
}

/// Difference, error and p from pairs; whether every item has the same score.
bool pair_up(const MetricScore& a, const MetricScore& b, Difference& d) {
  const MetricForm form = d.metric.form;
  const PairedEffect effect = compare_items(form, d.ratio, a.items, b.items);
  set_effect(d, effect.size, effect.standard_error);
  if (form == MetricForm::share || std::isnan(effect.standard_error)) d.p = effect.p;
  return effect.same;
}

/// Of the difference of two shares, under the hypothesis that both are equally good, which also
/// gives one of which all or none were hit an error.
double pooled_error(const MetricScore& a, const MetricScore& b) {
  const auto m = static_cast<double>(a.count), n = static_cast<double>(b.count);
  const double share = (m * a.mean + n * b.mean) / (m + n);
  return std::sqrt(share * (1 - share) * (1 / m + 1 / n));
}

/// From the two standard errors alone, as if the items were others: items that are hard are hard
/// for both, so this understates what is known.
void leave_unpaired(double error_a, double error_b, Difference& d) {
  const double size = d.ratio ? portable::log(d.b / d.a) : d.b - d.a;
  const double error =
      d.ratio ? std::hypot(error_a / d.a, error_b / d.b) : std::hypot(error_a, error_b);
  set_effect(d, size, error);
  const double z = size / error;
  d.p = std::isnan(z) ? 1 : std::erfc(std::abs(z) / std::sqrt(2.0));
}

Difference compare_one(const MetricScore& a, const MetricScore& b, Difference d) {
  d.difference = d.ratio ? d.b / d.a - 1 : d.b - d.a;
  const std::string other = protocol_difference(a, b);
  if (!other.empty()) return not_comparable(std::move(d), other);
  if (a.count < 2) {
    return not_comparable(std::move(d), "fewer than two items say nothing of their spread");
  }
  d.items = a.count;
  d.paired = fits(a) && fits(b) && same_items(a.items, b.items);
  const bool same = d.paired && pair_up(a, b, d);
  const bool errors = a.standard_error >= 0 && b.standard_error >= 0;
  if (!d.paired && d.metric.form == MetricForm::share && !errors) {
    const double each = pooled_error(a, b) / std::sqrt(2.0);
    leave_unpaired(each, each, d);
  } else if (!d.paired) {
    if (!errors) return not_comparable(std::move(d), "the log has no standard error");
    leave_unpaired(a.standard_error, b.standard_error, d);
  }
  judge(d, kLevel);
  if (same) d.verdict = Verdict::same;
  return d;
}

/// Empty where no ratio can be formed of what is one by nature.
std::optional<Difference> start(const MetricScore& a, const MetricScore& b) {
  Difference out;
  out.metric = a.metric;
  out.a = a.mean;
  out.b = b.mean;
  const bool positive = out.a > 0 && out.b > 0;
  const MetricForm form = a.metric.form;
  if (form == MetricForm::perplexity && !positive) return std::nullopt;
  out.ratio = form == MetricForm::perplexity || (form == MetricForm::ratio && positive);
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
  for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

}  // namespace

Score score_with_items(const LogEntry& entry, const std::string& folder) {
  const Score recorded = read_score(entry);
  const std::string path = path_beside(folder, text_field(entry.files, {"items"}));
  if (path.empty()) return recorded;
  try {
    Score out = recorded;
    read_items(path, out);
    return out;
  } catch (const Error&) {
    return recorded;
  }
}

std::vector<Difference> compare_results(const LogEntry& a, const LogEntry& b,
                                        const std::string& folder) {
  return compare_scores(score_with_items(a, folder), score_with_items(b, folder));
}

std::vector<Difference> compare_scores(const Score& a, const Score& b) {
  std::vector<Difference> out;
  for (const MetricScore& one : a) {
    const auto other = std::ranges::find_if(
        b, [&](const MetricScore& score) { return score.metric.name == one.metric.name; });
    if (other == b.end()) continue;
    if (auto begun = start(one, *other)) out.push_back(compare_one(one, *other, std::move(*begun)));
  }
  return out;
}

std::string verdict_text(const Difference& d) {
  const std::string& items = d.metric.words.items;
  const std::string_view unpaired =
      d.paired                       ? ""
      : d.metric.place.value.empty() ? "; from standard errors alone"
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
