// Experts that no token of a calibration reached.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "scute/models/language/config.h"

namespace scute {

/// The experts of one layer that no token reached.
struct SilentExperts {
  int64_t layer = 0;
  std::vector<int64_t> experts;  ///< ascending
  int64_t of = 0;                ///< experts of the layer
  bool operator==(const SilentExperts&) const = default;
};

/// Of sites that saw no value; layers in order, those without a silent expert left out.
std::vector<SilentExperts> silent_experts(const MambaConfig& config,
                                          const std::vector<std::string>& silent_sites);

/// How many further samples reach `silent` experts that `samples` did not, all of them with a
/// probability of 99 %, when a sample reaches each with probability 1 / (samples + 2): Laplace's
/// rule of succession for what never happened in so many trials. Both ≥ 1.
int64_t samples_to_reach(int64_t samples, int64_t silent);

/// "layer 3: 5 of 64 experts saw no token (2, 7, 9, 11, 30); about 680 more samples would reach
/// them with 99 %".
std::string sentence_of(const SilentExperts& silent, int64_t samples);

/// Whether this is the site of one expert, which may see nothing without an error.
bool is_expert_site(std::string_view site);

}  // namespace scute
