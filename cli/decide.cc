// scute decide: statistics to ranges, without the model.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>

#include "cli/cobra/decide_tables.h"
#include "cli/collect_part.h"
#include "cli/decide_text.h"
#include "cli/form.h"
#include "cli/language/quantize_flags.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/options.h"
#include "cli/terminal/outputs.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/cobra/percentile_config.h"
#include "scute/decide/plan.h"
#include "scute/decide/policy_use.h"
#include "scute/io/file.h"
#include "scute/recipe/plan_meta.h"
#include "scute/recipe/statistics_io.h"
#include "scute/regressor/decide.h"

namespace scute::cli {
namespace {

/// Rows shown on a terminal unless --all.
constexpr size_t kRows = 40;

struct DecideRequest {
  std::string statistics, out;
  PolicyFlags rule;
  std::string policy = "auto";       ///< what the rule's flags say, or a default
  bool policy_given = false;         ///< whether they say something
  std::vector<std::string> targets;  ///< empty: all sites
  std::optional<double> percentile_override, headroom;
  bool regressor = false;  ///< the statistics are a regressor's
  int bits = 8, threads = 0;
  bool asymmetric = false, per_side = false, allow_nonfinite = false, json = false, all = false;
  bool force = false;
  std::optional<ClaimedFile> file;
  InputFiles files;  ///< read and hashed are one file

