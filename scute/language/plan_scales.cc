#include "scute/language/plan_scales.h"

#include "scute/language/collect.h"

namespace scute {
namespace {

/// The plan, which is this model's as far as it says.
const Plan& own_plan(const Plan& plan, const ModelDescription& model) {
  // Hashing reads all weights.
  if (recorded_model(plan.meta, "plan") != nullptr) {
    check_recorded_model(plan.meta, "plan", model.name, hash_model(model));
  }
  return plan;
}

}  // namespace

PlanScales::PlanScales(const Plan& plan, const ModelDescription& model)
    : model_(model.name), ranges_(model.name, list_sites(model), own_plan(plan, model)) {}

double PlanScales::range(const std::string& site) {
  const Decision* decision = ranges_.planned(site);
  if (decision == nullptr) {
    ranges_.note("missing " + site);
    return 1;
  }
  const auto range = ranges_.magnitude(
      site, *decision,
      {.reason = "8-bit activations are symmetric (scute decide --bits 8)", .hint = {}});
  if (!range) return 1;
  ranges_.use(site, *decision);
  return *range;
}

void PlanScales::finish() const {
  constexpr size_t kMostNamed = 5;
  ranges_.finish("a range for every site that " + model_ + " rounds", kMostNamed);
}

}  // namespace scute
