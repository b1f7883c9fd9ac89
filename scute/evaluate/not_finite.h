// Where the first value that is not finite arises in a forward pass.
#pragma once

#include <functional>
#include <string>

#include "scute/evaluate/continuation.h"
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

/// What a watch finds in one sequence, scored by `score` from its first prediction on.
using ScoreShown = std::function<void(Run& run, const ScoredSequence& sequence)>;
std::string find_not_finite(const ScoreShown& score, const ScoredSequence& sequence);

}  // namespace scute
