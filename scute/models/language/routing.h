// Which experts a token goes to.
#pragma once

#include <cstdint>

#include "scute/models/language/config.h"
#include "scute/tensor/mat_view.h"

namespace scute {

/// For each row of `scores` (L × X, the router's products) the `chosen` experts in ascending order
/// and their weights, L × T each; `scores` is overwritten. The rules are those of
/// ExpertsConfig::Routing; of equal ones the first expert is taken. NaN among
/// a token's scores, or in the correction, makes all of its weights NaN. `correction`: X numbers
/// added to what the choice of sigmoid routing compares, never to a weight; null for none.
void route(const ExpertsConfig& config, MatView<float> scores, const float* correction,
           MatView<int32_t> experts, MatView<float> weights) noexcept;

}  // namespace scute
