// What bench and doctor send through a model, and where they look.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scute/models/language/language_model.h"

namespace scute::cli {

/// Uniform in [0, vocabulary), the same for the same seed.
std::vector<int32_t> random_ids(int64_t length, int64_t vocabulary, uint64_t seed);

/// What collect observes: the sites that match, or all but lm_head:output for an empty glob.
std::vector<Site> observed_sites(const SiteList& list, const std::string& glob);

}  // namespace scute::cli
