// What a quantization is asked to do; all of it is recorded in recipe.json.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scute/base/json.h"
#include "scute/data/documents.h"
#include "scute/models/language/config.h"
#include "scute/models/scheme.h"

namespace scute {

/// Bits of one layer's weights and of its activations; 16: floats.
struct LayerFormat {
  int weight_bits = 8;  ///< 8, 4, or 16: floats as they were
  int activation_bits = 8;

  /// "W8A8", "W4A8", "W8A16", "W4A16" or "FP"; Error naming the known ones.
  static LayerFormat parse(std::string_view name, std::string_view where);
  std::string name() const;
  bool is_float() const { return weight_bits == 16; }
  bool eight_bit_activations() const { return activation_bits == 8; }
  bool operator==(const LayerFormat&) const = default;
};

/// Nothing is rounded: "FP".
inline constexpr LayerFormat kFloatFormat{16, 16};

/// Those of one layer's parts.
struct LayerFormats {
  LayerFormat mixer, attention, feed_forward, experts;

  static LayerFormats all(const LayerFormat& one) { return {one, one, one, one}; }
  const LayerFormat& of(PartKind kind) const;
  LayerFormat& of(PartKind kind);
  /// "W8A8", or "W8A8, attention FP": what differs from the mixer's.
  std::string text() const;
  /// "W8A8", or where they differ {"mixer": "W8A8", "attention": "FP", …}.
  Json to_json() const;
  static LayerFormats from_json(const Json& json, const std::string& where);
  /// "W8A8", or "mixer=W8A8+experts=W4A8", each of a layer's `kinds` once; Error naming `where`.
  static LayerFormats parse(std::string_view text, const std::vector<PartKind>& kinds,
                            const std::string& where);
  bool operator==(const LayerFormats&) const = default;
};

/// "f32", "bf16" or "int8".
CacheForm parse_cache(std::string_view name, std::string_view where);
std::string_view name_of(CacheForm form);

/// Every kind of part, in the order that they are listed in.
inline constexpr std::array kAllKinds{PartKind::mixer, PartKind::attention, PartKind::feed_forward,
                                      PartKind::experts};
/// "mixer", "attention", "feed-forward" or "experts".
std::string_view name_of(PartKind kind);

/// The list of a hybrid file: a flat JSON list with one string per layer, as LayerFormats::parse()
/// reads it, or an object as config.json has it. A block that layers share has the format of the
/// first that uses it: Error where a later one names another for attention.
std::vector<LayerFormats> read_hybrid(const std::string& file, const MambaConfig& config);

/// Texts for GPTQ's Hessians.
struct CalibrationOptions {
  std::vector<std::string> data;
  WindowOptions windows{.samples = 64, .seqlen = 512, .shuffle = 42};
  TextInput input = {};
  std::string hessians;  ///< a file of saved Hessians, instead of data
};

/// Every option that influences the low-bit folder; all are recorded in its recipe.
struct QuantizeOptions {
  LayerFormat format;
  std::vector<LayerFormats> hybrid;  ///< one per layer; empty: all `format`
  /// Of every part of that kind, before `hybrid` and `format`.
  std::optional<LayerFormat> mixers = {}, attention = {}, feed_forwards = {}, experts = {};
  bool gptq = false;
  CalibrationOptions calibration;
  bool hadamard = true;  ///< rotate where a transform of that size exists; folds the norms too
  bool fold = true;      ///< fold norms; without rotation only where inputs are not quantized
  bool group_heads = false;
  /// Share of a site's |x|, above 0 and at most 1, beyond which no group of heads goes; without it
  /// each follows its own largest value.
  std::optional<double> group_percentile = {};
  bool embedding = false, head = false;  ///< quantize them too; one table when they are tied
  int64_t group = 128;                   ///< inputs that share a 4-bit scale
  bool per_tensor = false;               ///< 8-bit weights: one scale a matrix, as Quamba
  bool shared_scales = false;            ///< one scale for x and z, one for dt, B and C, as Quamba
  enum class ConvScale { tensor, channel };
  ConvScale conv_scale = ConvScale::channel;  ///< of the convolution's 8-bit input
  enum class StateScale { tensor, channel, none };
  StateScale state_scale = StateScale::channel;
  Scheme::StateRounding state_rounding = Scheme::StateRounding::stochastic;
  double state_clip = 1;             ///< the state's range is this share of what is planned
  uint64_t seed = 42;                ///< as collect's default order of documents
  CacheForm cache = CacheForm::f32;  ///< of attention's keys and values

  /// The format of every part of that kind, where it has one of its own.
  const std::optional<LayerFormat>& own(PartKind kind) const;
  LayerFormats of_layer(int64_t layer) const;
  Json to_json() const;
};

}  // namespace scute
