// Trace: every static scale of a low-bit model, where it acts, and where it comes from.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "scute/base/json.h"
#include "scute/language/low_bit_files.h"

namespace scute {

/// The range of one site, and how good it is.
struct TracedRange {
  std::string site;
  std::string policy;                             ///< what chose it; "" when there is no plan entry
  std::string because;                            ///< the plan's sentence
  std::string remark;                             ///< what else should be known
  std::optional<std::pair<double, double>> seen;  ///< true min and max
  double lo = 0, hi = 0;          ///< kept: the plan's range, or ±127 times the largest scale
  std::optional<double> clipped;  ///< share of values outside lo … hi
  std::optional<double> sqnr;     ///< signal to quantization noise in dB, of one scale for all
  /// Where seen, clipped and sqnr are from: "statistics.safetensors", "plan.json" or "".
  std::string measured;
  std::string statistic;  ///< the site in statistics.safetensors that was measured; may be ""
  bool edited = false;    ///< what is stored is not the plan's
};

/// One tensor of scales.
struct TracedScale {
  StoredScale stored;
  Shape shape;
  float smallest = 0, largest = 0;
};

struct TracedLayer {
  int64_t layer = 0;  ///< kHeadLayer: the head; kNoLayer: a part of Cobra
  std::string
      part;  ///< of Cobra: its bucket, "vision.dino"; "" for what is inside a language model
  std::string format;  ///< "W8A8", …; "" when not recorded
  std::vector<TracedScale> scales;
  std::vector<TracedRange> ranges;  ///< one a site, in the order of their first scale
  /// Sites whose values are kept within a range, and not rounded there: SQNR is not known.
  std::vector<TracedRange> clips;

  std::string name() const;  ///< "3", "lm_head" or the part
};

struct Trace {
  std::string path;
  std::vector<std::string>
      parts;  ///< of Cobra: its buckets; its language model's layers are layers
  MixerKind mixer = MixerKind::mamba1;
  std::vector<PartChain> chains;    ///< of parts that are no mixers
  std::vector<TracedLayer> layers;  ///< every layer, also those without scales; then the head's
  std::vector<std::string> notes;   ///< which files were read; what cannot be known and why
  int64_t edits = 0;                ///< of scales, as recipe.json records them

  /// Every tensor of scales, in the order of use.
  std::vector<StoredScale> stored() const;

  /// {"model", "parts" (of Cobra), "mixer", "chain", "chains" (of other parts), "notes", "edits",
  /// "layers": [{"layer", "format", "scales": […]}]}; the head has "layer": "lm_head", a part of
  /// Cobra its name and perhaps "clips": […]. A scale repeats its site's range. Unknown numbers are
  /// null.
  Json to_json() const;
  /// A title line, then one line a scale and one a clip; unknown numbers are empty cells.
  std::string to_csv() const;
};

/// What the files say of these scales, which are among theirs, and of their sites.
TracedLayer trace_group(const LowBitFiles& files, const std::vector<StoredScale>& scales);
/// The same of one of their clips.
TracedRange trace_clip(const LowBitFiles& files, const std::string& site);
/// Which records were read, and what cannot be known without the others.
std::vector<std::string> record_notes(const LowBitFiles& files);
/// How many edits recipe.json records.
int64_t recorded_edits(const LowBitFiles& files);

/// Reads tensors, plan.json, statistics.safetensors and recipe.json as far as they are there; never
/// builds the model. Error as read_low_bit_files.
Trace trace_scales(const std::string& folder);

}  // namespace scute
