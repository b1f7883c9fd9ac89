// Policies and plans.
#include "scute/decide/plan.h"

#include <fmt/format.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "extension/json.h"
#include "extension/module.h"
#include "extension/values.h"
#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/cobra/percentile_tables.h"
#include "scute/decide/buckets.h"
#include "scute/decide/policy_use.h"
#include "scute/io/output.h"
#include "scute/language/scales.h"
#include "scute/recipe/plan_meta.h"
#include "scute/regressor/decide.h"

namespace scute::python {
namespace {

namespace nb = nanobind;

constexpr const char* kWhere = "plan";

/// What decide() is asked for; what is not said is by the kind of model, as the program has it.
struct DecideWish {
  std::optional<std::string> policy;
  std::optional<double> alpha, percentile_override, headroom;
  int bits = 8;
  bool symmetric = true, per_side = false, allow_nonfinite = false;
  std::vector<std::pair<std::string, std::string>> per_site;
};

Policy policy_of_wish(const std::string& text, const DecideWish& wish) {
  Policy out = Policy::parse(text);
  if (wish.alpha && takes_share(text)) out.alpha = share_of(*wish.alpha);
  out.per_side = wish.per_side;
  if (picks_by_tail(out)) out.percentile_override = wish.percentile_override;
  return out;
}

/// Of what decides: the policy, or what decides without one, and the policies of sites.
std::vector<std::string> rules_of(const StatisticsSet& set, const DecideWish& wish,
                                  bool regressor) {
  std::vector<std::string> out{wish.policy.value_or(regressor ? "minmax" : "auto")};
  for (const auto& [site, statistic] : set.sites) {
    if (!wish.policy && is_bucket(site)) out.push_back(default_policy(site).name());
  }
  for (const auto& [glob, policy] : wish.per_site) out.push_back(policy);
  return out;
}

/// What no rule reads is refused, as the program refuses its flags.
void check_wish(const StatisticsSet& set, const DecideWish& wish, bool regressor) {
  const std::vector<std::string> rules = rules_of(set, wish, regressor);
  const auto need = [&](bool given, const char* option, const char* expected, const auto& reads) {
    if (!given || std::ranges::any_of(rules, reads)) return;
    fail(option, expected, joined(rules, ", "));
  };
  const auto parsed = [](bool (*reads)(const Policy&)) {
    return [reads](const std::string& text) { return reads(Policy::parse(text)); };
  };
  need(wish.alpha.has_value(), "alpha",
       "the policy percentile or quamba, without a share of its own",
       [](const std::string& text) { return takes_share(text); });
  need(wish.percentile_override.has_value(), "percentile_override",
       "the policy tail, without a percentile of its own", parsed(picks_by_tail));
  need(wish.per_side, "per_side", "the policy auto, percentile, quamba or tail",
       parsed(cuts_sides));
  const double override_ = wish.percentile_override.value_or(100);
  if (!(override_ >= 50 && override_ <= 100)) {
    fail("percentile_override", "50 … 100", fmt::to_string(override_));
  }
  if (wish.per_side && wish.symmetric) fail("per_side", "symmetric=False", "symmetric ranges");
}

PlanOptions plan_options(const StatisticsSet& set, const DecideWish& wish) {
  const bool regressor = of_regressor(set.sites);
  check_wish(set, wish, regressor);
  PlanOptions out;
  out.policy = policy_of_wish(wish.policy.value_or(regressor ? "minmax" : "auto"), wish);
  out.grid = {.bits = wish.bits, .symmetric = wish.symmetric};
  out.allow_nonfinite = wish.allow_nonfinite;
  out.headroom = wish.headroom.value_or(regressor ? RegressorRangeOptions{}.headroom : 1);
  if (regressor) add_regressor_rules(out);
  if (!wish.policy) {
    for (const auto& [site, statistic] : set.sites) {
      if (is_bucket(site)) {
        out.per_site.emplace_back(site, policy_of_wish(default_policy(site).name(), wish));
      }
    }
  }
  for (const auto& [glob, policy] : wish.per_site) {
    out.per_site.emplace_back(glob, policy_of_wish(policy, wish));
  }
  return out;
}

Json decided_meta(const StatisticsSet& set, const DecideWish& wish, const PlanOptions& options) {
  Json meta = plan_meta(set, "");
  meta["policy"] = options.policy.name();
  meta["percentile_alpha"] = options.policy.alpha;
  if (wish.percentile_override) meta["percentile_override"] = *wish.percentile_override;
  meta["bits"] = wish.bits;
  meta["symmetric"] = wish.symmetric;
  if (options.headroom != 1) meta["headroom"] = options.headroom;
  meta["per_side"] = wish.per_side;
  for (const auto& [glob, policy] : wish.per_site) meta["per_site"].push_back(glob + "=" + policy);
  return meta;
}

Plan decided(const StatisticsSet& set, const DecideWish& wish) {
  if (set.sites.empty()) fail("decide", "statistics of at least one site", "none");
  check_buckets(set, wish.allow_nonfinite);
  const PlanOptions options = plan_options(set, wish);
  Plan out = make_plan(set.sites, options);
  add_spread_remarks(set, out);
  out.meta = decided_meta(set, wish, options);
  return out;
}

Plan decide(const SiteStatistics& statistics, std::optional<std::string> policy, int bits,
            bool symmetric, std::vector<std::pair<std::string, std::string>> per_site,
            std::optional<double> alpha, std::optional<double> percentile_override,
            std::optional<double> headroom, bool per_side, bool allow_nonfinite) {
  if (bits < 2 || bits > 16) fail("bits", "2 … 16", std::to_string(bits));
  // A share alone means percentile, as the program has it.
  if (alpha && !policy) policy = "percentile";
  const StatisticsSet set = statistics.copy();
  const nb::gil_scoped_release released;
  return decided(set, {.policy = std::move(policy),
                       .alpha = alpha,
                       .percentile_override = percentile_override,
                       .headroom = headroom,
                       .bits = bits,
                       .symmetric = symmetric,
                       .per_side = per_side,
                       .allow_nonfinite = allow_nonfinite,
                       .per_site = std::move(per_site)});
}

/// Of one site, with the zero point that its grid has.
nb::object entry(const Plan& plan, const std::string& site) {
  const auto found = plan.sites.find(site);
  if (found == plan.sites.end()) return nb::none();
  Plan one;
  one.sites.emplace(site, found->second);
  nb::object out = to_python(one.to_json().at(site, kWhere));
  const Decision& d = found->second;
  out["zero_point"] = make_grid(d.lo, d.hi, d.grid).zero;
  return out;
}

void set_entry(Plan& plan, const std::string& site, nb::handle value) {
  Json json = Json::object();
  const Json given = to_json(value, site.c_str());
  for (const auto& [key, member] : given.as_object(site)) {
    if (key != "zero_point") json.append_member(key, member);
  }
  Json whole = Json::object();
  whole.append_member(site, std::move(json));
  plan.sites.insert_or_assign(site, Plan::from_json(whole, kWhere).sites.at(site));
}

std::vector<std::string> names(const Plan& plan) {
  std::vector<std::string> out;
  for (const auto& [site, decision] : plan.sites) out.push_back(site);
  std::ranges::sort(out, natural_less);
  return out;
}

/// What edits or their undoing did, site by site.
nb::object take_over(Plan& plan, PlanFileEdit edit) {
  plan = Plan::from_json(edit.json, kWhere);
  nb::list out;
  for (const RangeChange& change : edit.changes) out.append(to_python(change.to_json()));
  return out;
}

void bind_plan(nb::module_& module) {
  nb::class_<Plan> type(module, "Plan", "What the package's Plan wraps.");
  type.def(nb::init<>());
  type.def("names", &names);
  type.def("entry", &entry, nb::arg("site"), nb::sig("def entry(self, site: str) -> dict | None"));
  type.def("set", &set_entry, nb::arg("site"), nb::arg("entry"));
  type.def(
      "remove", [](Plan& plan, const std::string& site) { return plan.sites.erase(site) > 0; },
      nb::arg("site"));
  type.def_prop_rw(
      "meta", [](const Plan& plan) { return to_python(plan.meta); },
      [](Plan& plan, nb::handle value) { plan.meta = to_json(value, "meta"); },
      nb::arg("value").none(), nb::for_getter(nb::sig("def meta(self) -> dict | None")),
      nb::for_setter(nb::sig("def meta(self, value: dict | None, /) -> None")));
  type.def(
      "to_json", [](const Plan& plan, int indent) { return plan.to_json().dump(indent); },
      nb::arg("indent"));
  type.def_static(
      "from_json",
      [](const std::string& text, const std::string& where) {
        return Plan::from_json(Json::parse(text, where), where);
      },
      nb::arg("text"), nb::arg("where"));
  type.def(
      "save",
      [](const Plan& plan, const std::string& path) {
        write_file(path, plan.to_json().dump(1) + "\n");
      },
      nb::arg("path"));
  type.def(
      "edit",
      [](Plan& plan, const std::vector<std::string>& texts) {
        std::vector<RangeEdit> edits;
        for (const std::string& text : texts) edits.push_back(RangeEdit::parse(text));
        return take_over(plan, edit_plan_json(plan.to_json(), kWhere, edits));
      },
      nb::arg("edits"), nb::sig("def edit(self, edits: list[str]) -> list[dict]"));
  type.def(
      "undo",
      [](Plan& plan, int64_t count) {
        return take_over(plan, undo_plan_json(plan.to_json(), kWhere, count));
      },
      nb::arg("count"), nb::sig("def undo(self, count: int) -> list[dict]"));
  type.def("copy", [](const Plan& plan) { return plan; });
}

}  // namespace

void bind_decide(nb::module_& module) {
  bind_plan(module);
  module.def("decide", &decide, nb::arg("statistics"), nb::arg("policy").none(), nb::arg("bits"),
             nb::arg("symmetric"), nb::arg("per_site"), nb::arg("alpha").none(),
             nb::arg("percentile_override").none(), nb::arg("headroom").none(), nb::arg("per_side"),
             nb::arg("allow_nonfinite"));
  module.attr("EVERY_EDIT") = kEveryEdit;
}

}  // namespace scute::python
