// Dump: logits and the tensors of chosen sites for given tokens.
#pragma once

#include <string>
#include <vector>

#include "scute/models/language/language_model.h"

namespace scute {

/// ids: batch of equally long sequences, (B, L) or (L). Returns "ids" (B, L), "logits" (B, L, V)
/// and "site/NAME" (B, L, width) or (B, state shape), f32. `stepwise`: one token at a time from a
/// state (then sites of whole sequences hold the last token's).
std::vector<NamedTensor> dump(const LanguageModel& model, const Tensor& ids,
                              const std::vector<Site>& sites, bool stepwise, int threads);

}  // namespace scute
