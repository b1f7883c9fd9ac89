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

/// Reads either config.json dialect. Hugging Face's keys count, and no others, where "model_type"
/// is mamba or mamba2 and "hidden_size" is there (the published mamba-*-hf configs hold both
/// dialects); absent ones have the defaults of transformers' class. Else "d_model" makes it
/// state-spaces', in which what Hugging Face's words say must agree. Error on an option that this
/// engine does not compute (another activation, biases on projections, attention layers, MLPs,
/// state-spaces' norm before gate) and on another model_type, naming key and value.
ModelDescription describe_config(const Json& config, const std::string& where);
/// The same for a folder's config.json, or params.json of Mistral's layout; remarks on its weight
/// files, when there are some. Error saying what was looked for when it is no model folder.
ModelDescription describe_model(const std::string& folder);
/// What is unusual about the weight files in the folder `path`, or about that one file, a sentence
/// each; nothing when there are none or they cannot be read, which whoever loads them says.
std::vector<std::string> language_file_remarks(const std::string& path, InputFiles& files);

/// The checkpoint's tensors under the state-spaces names; a stored copy of a tied head is compared
/// with the embedding and dropped, an Error when they differ. Error in one line, naming the method,
/// for weights quantized by another tool.
Weights read_weights(const ModelDescription& model);
/// Renames the tensors of the Hugging Face dialect to those of state-spaces, wherever in a larger
/// model they stand (model.layers.0…, net.backbone.layers.0…, layers.0…). A sentence when that was
/// unusual, else "".
std::string use_plain_names(Weights& weights);

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
