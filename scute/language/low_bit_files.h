// What a low-bit folder says of its scales: tensors, and whatever else it kept.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "scute/decide/plan.h"
#include "scute/language/scale_names.h"
#include "scute/observe/statistics_file.h"
#include "scute/tensor/weights.h"

namespace scute {

/// Read without building the model, so that checkpoints of other versions can be read too. Only the
/// tensors must be there.
struct LowBitFiles {
  std::string path;
  MixerKind mixer = MixerKind::mamba1;
  int64_t layers = 0;
  std::vector<std::string> formats;  ///< "W8A8", … by layer; empty without a "scute" object
  bool has_scheme = false;           ///< config.json has a "scute" object
  ScaleOrigins origins;
  double state_clip = 1;  ///< the share of the planned range that the state's scales keep
  Weights tensors;        ///< as named in the files
  std::vector<StoredScale> scales;
  std::vector<PartChain> chains;  ///< of parts that are no mixers
  /// What sites keep their values within: of Cobra, its buckets.
  std::map<std::string, std::pair<float, float>> clips;
  std::optional<Plan> plan;
  std::optional<StatisticsSet> statistics;
  bool foreign_statistics = false;  ///< statistics.safetensors is of another model: left out
  Json recipe;                      ///< null: none
};

/// Reads recipe.json, plan.json and statistics.safetensors of `files.path`, as far as they are
/// there.
void read_records(LowBitFiles& files);

/// Error when there are no tensors, when they are a float model's, or when a file that is there
/// cannot be read.
LowBitFiles read_low_bit_files(const std::string& folder);

/// The scale that a plan's range of `site` asks for: of the state its share state_clip.
float planned_scale(const LowBitFiles& files, const std::string& site, const Decision& decision);
/// The elements of a scale as floats; Error naming it when there is none or it is no float.
std::vector<float> scale_values(const LowBitFiles& files, const std::string& tensor);
/// Whether stored values are what a plan's scale gives: one value equal to it, or several that it
/// bounds. 1e-6 forgives products that were rounded twice (float: 6e-8).
bool agrees(const std::vector<float>& values, float planned);
/// Whether a clip is a plan's range, whose ends are stored as floats.
bool is_clip_of(const Decision& decision, float lo, float hi);
/// Appends to the list `key` of an object, which is made when it is not there; Error naming `where`
/// when a file has something else in its place.
void append_to(Json& object, std::string_view key, Json value, const std::string& where);

}  // namespace scute
