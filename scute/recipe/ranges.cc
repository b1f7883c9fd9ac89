#include "scute/recipe/ranges.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"
#include "scute/base/names.h"

namespace scute {
namespace {

constexpr size_t kUnknownShown = 5;

/// The plan with aliases replaced by names.
Plan with_own_names(const Plan& plan, const SiteList& sites, const std::string& model) {
  std::vector<std::string> unknown, known;
  for (const Site& site : sites.sites()) known.push_back(site.name);
  for (const auto& [alias, name] : sites.aliases()) known.push_back(alias);
  Plan out;
  out.meta = plan.meta;
  for (const auto& [name, decision] : plan.sites) {
    const Site* site = sites.find(name);
    if (site == nullptr) {
      unknown.push_back(name);
    } else if (!out.sites.emplace(site->name, decision).second) {
      fail("plan", "one range for " + site->name, fmt::format("another for its alias {}", name));
    }
  }
  if (!unknown.empty()) {
    fail("plan", "sites of " + model,
         first_few(unknown, kUnknownShown) + did_you_mean(unknown.front(), known) +
             " (scute sites MODEL lists them)");
  }
  return out;
}

void add_once(std::string text, std::vector<std::string>& to) {
  // A range may be asked for twice.
  if (std::ranges::find(to, text) == to.end()) to.push_back(std::move(text));
}

}  // namespace

float scale_of_range(double range) { return make_grid(-range, range, GridSpec{}).scale; }

double magnitude_of(const Decision& decision) {
  return std::max(std::abs(decision.lo), std::abs(decision.hi));
}

bool one_value(const Decision& decision) {
  return !decision.policy.empty() && decision.before_lo == decision.before_hi;
}

const std::string* recorded_model(const Json& meta, std::string_view what) {
  const Json* recorded = meta.find("model_sha256");
  if (recorded == nullptr || !recorded->is_string()) return nullptr;
  return &recorded->as_string(what);
}

void check_recorded_model(const Json& meta, std::string_view what, std::string_view model,
                          const std::string& sha256) {
  const std::string* theirs = recorded_model(meta, what);
  if (theirs == nullptr || *theirs == sha256) return;
  fail(what,
       fmt::format("{} of {} (SHA-256 {})", what == "plan" ? "ranges" : "those", model,
                   sha256.substr(0, 12)),
       fmt::format("those of a model with SHA-256 {}", theirs->substr(0, 12)));
}

ModelRanges::ModelRanges(std::string model, SiteList sites, const Plan& plan,
                         const StatisticsSet* statistics)
    : model_(std::move(model)),
      sites_(std::move(sites)),
      plan_(with_own_names(plan, sites_, model_)),
      statistics_(statistics) {
  used_.meta = plan.meta;
}

const Decision* ModelRanges::planned(const std::string& site) const {
  const auto found = plan_.sites.find(site);
  return found == plan_.sites.end() ? nullptr : &found->second;
}

std::optional<Decision> ModelRanges::find(const std::string& site, const Policy& policy) {
  if (const Decision* own = planned(site)) return *own;
  if (statistics_ == nullptr) return std::nullopt;
  const auto found = statistics_->sites.find(site);
  if (found == statistics_->sites.end()) return std::nullopt;
  try {
    return decide(policy, site, found->second, GridSpec{});
  } catch (const Error& error) {
    note(error.what());
    return std::nullopt;
  }
}

std::optional<double> ModelRanges::magnitude(const std::string& site, const Decision& decision,
                                             const RangeNeed& need) {
  const GridSpec grid = decision.grid;
  if (grid.bits != need.bits || (need.symmetric && !grid.symmetric)) {
    note(fmt::format("{} was decided for {} bits{}; {}", site, grid.bits,
                     grid.symmetric ? "" : ", asymmetric", need.reason));
    return std::nullopt;
  }
  const double range = magnitude_of(decision);
  const bool zeros = one_value(decision) && range == 0 && decision.before_lo == 0;
  const double scale = range / GridSpec{need.bits, true}.highest();
  if (!zeros && !std::isnormal(static_cast<float>(scale))) {
    note(fmt::format("{}: the range {:.6g} .. {:.6g} leaves no scale{}", site, decision.lo,
                     decision.hi, need.hint.empty() ? "" : fmt::format(" ({})", need.hint)));
    return std::nullopt;
  }
  return range;
}

void ModelRanges::use(const std::string& site, const Decision& decision) {
  used_.sites.emplace(site, decision);
}

void ModelRanges::replace(const std::string& site, Decision decision) {
  used_.sites.insert_or_assign(site, std::move(decision));
}

bool ModelRanges::note_constant(const std::string& site, const Decision& decision) {
  if (!one_value(decision)) return false;
  add_once(fmt::format("{} ({:.6g})", site, decision.before_lo), constants_);
  return true;
}

void ModelRanges::note(std::string problem) { add_once(std::move(problem), problems_); }

std::vector<std::string> ModelRanges::unused() const {
  std::vector<std::string> out;
  for (const auto& [name, decision] : plan_.sites) {
    if (!used_.sites.contains(name)) out.push_back(name);
  }
  return out;
}

void ModelRanges::finish(std::string_view expected, size_t shown) const {
  if (problems_.empty()) return;
  const size_t count = problems_.size(), some = std::min(count, shown);
  fail("plan", expected,
       fmt::format("{} problem{}: {}{}", count, count == 1 ? "" : "s",
                   joined(std::span(problems_).first(some), "; "),
                   some < count ? fmt::format(" and {} more", count - some) : ""));
}

}  // namespace scute
