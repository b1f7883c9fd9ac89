#include "scute/language/scales.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/io/file.h"
#include "scute/io/file_contents.h"
#include "scute/language/low_bit_files.h"
#include "scute/language/scales_folder.h"

namespace scute {
namespace {

constexpr std::array<std::string_view, 3> kOperators{"=", "*=", "+="};
constexpr int64_t kPlanLimit = int64_t{64} << 20;

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

/// Of one side after the edit; a side of 0 stays 0.
double edited_magnitude(double magnitude, const RangeEdit& edit) {
  if (edit.op == RangeEdit::Operator::multiply) return magnitude * edit.value;
  if (magnitude == 0) return 0;
  return edit.op == RangeEdit::Operator::set ? edit.value : magnitude + edit.value;
}

Json read_plan(const std::string& file) {
  return read_json(file, kPlanLimit, "a plan that scute decide wrote");
}

[[noreturn]] void fail_result(const std::string& site, const RangeEdit& edit, double lo,
                              double hi) {
  fail(fmt::format("{}: {}", site, edit.text()), "a positive, finite range",
       fmt::format("{:.6g} .. {:.6g}", lo, hi));
}

void apply(const RangeEdit& edit, const std::string& site, Decision& decision) {
  double lo_side = std::max(-decision.lo, 0.0), hi_side = std::max(decision.hi, 0.0);
  double lo = -edited_magnitude(lo_side, edit), hi = edited_magnitude(hi_side, edit);
  if (edit.lowest) {  // both ends are given: a side may begin or end
    lo_side = hi_side = 0;
    lo = *edit.lowest;
    hi = edit.value;
  }
  // NaN fails every comparison; a side that was there must still be there.
  const auto kept = [](double before, double after) { return before == 0 || after > 0; };
  constexpr auto kMost = static_cast<double>(std::numeric_limits<float>::max());
  const bool sane = kept(lo_side, -lo) && kept(hi_side, hi) && std::max(-lo, hi) > 0 &&
                    std::max(-lo, hi) <= kMost;
  if (!sane) fail_result(site, edit, lo, hi);
  decision.lo = lo + 0.0;
  decision.hi = hi;
  decision.scale = static_cast<double>(make_grid(lo, hi, decision.grid).scale);
  const double steps = decision.grid.symmetric ? decision.grid.highest()
                                               : decision.grid.highest() - decision.grid.lowest();
  const double width = decision.grid.symmetric ? std::max(-lo, hi) : hi - lo;
  // make_grid would silently take the smallest normal scale instead.
  if (width / steps < static_cast<double>(std::numeric_limits<float>::min())) {
    fail_result(site, edit, lo, hi);
  }
}

void say_so(const RangeEdit& edit, const RangeChange& change, Decision& decision) {
  constexpr std::string_view kRemark = "edited: coverage and sqnr_db are from before";
  const std::string before = decision.because.empty()
                                 ? decision.policy
                                 : fmt::format("{}: {}", decision.policy, decision.because);
  decision.because = fmt::format("edited {}: {:.6g} .. {:.6g} became {:.6g} .. {:.6g}; before, {}",
                                 edit.text(), change.lo_before, change.hi_before, change.lo,
                                 change.hi, before.empty() ? "not recorded" : before);
  decision.policy = "edited";
  if (decision.remark.find(kRemark) == std::string::npos) {
    decision.remark += decision.remark.empty() ? "" : "; ";
    decision.remark += kRemark;
  }
  const double seen = std::max(decision.before_hi, 0.0) - std::min(decision.before_lo, 0.0);
  decision.range_reduction = seen > 0 ? 1 - (decision.hi - decision.lo) / seen : 0;
}

}  // namespace

RangeEdit RangeEdit::parse(std::string_view text) {
  const auto refuse = [&] {
    fail("--set",
         "GLOB=VALUE, GLOB=LOW:HIGH (LOW <= 0 <= HIGH), GLOB*=VALUE or GLOB+=VALUE, such as "
         "'layer_0.x_proj:input*=1.5'",
         fmt::format("\"{}\"", text));
  };
  const size_t equals = text.rfind('=');
  if (equals == std::string_view::npos) refuse();
  RangeEdit out;
  std::string_view glob = text.substr(0, equals);
  if (glob.ends_with('*')) out.op = Operator::multiply;
  if (glob.ends_with('+')) out.op = Operator::add;
  if (out.op != Operator::set) glob.remove_suffix(1);
  out.glob = trimmed(glob);
  if (out.glob.empty()) refuse();
  const auto number = [&](std::string_view digits) {
    digits = trimmed(digits);
    double read = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), read);
    const bool whole = error == std::errc() && end == digits.data() + digits.size();
    if (!whole || !std::isfinite(read)) refuse();
    return read;
  };
  const std::string_view values = text.substr(equals + 1);
  const size_t colon = values.find(':');
  out.value = number(colon == std::string_view::npos ? values : values.substr(colon + 1));
  if (colon == std::string_view::npos) return out;
  out.lowest = number(values.substr(0, colon));
  if (out.op != Operator::set || *out.lowest > 0 || out.value < 0) refuse();
  return out;
}

