// Model folders in every dialect: config, weights, tokenizer, hashes.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "scute/base/json.h"
#include "scute/data/text_input.h"
#include "scute/io/input.h"
#include "scute/models/language/language_model.h"
#include "scute/text/tokenizer.h"

namespace scute {

/// What config.json says, in one dialect's words.
struct ModelDescription {
  std::string path;                         ///< the folder, as given
  std::string name;                         ///< its last component
  std::string dialect;                      ///< "state-spaces" or "Hugging Face"
  std::string family;                       ///< config.json's model_type; "" of state-spaces
  std::string config_file = "config.json";  ///< in the folder; "params.json" of Mistral's layout
  MambaConfig config;
  bool low_bit = false;              ///< written by quantize: config.json has a "scute" object
  Scheme scheme;                     ///< of a low-bit model
  Json json;                         ///< config.json as it is; of params.json, what it means
  int64_t vocabulary_unpadded = 0;   ///< as far as the config tells, else config.vocabulary
  std::vector<std::string> ignored;  ///< keys of config.json that count for nothing here
  std::vector<std::string> remarks;  ///< what is unusual about config and files, a sentence each

  /// A model that is part of another's checkpoint: its tensors, and the hash of the whole. Null:
  /// both are those of the folder's files.
  struct Embedded {
    Weights weights;
    std::string sha256;
  };
  std::shared_ptr<const Embedded> embedded = nullptr;
  /// Opens each of the model's files once: config, weights and tokenizer that are read later, and
  /// the hashes, are of the files that were described.
  std::shared_ptr<InputFiles> files = std::make_shared<InputFiles>();
};

/// Reads config.json of any family (families/families.h), in the words of transformers 4 or 5.
/// "model_type" says which; without one, "d_model" makes it the state-spaces dialect, in which what
/// Hugging Face's words say must agree. Of mamba and mamba2 Hugging Face's keys count, and no
/// others, where "hidden_size" is there (the published mamba-*-hf configs hold both dialects).
/// Absent keys have the defaults of transformers' class. Error on an option that this engine does
/// not compute (another activation, another kind of rope, …) and on a model_type that is not known,
/// naming key and value.
ModelDescription describe_config(const Json& config, const std::string& where);
/// The same for a folder's config.json, or params.json of Mistral's layout; remarks on its weight
/// files, when there are some. Error saying what was looked for when it is no model folder.
ModelDescription describe_model(const std::string& folder);
/// What is unusual about the model's weight files in the folder `path`, or about that one file, a
/// sentence each; nothing when there are none or they cannot be read, which whoever loads them
/// says.
std::vector<std::string> language_file_remarks(const ModelDescription& model,
                                               const std::string& path);

/// The checkpoint's tensors under our names (docs/families.md); a stored copy of a tied head is
/// compared with the embedding and dropped, an Error when they differ. Error in one line, naming
/// the method, for weights quantized by another tool.
Weights read_weights(const ModelDescription& model);
/// The tensors of a model's checkpoint get our names, wherever in a larger model they stand
/// (model.layers.0…, net.backbone.layers.0…, layers.0…), and those that hold several of ours are
/// split. What is unusual, a sentence each.
std::vector<std::string> use_our_names(const ModelDescription& model, Weights& weights);
/// The inverse, for the tensors of a float model: as its family publishes them.
void use_published_names(const ModelDescription& model, Weights& weights);
/// The first half of use_our_names, which is all that Mamba and Mamba-2 need: names begin with
/// "backbone." and "lm_head.". A sentence when they began otherwise than with `usual`, else "".
std::string use_plain_names(Weights& weights, std::string_view usual = "backbone.");

/// Reads and packs the weights. Error naming every tensor that is missing, misshapen or left over.
LanguageModel load_model(const ModelDescription& model, const Execution& execution,
                         LanguageModel::Head head);

/// tokenizer.json of the folder, or `override_file`. Empty when there is none. Error when it knows
/// more ids than the model has rows.
std::optional<Tokenizer> load_tokenizer(const ModelDescription& model,
                                        const std::string& override_file = "");

/// The same with what `input` says of it: it adds its special tokens when told to, an Error when it
/// has none.
std::optional<Tokenizer> load_tokenizer(const ModelDescription& model, const TextInput& input);

/// SHA-256 over config.json and the weight files (names and contents, in reading order): equal for
/// equal models wherever they are stored.
std::string hash_model(const ModelDescription& model);
/// Begins with it on a thread of its own (InputFiles::hash_beside): for work that asks for it
/// later.
void hash_model_beside(const ModelDescription& model);
/// SHA-256 of tokenizer.json (or `override_file`); "" when there is none.
std::string hash_tokenizer(const ModelDescription& model, const std::string& override_file = "");

}  // namespace scute
