// Cobra folders: config.json, checkpoints/latest-checkpoint.pt, vision/{dino,siglip}/, llm/; float
// or low-bit.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "scute/base/json.h"
#include "scute/data/pictures.h"
#include "scute/language/model_folder.h"
#include "scute/models/vision/cobra.h"

namespace scute {

/// What a folder's config files say.
struct CobraDescription {
  std::string path;  ///< the folder, as given
  std::string name;  ///< its last component
  Json json;         ///< config.json as it is
  CobraConfig config;
  ResizeStrategy strategy = ResizeStrategy::naive;
  std::vector<PixelNormalization> normalization;  ///< a tower each
  ModelDescription language;                      ///< of llm/
  std::string language_id;                        ///< "mamba-2.8b-zephyr": which prompt it wants
  int64_t text_length = 2048;                     ///< tokens of a prompt at most
  bool low_bit = false;                           ///< written by quantize
  std::map<std::string, std::pair<float, float>> ranges;  ///< of a low-bit model: what is clipped
  std::vector<std::string> remarks;  ///< what is unusual about weight files, "PART: …" each
  /// Opens each of its files once (ModelDescription::files); `language` has the same.
  std::shared_ptr<InputFiles> files = std::make_shared<InputFiles>();
};

/// Reads config.json, vision/*/config.json and llm/config.json; what the released models leave
/// unsaid is known here (README.md), so cobra+3b needs none of the last two.
/// Error naming file and key on a backbone, projector or option that this engine does not compute.
/// Remarks on the weight files, when there are some.
CobraDescription describe_cobra(const std::string& folder);

/// The weights of the parts asked for, under the names that CobraModel reads. From
/// vision/T/model.safetensors (or .bin, .pt, or OpenCLIP's file), unless the checkpoint itself
/// brings fine-tuned towers; from checkpoints/latest-checkpoint.pt, or projector/ and llm/ where
/// those have weights. Error naming what was looked for.
CobraWeights read_cobra_weights(const CobraDescription& model, CobraModel::Parts parts);

/// What is unusual about the files that read_cobra_weights reads, "vision/dino: …", "llm: …"; of
/// those that cannot be read nothing, which whoever loads them says.
std::vector<std::string> cobra_file_remarks(const CobraDescription& model);

/// The language model as one of its own, with its tensors where those are in Cobra's checkpoint;
/// its hash is then that of the whole model.
ModelDescription cobra_language(const CobraDescription& model);

/// Reads and packs the weights of these parts. Error naming every tensor that is missing, misshapen
/// or left over.
CobraModel load_cobra(const CobraDescription& model, const Execution& execution,
                      CobraModel::Parts parts);

/// The table of token vectors alone.
Embedding load_cobra_embedding(const CobraDescription& model);

/// SHA-256 over all config and weight files (names in the folder and contents, in sorted order).
std::string hash_cobra(const CobraDescription& model);
/// Begins with it on a thread of its own (InputFiles::hash_beside): for work that asks for it
/// later.
void hash_cobra_beside(const CobraDescription& model);

/// A picture as each tower sees it, F32 [3, image, image].
std::vector<Tensor> tower_pixels(const CobraDescription& model, const Picture& picture);
/// The same as CobraModel takes them, 3 × image² each; they must live as long.
std::vector<MatView<const float>> pixel_views(const std::vector<Tensor>& pixels);

}  // namespace scute
