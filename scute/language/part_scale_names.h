// The scales of attention, feed-forwards, experts and shared blocks: internal to this folder.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scute/language/scale_names.h"

namespace scute {

/// Where a scale comes in the order of use within its layer.
struct ScalePlace {
  int64_t part = 0;    ///< a shared block, the mixer, what else there is, unknown ones
  int64_t row = 0;     ///< of the part's table
  int64_t expert = 0;  ///< its number
  auto operator<=>(const ScalePlace&) const = default;
};
constexpr int64_t kMixerPart = 1, kUnknownPart = 3;

/// `tensor` without ".input_scale". Where a feed-forward has no gate, its input is called after
/// up_proj.
struct PartRow {
  std::string_view tensor, step, site;
  enum class Reads { inside, stream, feed_forward, activated, latent } reads = Reads::inside;
};

class PartScaleNames {
 public:
  /// `names`: all tensors of the checkpoint, which tell whether feed-forwards have gates.
  PartScaleNames(const std::vector<std::string>& names, const ScaleOrigins& origins);

  struct Found {
    ScalePlace place;
    std::string step, site;
  };
  /// `tensor`: what follows "backbone.layers.I."; nothing when it is no scale of these parts.
  std::optional<Found> find(int64_t layer, std::string_view tensor) const;

 private:
  std::optional<Found> find_expert(int64_t layer, std::string_view tensor) const;
  /// The block's input, which q, k and v or gate, up and router share.
  std::string input_of(int64_t layer, std::string_view op) const;
  std::string feed_forward_input(int64_t layer) const;
  std::string site_inside(int64_t layer, const PartRow& row) const;

  const ScaleOrigins& origins_;
  bool gated_ = false, latent_ = false;
};

}  // namespace scute
