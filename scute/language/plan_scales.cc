#include "scute/language/plan_scales.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/language/collect.h"

namespace scute {
namespace {

constexpr size_t kMostNamed = 5;

std::string listed(const std::vector<std::string>& names) {
  const auto shown = std::min(names.size(), kMostNamed);
  const std::vector<std::string> first(names.begin(),
                                       names.begin() + static_cast<std::ptrdiff_t>(shown));
  return fmt::format("{}{}", joined(first, ", "),
                     names.size() > shown ? fmt::format(" and {} more", names.size() - shown) : "");
}

}  // namespace

PlanScales::PlanScales(const Plan& plan, const ModelDescription& model)
    : plan_(plan), model_(model.name) {
  const Json* recorded = plan.meta.find("model_sha256");
  if (recorded != nullptr && recorded->is_string()) {
    const std::string& hash = recorded->as_string("plan");
    if (const std::string own = hash_model(model); hash != own) {
      fail("plan", fmt::format("ranges of {} (SHA-256 {})", model.name, own.substr(0, 12)),
           fmt::format("those of a model with SHA-256 {}", hash.substr(0, 12)));
    }
  }
  const SiteList sites = list_sites(model);
  std::vector<std::string> unknown, known;
  for (const Site& site : sites.sites()) known.push_back(site.name);
  for (const auto& [name, decision] : plan.sites) {
    if (sites.find(name) == nullptr) unknown.push_back(name);
  }
  if (!unknown.empty()) {
    fail("plan", fmt::format("sites of {}", model.name),
         listed(unknown) + did_you_mean(unknown.front(), known));
  }
  used_.meta = plan.meta;
}

double PlanScales::range(const std::string& site) {
  // A range may be asked for twice.
  const auto note = [this](const std::string& problem) {
    if (std::ranges::find(problems_, problem) == problems_.end()) problems_.push_back(problem);
    return 1;
  };
  const auto found = plan_.sites.find(site);
  if (found == plan_.sites.end()) return note("missing " + site);
  const Decision& decision = found->second;
  if (decision.grid.bits != 8 || !decision.grid.symmetric) {
    return note(
        fmt::format("{} was decided for {} bits{}; 8-bit activations are "
                    "symmetric (scute decide --bits 8)",
                    site, decision.grid.bits, decision.grid.symmetric ? "" : ", asymmetric"));
  }
  const double range = std::max(std::abs(decision.lo), std::abs(decision.hi));
  // Nothing but zeros was seen: any scale represents them.
  const bool constant =
      range == 0 && decision.before_lo == 0 && decision.before_hi == 0 && !decision.policy.empty();
  if (!constant && !std::isnormal(static_cast<float>(range / 127))) {
    return note(fmt::format("{} has the range {} .. {}, which leaves no scale", site, decision.lo,
                            decision.hi));
  }
  used_.sites.emplace(site, decision);
  return range;
}

float PlanScales::scale(const std::string& site) { return scale_of_range(range(site)); }

void PlanScales::finish() const {
  if (problems_.empty()) return;
  fail("plan", fmt::format("a range for every site that {} rounds", model_),
       fmt::format("{} problem{}: {}", problems_.size(), problems_.size() == 1 ? "" : "s",
                   listed(problems_)));
}

float scale_of_range(double range) { return make_grid(-range, range, GridSpec{}).scale; }

}  // namespace scute
