// Which tensors of a low-bit checkpoint hold the scale of which site.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "scute/models/language/config.h"
#include "scute/models/scheme.h"

namespace scute {

/// One row of a mixer's table. Several tensors may repeat one site's scale, and with
/// --shared-scales one site gives several tensors theirs.
struct ScaleName {
  std::string_view step;  ///< between which parts of the layer it rounds, e.g. "conv1d → x_proj"
  std::string_view tensor;  ///< under backbone.layers.I.mixer., e.g. "conv1d.output_scale"
  std::string_view site;    ///< under layer_I., e.g. "x_proj:input"
  std::string_view shared;  ///< the site with --shared-scales; mostly the same
  /// What the scheme must say for the site to be its @rotated twin.
  enum class Rotated { never, stream, out_proj } rotated = Rotated::never;
};

/// In the order in which a layer uses them.
std::span<const ScaleName> scale_names(MixerKind mixer);
/// The parts of a layer in that order: norm, in_proj, conv1d, …
std::span<const std::string_view> layer_chain(MixerKind mixer);

/// The same of another kind of part: "attention", "feed_forward", "experts" or "shared".
struct PartChain {
  std::string_view part;
  std::vector<std::string_view> steps;
};
/// Of the kinds that a checkpoint's tensors are of.
std::vector<PartChain> part_chains(const std::vector<std::string>& names);

/// What decides which site a scale was taken from.
struct ScaleOrigins {
  Scheme scheme;
  bool shared_scales = false;
  /// Sites of single experts that the plan has, where there is a plan: the others took their scale
  /// from the site of all experts together.
  std::optional<std::set<std::string>> experts = {};
};

constexpr int64_t kHeadLayer = -1;
constexpr int64_t kNoLayer = -2;  ///< of no language model: of a vision tower or a projector

/// A tensor of activation scales.
struct StoredScale {
  std::string tensor;  ///< its whole name
  int64_t layer = 0;   ///< kHeadLayer: the head's; or kNoLayer
  std::string step;
  std::string site;  ///< the whole name; empty: a scale that this version does not know
};

/// The activation scales among the tensors of a checkpoint, by layer and in each by the order of
/// use, the head's last. Scales of weights are none of them.
std::vector<StoredScale> find_scales(const std::vector<std::string>& names, MixerKind mixer,
                                     const ScaleOrigins& origins);
/// Whether a tensor of this name looks like a scale of activations, also if no table has it.
bool is_activation_scale(std::string_view tensor);
/// The layer of a tensor "backbone.layers.I.…", or kHeadLayer.
int64_t layer_of(std::string_view tensor);

}  // namespace scute
