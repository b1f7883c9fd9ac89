#include "cli/experiments/experiment_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "cli/terminal/words.h"
#include "scute/experiments/fields.h"
#include "scute/experiments/score_json.h"

namespace scute::cli {
namespace {

constexpr size_t kShown = 3;  // sites of which both ranges are shown
const std::string kRule(80, '=');

std::string line(std::string_view name, std::string_view value) {
  return fmt::format("  {:<17} {}\n", fmt::format("{}:", name), value);
}

std::string optional_text(const std::optional<double>& x) { return x ? significant(*x) : "-"; }

/// The mean of those that have one.
template <class Member>
std::optional<double> mean_of(const std::vector<SiteRanges>& sites, Member member) {
  double sum = 0;
  int64_t count = 0;
  for (const SiteRanges& site : sites) {
    if (!(site.*member)) continue;
    sum += *(site.*member);
    ++count;
  }
  return count == 0 ? std::nullopt : std::optional(sum / static_cast<double>(count));
}

/// A setting of a product that is no language model, in its words: "calib_windows" as "calib
/// windows"; empty for what says nothing there.
std::string setting_line(const std::string& key, const Json& value) {
  constexpr std::array kSaidAbove{"model", "w_bits", "a_bits", "policy"};
  if (value.is_null() || std::ranges::count(kSaidAbove, key) > 0) return "";
  if (value.is_bool() && !value.as_bool("") && key != "normalize") return "";
  std::string words = key;
  std::ranges::replace(words, '_', ' ');
  return line(printable(words), value_text(&value));
}

/// What the schema of language models asks of every record.
std::string language_settings(const Json& config, const Json& record) {
  const auto words = [&](std::string_view key) { return value_text(config.find(key)); };
  const Json* alpha = config.find("percentile_alpha");
  std::string out = line("percentile alpha",
                         alpha == nullptr || alpha->is_null() ? "none given" : value_text(alpha));
  out += line("group heads", words("group_heads"));
  out += line("GPTQ", words("apply_gptq"));
  if (config.find("calib_data_num") != nullptr) {
    const Json* there = field(record, {"calibration", "samples"});
    const std::string of = there == nullptr ? "" : value_text(there) + " of at most ";
    out += line("calibration", fmt::format("{}{} samples of up to {} tokens", of,
                                           words("calib_data_num"), words("calib_seqlen")));
  }
  return out;
}

std::string configuration_text(const Json& record) {
  const Json* config = field(record, {"config"});
  const Json none;
  const Json& from = config == nullptr ? none : *config;
  std::string out = "Configuration\n";
  out += line("model", value_text(from.find("model")));
  out += line("quantization", bits_text(from));
  if (from.find("policy") != nullptr) out += line("policy", value_text(from.find("policy")));
  if (text_field(from, {"model_kind"}).empty()) {
    out += language_settings(from, record);
  } else {
    for (const auto& [key, value] : from.as_object("")) out += setting_line(key, value);
  }
  if (!text_field(record, {"id"}).empty()) {
    out += line("experiment", printable(text_field(record, {"id"})));
  }
  out += line("time", value_text(record.find("timestamp")));
  return out + line("command", value_text(record.find("command")));
}

std::string averages_text(const std::vector<SiteRanges>& sites, std::string_view what) {
  const auto reduction = mean_of(sites, &SiteRanges::reduction);
  return fmt::format("  average over {}: range {} before, {} after{}; clipped {}\n", what,
                     optional_text(mean_of(sites, &SiteRanges::before_range)),
                     optional_text(mean_of(sites, &SiteRanges::after_range)),
                     reduction ? ", reduced by " + percent_text(reduction) : "",
                     percent_text(mean_of(sites, &SiteRanges::clipped)));
}

std::string site_text(const SiteRanges& site) {
  std::string out = "  " + printable(site.site) + "\n";
  out +=
      "    before clipping:  " + range_text(site.before_min, site.before_max, site.before_range) +
      "\n";
  out += "    after clipping:   " + range_text(site.after_min, site.after_max, site.after_range) +
         "\n";
  out += "    clipped:          " + percent_text(site.clipped) + " of the values";
  if (site.clipped_nominal) out += ", " + percent_text(site.clipped_nominal) + " nominally";
  return out + "\n";
}

std::string activations_text(const Json& record) {
  const auto sites = site_ranges(record);
  std::string out = fmt::format("Activation statistics ({})\n",
                                count_of(static_cast<int64_t>(sites.size()), "site"));
  if (sites.empty()) return out;
  for (size_t i = 0; i < sites.size() && i < kShown; ++i) out += site_text(sites[i]);
  if (sites.size() > kShown) out += fmt::format("  … and {} more\n", sites.size() - kShown);
  out += averages_text(sites, "all sites");
  auto first = sites;
  std::erase_if(first, [](const SiteRanges& site) { return !site.in_first_layers(); });
  if (!first.empty() && first.size() < sites.size()) {
    out += averages_text(first, "the first three layers");
  }
  return out;
}

std::string reorder_text(const Json& record) {
  if (!flag_field(record, {"reorder_summary", "enabled"})) return "";
  const auto percent = number_field(record, {"reorder_summary", "avg_range_reduction"});
  return "Reorder effect\n" +
         line("range reduced by", percent ? fixed(*percent, 2) + " % on average" : "-") +
         line("layers", value_text(field(record, {"reorder_summary", "total_layers"})));
}

std::string fact_text(const MetricScore& score, std::string_view key) {
  const auto at = std::ranges::find(score.protocol, key, &ProtocolFact::key);
  return at == score.protocol.end() ? "" : value_text(&at->value);
}

/// "5 of 10 last words" of a share; "64 windows of 512 tokens every 512".
std::string count_text(const MetricScore& score) {
  const MetricWords& words = score.metric.words;
  if (score.metric.form == MetricForm::share && words.about.starts_with("of ")) {
    const auto hits = std::llround(score.mean * static_cast<double>(score.count));
    return fmt::format("{} of {}{}", hits, score.count, words.about.substr(2));
  }
  std::string out = fmt::format("{} {}", score.count, words.items);
  const std::string window = fact_text(score, "window"), stride = fact_text(score, "stride");
  if (!window.empty() && !stride.empty()) {
    out += fmt::format(" of {} tokens every {}", window, stride);
  }
  if (!fact_text(score, "special_tokens").empty()) out += ", special tokens added";
  return out;
}

std::string metric_text(const MetricScore& score, bool counted) {
  const MetricWords& words = score.metric.words;
  std::string out = score_text(score);
  const std::string count = counted && score.count > 0 ? count_text(score) : "";
  if (!words.about.empty() && !count.ends_with(words.about.substr(words.about.find(' ') + 1))) {
    out += " " + words.about;
  }
  if (!count.empty()) out += fmt::format(" ({})", count);
  return line(printable(words.heading.empty() ? words.label : words.heading), printable(out));
}

/// What a task says of the float model on the same items, where it does.
std::string baselines_text(const Json& record) {
  const Json* tasks = field(record, {"results", "tasks"});
  std::string out;
  if (tasks == nullptr || !tasks->is_object()) return out;
  for (const auto& [name, task] : tasks->as_object("")) {
    const auto mean = number_field(task, {"baseline", "mean"});
    if (!mean) continue;
    const auto error = number_field(task, {"baseline", "mean_stderr"});
    const ShownUnit unit = shown_unit("m");
    out += line("  in floats",
                with_error(unit.factor * *mean, error ? std::optional(unit.factor * *error) : error,
                           unit.digits.value_or(5)) +
                    " " + unit.unit);
    out += line("  ratio", with_error(number_field(task, {"against_baseline", "ratio"}),
                                      number_field(task, {"against_baseline", "ratio_stderr"}), 4));
  }
  return out;
}

}  // namespace

std::string results_text(const Json& record) {
  const Json none;
  const auto member = [&](std::string_view key) -> const Json& {
    const Json* found = field(record, {key});
    return found == nullptr ? none : *found;
  };
  const Score score = read_score(member("results"), member("hashes"));
  std::string out;
  for (size_t i = 0; i < score.size(); ++i) {
    const auto same_group = [&](size_t other) {
      return other < score.size() && score[other].metric.words.group == score[i].metric.words.group;
    };
    out += metric_text(score[i], i == 0 || !same_group(i - 1));
    const std::string file = fact_text(score[i], "file");
    if (!file.empty() && !same_group(i + 1)) out += line("  on", file);
  }
  if (is_not_finite(member("results"))) {
    const std::string where = text_field(member("results"), {"not_finite"});
    out += line("not finite", where.empty() ? "some scores" : printable(where));
  }
  out += baselines_text(record);
  return "Results\n" + (out.empty() ? "  none: no task was asked for\n" : out);
}

namespace {

/// Members that are there, e.g. of "files".
std::string members_text(const Json& record, std::string_view key, std::string_view title,
                         std::string (*words)(const Json&)) {
  const Json* found = record.find(key);
  if (found == nullptr || !found->is_object()) return "";
  std::string out;
  for (const auto& [name, value] : found->as_object("")) {
    if (!value.is_null()) out += line(printable(name), words(value));
  }
  return out.empty() ? out : fmt::format("{}\n{}", title, out);
}

std::string seconds_text(const Json& value) {
  if (!value.is_number()) return value_text(&value);
  const double seconds = value.as_double("");
  return seconds >= 0 && seconds < 1e9 ? duration_text(seconds) : value_text(&value);
}

}  // namespace

std::string with_error(std::optional<double> value, std::optional<double> error, int digits) {
  if (!value) return "-";
  const auto number = [&](double x) {
    return std::abs(x) < 1e6 ? fixed(x, digits) : significant(x, 6);
  };
  return error ? fmt::format("{} ± {}", number(*value), number(*error)) : number(*value);
}

namespace {

/// Three, or as many as show two digits of the error, or of a small score without one.
int digits_of(const MetricScore& score) {
  const double size = score.standard_error > 0 ? score.standard_error : std::abs(score.mean);
  if (!std::isfinite(size) || size == 0) return 3;
  return std::clamp(1 - static_cast<int>(std::floor(std::log10(size))), 3, 12);
}

}  // namespace

std::string score_text(const MetricScore& score) {
  const ShownUnit unit = shown_unit(score.metric.unit);
  const auto shown = [&unit](double x) {
    return std::isfinite(x) ? std::optional(unit.factor * x) : std::nullopt;
  };
  const int digits = unit.digits.value_or(digits_of(score));
  std::string out = with_error(shown(score.mean), shown(score.standard_error), digits);
  if (const auto bound = share_bound(score)) {
    out += fmt::format(" ({})", bound_text(score.mean, fixed(unit.factor * *bound, digits)));
  }
  return unit.unit.empty() ? out : out + " " + unit.unit;
}

std::string bits_text(const Json& config) {
  const auto weights = number_field(config, {"w_bits"}), inputs = number_field(config, {"a_bits"});
  if (!weights || !inputs) return "-";
  return fmt::format("W{}A{}", significant(*weights), significant(*inputs));
}

std::string value_text(const Json* value) {
  if (value == nullptr || value->is_null()) return "-";
  if (value->is_string()) return printable(value->as_string(""));
  if (value->is_bool()) return value->as_bool("") ? "yes" : "no";
  return value->is_number() && !value->is_int() ? fmt::format("{}", value->as_double(""))
                                                : printable(value->dump());
}

bool SiteRanges::in_first_layers() const {
  return site.starts_with("layer_0.") || site.starts_with("layer_1.") ||
         site.starts_with("layer_2.");
}

std::vector<SiteRanges> site_ranges(const Json& record) {
  std::vector<SiteRanges> out;
  const Json* stats = record.find("activation_stats");
  if (stats == nullptr || !stats->is_object()) return out;
  for (const auto& [site, stat] : stats->as_object("")) {
    const auto at = [&stat = stat](std::string_view side, std::string_view key) {
      return number_field(stat, {side, key});
    };
    constexpr std::string_view kBefore = "before_percentile", kAfter = "after_percentile";
    out.push_back(
        {site, at(kBefore, "min"), at(kBefore, "max"), at(kBefore, "range"), at(kAfter, "min"),
         at(kAfter, "max"), at(kAfter, "range"), number_field(stat, {"clipped_ratio"}),
         number_field(stat, {"clipped_ratio_nominal"}), number_field(stat, {"range_reduction"})});
  }
  return out;
}

std::string range_text(std::optional<double> lo, std::optional<double> hi,
                       std::optional<double> range) {
  return fmt::format("[{}, {}]  range {}", optional_text(lo), optional_text(hi),
                     optional_text(range));
}

std::string percent_text(std::optional<double> share) {
  return share ? significant(100 * *share, 3) + " %" : "-";
}

std::string summary_text(const Json& record) {
  std::string out = kRule + "\nExperiment summary\n" + kRule + "\n";
  out += configuration_text(record) + "\n" + activations_text(record) + "\n";
  if (const std::string reorder = reorder_text(record); !reorder.empty()) out += reorder + "\n";
  out += results_text(record);
  const auto as_words = [](const Json& value) { return value_text(&value); };
  for (const std::string& part : {members_text(record, "files", "Files", as_words),
                                  members_text(record, "timing", "Timing", seconds_text)}) {
    if (!part.empty()) out += "\n" + part;
  }
  return out + kRule + "\n";
}

}  // namespace scute::cli
