// Where the first value that is not finite arises in a forward pass.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "scute/evaluate/perplexity.h"
#include "scute/tensor/tap.h"

namespace scute {

/// Looks until it has found one; sites are seen in the order in which tensors pass them.
class NotFiniteWatch : public Tap {
 public:
  bool wants(const Site&) const override { return found_.empty(); }
  void see(const Site& site, MatView<const float> values) override;

  /// "NaN first at layer_1.x_proj:input, row 3, column 7"; empty: none was seen.
  const std::string& found() const { return found_; }

 private:
  std::string found_;
};

/// What a watch finds in one sequence of tokens, as score_continuation reads it.
std::string find_not_finite(const LanguageModel& model, std::span<const int32_t> ids,
                            Feed feed = Feed::whole, int64_t sequence = 0);

}  // namespace scute