std::string RangeEdit::text() const {
  const std::string_view sign = kOperators[static_cast<size_t>(op)];
  const bool blank = op == Operator::set && (glob.ends_with('*') || glob.ends_with('+'));
  const std::string low = lowest ? fmt::format("{}:", *lowest) : "";
  return fmt::format("{}{}{}{}{}", glob, blank ? " " : "", sign, low, value);
}

Json RangeChange::to_json() const {
  Json out = Json::object();
  out["what"] = edit;
  out["site"] = site;
  out["before"] = Json::Array{lo_before, hi_before};
  out["after"] = Json::Array{lo, hi};
  out["scale_before"] = scale_before;
  out["scale_after"] = scale;
  return out;
}

std::vector<RangeEdit> edits_of_sites(const std::vector<RangeEdit>& edits, const Plan& ranges,
                                      const std::vector<StoredScale>& scales) {
  std::vector<RangeEdit> out;
  for (const RangeEdit& edit : edits) {
    std::vector<std::string> sites;
    for (const StoredScale& scale : scales) {
      const bool named = glob_match(edit.glob, scale.tensor) && ranges.sites.contains(scale.site);
      if (named && std::ranges::find(sites, scale.site) == sites.end()) sites.push_back(scale.site);
    }
    const bool of_site = std::ranges::any_of(
        ranges.sites, [&](const auto& entry) { return glob_match(edit.glob, entry.first); });
    if (of_site || sites.empty()) {
      out.push_back(edit);
      continue;
    }
    for (std::string& site : sites) {
      out.push_back(edit);
      out.back().glob = std::move(site);
    }
  }
  return out;
}

std::vector<RangeChange> edit_plan(Plan& plan, const std::vector<RangeEdit>& edits) {
  Plan edited = plan;
  std::vector<std::string> names;
  for (const auto& [site, decision] : plan.sites) names.push_back(site);
  std::ranges::sort(names, natural_less);
  std::vector<RangeChange> out;
  for (const RangeEdit& edit : edits) {
    const size_t before = out.size();
    for (const std::string& site : names) {
      if (!glob_match(edit.glob, site)) continue;
      Decision& decision = edited.sites.at(site);
      RangeChange change{.site = site, .edit = edit.text()};
      change.lo_before = decision.lo;
      change.hi_before = decision.hi;
      change.scale_before = decision.scale;
      apply(edit, site, decision);
      change.lo = decision.lo;
      change.hi = decision.hi;
      change.scale = decision.scale;
      say_so(edit, change, decision);
      out.push_back(std::move(change));
    }
    if (out.size() == before) {
      fail("--set " + edit.text(), fmt::format("a site matching \"{}\"", edit.glob),
           "none" + did_you_mean(edit.glob, names));
    }
    if (edited.meta.is_object()) append_to(edited.meta, "edits", edit.text(), "plan: meta");
  }
  plan = std::move(edited);
  return out;
}

PlanFileEdit edit_plan_json(const Json& before, const std::string& where,
                            const std::vector<RangeEdit>& edits) {
  Plan plan = Plan::from_json(before, where);
  if (plan.meta.is_null()) plan.meta = Json::object();
  PlanFileEdit out;
  out.changes = edit_plan(plan, edits);
  out.json = plan.to_json();
  for (const auto& [site, decision] : plan.sites) {
    const Json* comment = before.at(site, where).find("comment");
    if (comment != nullptr) out.json[site]["comment"] = *comment;
  }
  EditStep step;
  for (const RangeChange& change : out.changes) step.sites.push_back(change.to_json());
  step.documents[""] = changes_between(before, out.json);
  add_step(out.json["meta"], step, where + ": meta");
  return out;
}

PlanFileEdit edit_plan_file(const std::string& file, const std::vector<RangeEdit>& edits) {
  return edit_plan_json(read_plan(file), file, edits);
}

PlanFileEdit undo_plan_json(const Json& json, const std::string& where, int64_t count) {
  Plan::from_json(json, where);
  PlanFileEdit out{.json = json, .changes = {}};
  const Json* meta = json.find("meta");
  const std::string history = where + ": meta";
  count = steps_to_undo(meta == nullptr ? Json() : *meta, history, count);
  for (; count > 0; --count) {
    const EditStep step = remove_step(out.json["meta"], history);
    for (const auto& [file, changes] : step.documents) {
      take_back_changes(out.json, changes, where);
    }
    append_undone(step, history, out.changes);
  }
  Plan::from_json(out.json, where);
  return out;
}

PlanFileEdit undo_plan_file(const std::string& file, int64_t count) {
  return undo_plan_json(read_plan(file), file, count);
}

}  // namespace scute
