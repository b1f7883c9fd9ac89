#include "scute/language/model_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/io/checkpoint.h"
#include "scute/io/file.h"
#include "scute/language/low_bit_check.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

/// 16 MB: the largest config.json in the wild is a few kB, the largest tokenizer.json 40 MB.
constexpr int64_t kConfigLimit = int64_t{16} << 20;
constexpr int64_t kTokenizerLimit = int64_t{1} << 30;
constexpr const char* kEmbedding = "backbone.embedding.weight";

std::string tokenizer_path(const ModelDescription& model, const std::string& override_file) {
  if (!override_file.empty()) return override_file;
  const fs::path own = fs::path(model.path) / "tokenizer.json";
  return fs::exists(own) ? own.string() : "";
}

}  // namespace

ModelDescription describe_model(const std::string& folder) {
  const fs::path root(folder);
  if (!fs::is_directory(root)) {
    const bool regressor = folder.ends_with(".pt") && fs::exists(root);
    fail(folder, "a model folder",
         regressor ? "a file; a regressor's checkpoint is for scute eval and scute export"
                   : "no such folder");
  }
  const std::string file = (root / "config.json").string();
  if (!fs::exists(file)) fail(folder, "a model folder with a config.json", "none");
  const Json json = Json::parse(read_text(file, kConfigLimit), file);
  if (const Json* model = json.find("model");
      model != nullptr && model->find("vision_backbone_id")) {
    fail(folder, "a language model's folder (Cobra's own llm/ may be one)",
         "Cobra, a vision-language model, which collect, sites, quantize, eval, generate and bench "
         "know");
  }
  ModelDescription out = describe_config(json, file);
  out.path = folder;
  out.name = fs::canonical(root).filename().string();
  return out;
}

void use_plain_names(Weights& weights) {
  constexpr std::string_view kHuggingFace = "backbone.embeddings.";
  for (const std::string& name : weights.names()) {
    if (!name.starts_with(kHuggingFace)) continue;
    weights.rename(name, "backbone.embedding." + name.substr(kHuggingFace.size()));
  }
}

Weights read_weights(const ModelDescription& model) {
  Weights weights = model.embedded ? model.embedded->weights : read_checkpoint(model.path);
  use_plain_names(weights);
  if (model.config.tied_head && weights.contains("lm_head.weight") &&
      weights.contains(kEmbedding)) {
    const Tensor& head = weights.at("lm_head.weight");
    const Tensor& embedding = weights.at(kEmbedding);
    if (head.dtype() != embedding.dtype() || head.shape() != embedding.shape() ||
        !std::ranges::equal(head.bytes(), embedding.bytes())) {
      fail(model.path, "lm_head.weight equal to the embedding, as config.json ties them",
           "another tensor; set tie_embeddings (tie_word_embeddings) to false to use it");
    }
    weights.erase("lm_head.weight");
  }
  check_low_bit(weights, model);
  return weights;
}

LanguageModel load_model(const ModelDescription& model, const Execution& execution,
                         LanguageModel::Head head) {
  return {model.config, read_weights(model), execution, head, model.scheme};
}

std::optional<Tokenizer> load_tokenizer(const ModelDescription& model,
                                        const std::string& override_file) {
  const std::string path = tokenizer_path(model, override_file);
  if (path.empty()) return std::nullopt;
  Tokenizer tokenizer = Tokenizer::parse(read_text(path, kTokenizerLimit), path);
  if (tokenizer.size() > model.config.vocabulary) {
    fail(path,
         fmt::format("at most {} ids, the rows of the model's embedding", model.config.vocabulary),
         fmt::format("{}", tokenizer.size()));
  }
  return tokenizer;
}

std::optional<Tokenizer> load_tokenizer(const ModelDescription& model, const TextInput& input) {
  auto tokenizer = load_tokenizer(model, input.tokenizer);
  if (!tokenizer || !input.special_tokens) return tokenizer;
  tokenizer->use_special_tokens(true);
  if (tokenizer->encode("").empty()) {
    fail(tokenizer_path(model, input.tokenizer),
         "a post_processor that adds special tokens (--special-tokens on)", "none");
  }
  return tokenizer;
}

std::string hash_model(const ModelDescription& model) {
  if (model.embedded) return model.embedded->sha256;
  std::vector<std::string> files{(fs::path(model.path) / "config.json").string()};
  for (const std::string& file : checkpoint_files(model.path)) files.push_back(file);
  Sha256 all;
  for (const std::string& file : files) {
    all.update(fmt::format("{}  {}\n", hash_file(file), fs::path(file).filename().string()));
  }
  return all.hex();
}

std::string hash_tokenizer(const ModelDescription& model, const std::string& override_file) {
  const std::string path = tokenizer_path(model, override_file);
  return path.empty() ? "" : hash_file(path);
}

}  // namespace scute