  void declare(Options& options);
  void check();
  /// Whether a rule that was given, for all or for some sites, is one that `reads`.
  bool any_rule(bool (*reads)(const Policy&)) const;
};

/// SITE=POLICY in two.
std::pair<std::string, std::string> site_and_policy(const std::string& pair) {
  const size_t equals = pair.rfind('=');
  if (equals == std::string::npos || equals == 0) {
    throw UsageError(fmt::format("--per-site: expected SITE=POLICY, found \"{}\"", pair));
  }
  return {pair.substr(0, equals), pair.substr(equals + 1)};
}

void DecideRequest::declare(Options& options) {
  options.text("STATS,--stats", statistics, "FILE", "statistics that collect wrote",
               Options::Need::required);
  options.last_reads();
  rule.declare(options, "auto",
               "; percentile:0.999 names the share too; without it, statistics with buckets "
               "(vision.siglip, vision.dino, llm, projector) are decided by tail, the sites inside "
               "them by auto, those of a regressor by minmax");
  options.number("--percentile-override", percentile_override, 50, 100,
                 "tail: this percentile instead of what its rules pick");
  options.custom("--targets", "BUCKET,...", "", "only these buckets, e.g. vision.dino,projector",
                 [this](const std::string& given) { targets = parse_targets(given); });
  options.number("--headroom", headroom, 1, 16,
                 "factor on every range, because what comes later may exceed what was seen (1); "
                 "of a regressor 1.25, at 16 bits its margin is fourfold");
  options.integer("--bits", bits, {2, 16}, "bits of a code");
  options.flag("--asymmetric", asymmetric, "ranges with a zero point");
  options.flag("--per-side", per_side,
               "with --asymmetric percentiles: cut that share on each side");
  options.texts("--per-site", rule.per_site, "SITE=POLICY...",
                "another policy for the sites that match, e.g. '*.z_act:input=minmax'; the last "
                "match counts");
  options.flag("--allow-nonfinite", allow_nonfinite,
               "decide sites with NaN or infinite values by their finite ones");
  options.text("--out,--plan,--overrides", out, "FILE",
               "plan to write (.json); without it the table alone");
  options.force(force);
  options.threads(threads);
  options.flag("--all", all, fmt::format("all rows, also more than {} on a terminal", kRows));
  options.json(json);
  options.only_with({"--per-side"}, "--asymmetric");
  options.only_with({"--per-side"}, "the policy auto, percentile, quamba or tail",
                    [this] { return (!rule.policy && !rule.alpha) || any_rule(cuts_sides); });
  options.only_with({"--percentile-override"},
                    "the policy tail (percentile takes --percentile-alpha)",
                    [this] { return (!rule.policy && !rule.alpha) || any_rule(picks_by_tail); });
}

bool DecideRequest::any_rule(bool (*reads)(const Policy&)) const {
  const auto of_pair = [&](const std::string& pair) {
    return reads(Policy::parse(site_and_policy(pair).second));
  };
  return (rule.name() && reads(Policy::parse(*rule.name()))) ||
         std::ranges::any_of(rule.per_site, of_pair);
}

void DecideRequest::check() {
  refuse_same_files({out}, {statistics});  // before its name, which says less
  check_ending("--out", out, {".json"});
  check_force(force, {out});
  policy_given = rule.name().has_value();
  if (policy_given) policy = *rule.name();
}

/// The flags' share and override where the policy has a use for them.
Policy make_policy(const std::string& text, const DecideRequest& request) {
  Policy policy = request.rule.with_share(text);
  policy.per_side = request.per_side;
  if (request.percentile_override && picks_by_tail(policy)) {
    policy.percentile_override = request.percentile_override;
  }
  return policy;
}

double headroom_of(const DecideRequest& request) {
  return request.headroom.value_or(request.regressor ? RegressorRangeOptions{}.headroom : 1);
}

PlanOptions plan_options(const DecideRequest& request) {
  PlanOptions out;
  out.policy = make_policy(request.policy, request);
  out.grid = {.bits = request.bits, .symmetric = !request.asymmetric};
  out.allow_nonfinite = request.allow_nonfinite;
  out.headroom = headroom_of(request);
  out.threads = request.threads;
  if (request.regressor) add_regressor_rules(out);
  for (const std::string& pair : request.rule.per_site) {
    const auto [site, policy] = site_and_policy(pair);
    try {
      out.per_site.emplace_back(site, make_policy(policy, request));
    } catch (const Error& error) {
      throw UsageError(fmt::format("--per-site {}: {}", pair, error.what()));
    }
  }
  return out;
}

Plan plan_with(const StatisticsSet& statistics, const PlanOptions& options, PolicyKind kind) {
  PlanOptions other = options;
  other.per_site.clear();
  other.policy.kind = kind;
  return make_plan(statistics.sites, other);
}

PlanComparison compare(const StatisticsSet& statistics, const DecideRequest& request) {
  const PlanOptions options = plan_options(request);
  PlanComparison out{make_plan(statistics.sites, options),
                     plan_with(statistics, options, PolicyKind::minmax),
                     {},
                     options.policy.kind == PolicyKind::automatic && options.per_site.empty()};
  out.best = out.asked_best ? out.plan : plan_with(statistics, options, PolicyKind::automatic);
  return out;
}

/// Adds what was asked for here to what the statistics know about their origin.
Json make_meta(Json meta, const DecideRequest& request, const Call& call) {
  meta["policy"] = request.policy;
  const PlanOptions options = plan_options(request);
  meta["percentile_alpha"] = options.policy.alpha;
  if (request.percentile_override) meta["percentile_override"] = *request.percentile_override;
  meta["bits"] = request.bits;
  meta["symmetric"] = !request.asymmetric;
  if (request.headroom || request.regressor) meta["headroom"] = headroom_of(request);
  meta["per_side"] = request.per_side;
  for (const std::string& pair : request.rule.per_site) meta["per_site"].push_back(pair);
  for (const std::string& target : request.targets) meta["targets"].push_back(target);
  meta["command"] = call.canonical_command();
  return meta;
}

std::string remarks(const Plan& plan, size_t most) {
  std::map<std::string, std::vector<std::string>> by_text;
  for (const auto& [site, d] : plan.sites) {
    if (!d.remark.empty()) by_text[d.remark].push_back(site);
  }
  std::string out;
  for (const auto& [text, sites] : by_text) {
    const size_t shown = std::min(most, sites.size());
    const std::vector<std::string> some(sites.begin(),
                                        sites.begin() + static_cast<std::ptrdiff_t>(shown));
    out +=
        fmt::format("remark: {}: {}{}\n", text, joined(some, ", "),
                    shown < sites.size() ? fmt::format(" and {} more", sites.size() - shown) : "");
  }
  return out;
}

std::string default_text(const DecideRequest& request) {
  return request.policy_given
             ? ""
             : "buckets are decided by tail, the sites inside by auto; --policy takes another\n";
}

std::string written_text(const DecideRequest& request) {
  if (request.out.empty()) return "";
  return fmt::format("wrote {}, {}\n", request.out, bytes_text(file_size(request.out)));
}

std::string as_text(const PlanComparison& all, const BucketTables& buckets,
                    const DecideRequest& request) {
  const size_t sites = all.plan.sites.size();
  const bool cut = !request.all && ::isatty(STDOUT_FILENO) == 1 && sites > kRows;
  std::string out = table_of(all, cut ? kRows : sites);
  if (cut) out += fmt::format("… and {} more: --all shows them\n", sites - kRows);
  out += "\n" + remarks(all.plan, 5) + totals_text(all);
  if (!buckets.empty()) out += bucket_lines(all.plan, buckets) + default_text(request);
  return out + written_text(request);
}

/// Writes the plan where it was asked for.
void write_plan(const Plan& plan, DecideRequest& request) {
  if (!request.file) return;
  const HoldInterrupts hold;
  request.file->publish(plan.to_json().dump(1) + "\n");
}

void write_answer(const Plan& plan, Json summary, const BucketTables& buckets,
                  const DecideRequest& request, Output& out) {
  Json result;
  if (!request.out.empty()) result["file"] = request.out;
  summary["policy"] = request.policy;
  result["summary"] = std::move(summary);
  if (!buckets.empty()) result["buckets"] = buckets_json(plan, buckets);
  result["plan"] = plan.to_json();
  out.write_json(result);
}

/// From percentiles that another tool wrote.
void decide_tables(DecideRequest& request, const Call& call, Output& out) {
  if (request.per_side) {
    throw UsageError(fmt::format(
        "--per-side: expected statistics with counts, found {}, which has no percentiles of the "
        "lower side; collect with scute, or leave the flag out",
        request.statistics));
  }
  if (request.headroom) {
    throw UsageError(fmt::format(
        "--headroom: expected statistics with counts, found {}, percentiles of another tool; "
        "collect with scute, or leave the flag out",
        request.statistics));
  }
  PercentileTables tables = read_percentile_tables(request.files.open(request.statistics));
  if (!request.targets.empty()) keep_targets(request.targets, tables);
  if (!request.policy_given) request.policy = "tail";
  Plan plan = plan_from_tables(tables, plan_options(request));
  plan.meta =
      make_meta(table_meta(tables, request.files.sha256(request.statistics)), request, call);
  write_plan(plan, request);
  if (request.json) return write_answer(plan, tables_summary(plan), tables.buckets, request, out);
  out.write(tables_text(plan, tables) + remarks(plan, 5) + default_text(request) +
            written_text(request));
}

/// A regressor's layers have 8 or 16 bits; without a policy it is min-max.
void check_regressor(DecideRequest& request) {
  if (request.bits != 8 && request.bits != 16) {
    throw UsageError(
        fmt::format("--bits: expected 8 or 16 for a regressor, found {}", request.bits));
  }
  if (!request.policy_given) request.policy = "minmax";
}

/// What only the statistics tell: whether their default rule reads the flags.
void check_default_rule(const DecideRequest& request, const Call& call, bool buckets) {
  if (request.policy_given) return;
  only_with(call, {"--percentile-override"},
            "--policy tail, or statistics with buckets, which it decides,",
            buckets || request.any_rule(picks_by_tail));
  only_with(call, {"--per-side"}, "--policy auto, percentile, quamba or tail",
            !request.regressor || request.any_rule(cuts_sides));
}

void decide_statistics(DecideRequest& request, const Call& call, Output& out) {
  StatisticsSet statistics = read_statistics(request.files.open(request.statistics));
  warn_of_part(statistics, request.statistics);
  if (!request.targets.empty()) keep_targets(request.targets, request.statistics, statistics);
  check_buckets(statistics, request.allow_nonfinite);
  request.regressor = of_regressor(statistics.sites);
  if (request.regressor) check_regressor(request);
  const BucketTables buckets = bucket_tables(statistics);
  check_default_rule(request, call, !buckets.empty());
  if (!request.policy_given) {
    std::vector<std::string> defaults;
    for (const auto& [bucket, table] : buckets) {
      defaults.push_back(bucket + "=" + default_policy(bucket).name());
    }
    request.rule.per_site.insert(request.rule.per_site.begin(), defaults.begin(), defaults.end());
  }
  PlanComparison all = compare(statistics, request);
  add_spread_remarks(statistics, all.plan);
  all.plan.meta =
      make_meta(plan_meta(statistics, request.files.sha256(request.statistics)), request, call);
  write_plan(all.plan, request);
  if (request.json) return write_answer(all.plan, summary_json(all), buckets, request, out);
  out.write(as_text(all, buckets, request));
}

int run(DecideRequest& request, const Call& call, Output& out) {
  plan_options(request);  // wrong usage is found before a file is read
  make_folder(std::filesystem::path(request.out).parent_path().string());
  claim_if_named(request.file, request.out, request.force, {request.statistics});
  if (request.statistics.ends_with(".pt") &&
      holds_percentile_tables(request.files.open(request.statistics))) {
    decide_tables(request, call, out);
  } else {
    decide_statistics(request, call, out);
  }
  return kDone;
}

}  // namespace

Form decide_form() {
  return form<DecideRequest>(
      {.example = "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl "
                  "--samples 32 --out stats.safetensors\n"
                  "scute decide stats.safetensors --policy auto --out plan.json"});
}

}  // namespace scute::cli
