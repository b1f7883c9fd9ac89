// Sites, and whoever is shown the tensors that pass them.
#pragma once

#include <string>
#include <vector>

#include "scute/tensor/mat_view.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// A named place in a model that a tensor passes through.
struct Site {
  /// How often a site passes a tensor.
  enum class Extent {
    per_token,   ///< rows = tokens, columns = shape[0]
    per_sample,  ///< once a sequence: rows × columns = the product of shape, last dimension columns
    per_step,    ///< as per_sample, but every K-th token
    routed,      ///< as per_token, but rows = what was sent there: any number, also none
  };

  std::string name;  ///< e.g. layer_3.x_proj:input
  Shape shape;       ///< of one token, or of one state
  Extent extent = Extent::per_token;
  int index = 0;  ///< position in the model's list of sites
  /// Indices of sites whose columns, side by side, are exactly this site's; empty for most.
  std::vector<int> parts = {};

  /// Whether every sequence of one length shows tensors of one shape here.
  bool has_one_shape() const { return extent == Extent::per_token || extent == Extent::per_sample; }
};

/// Shown the tensors of one forward pass at a time; never knows the model. One call of see() is all
/// that one sequence (per_step: one step) shows at that site. Not shared between threads.
class Tap {
 public:
  Tap() = default;
  Tap(const Tap&) = delete;
  Tap& operator=(const Tap&) = delete;
  virtual ~Tap() = default;

  /// Whether see() should be called for the site; models skip work that nobody wants.
  virtual bool wants(const Site& site) const = 0;
  virtual void see(const Site& site, MatView<const float> values) = 0;
};

}  // namespace scute
