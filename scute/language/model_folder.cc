#include "scute/language/model_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/io/checkpoint.h"
#include "scute/io/file_contents.h"
#include "scute/language/families/families.h"
#include "scute/language/low_bit_check.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

/// 16 MB: the largest config.json in the wild is a few kB, the largest tokenizer.json 40 MB.
constexpr int64_t kConfigLimit = int64_t{16} << 20;
constexpr int64_t kTokenizerLimit = int64_t{1} << 30;
constexpr const char* kEmbedding = "backbone.embedding.weight";
const std::string kBackbone = "backbone.", kHead = "lm_head.";

std::string tokenizer_path(const ModelDescription& model, const std::string& override_file) {
  if (!override_file.empty()) return override_file;
  const fs::path own = fs::path(model.path) / "tokenizer.json";
  return fs::exists(own) ? own.string() : "";
}

/// What stands before "layers.0." in the names: "backbone.", "model.", "net.backbone.", …;
/// "backbone." when nothing tells.
std::string stem_of(const std::vector<std::string>& names) {
  constexpr std::string_view kLayer = "layers.0.";
  for (const std::string& name : names) {
    const size_t at = name.find(kLayer);
    if (at != name.npos && (at == 0 || name[at - 1] == '.')) return name.substr(0, at);
  }
  return kBackbone;
}

/// What hash_model() is made of.
std::vector<std::string> hashed_files(const ModelDescription& model) {
  std::vector<std::string> out{(fs::path(model.path) / model.config_file).string()};
  for (std::string& file : checkpoint_files(model.path)) out.push_back(std::move(file));
  return out;
}

/// Mistral's params.json in state-spaces' words. It says nothing of state, heads and taps; the
/// tensors do.
Json of_params(const Json& params, const std::string& folder, InputFiles& files) {
  const std::string where = folder + "/params.json";
  const auto integer = [&](const char* key) {
    return params.at(key, where).as_int(fmt::format("{}: {}", where, key));
  };
  if (!holds_checkpoint(folder)) {
    fail(folder,
         "consolidated.safetensors beside params.json (Mistral's layout), or config.json and "
         "model.safetensors (the same repository's Hugging Face layout)",
         "neither");
  }
  Weights weights = read_checkpoint(folder, files);
  use_plain_names(weights);
  const Shape heads = weights.at("backbone.layers.0.mixer.dt_bias").shape();
  const Shape conv = weights.at("backbone.layers.0.mixer.conv1d.weight").shape();
  const Shape out_proj = weights.at("backbone.layers.0.mixer.out_proj.weight").shape();
  const int64_t width = integer("dim"), groups = integer("n_groups");
  if (heads.size() != 1 || conv.size() != 3 || out_proj.size() != 2 || heads[0] < 1 || width < 1 ||
      groups < 1 || groups > conv[0]) {
    fail(where, "Mamba-2 tensors beside it", "others");
  }
  Json ssm = Json::object(), out = Json::object();
  ssm["layer"] = "Mamba2";
  ssm["ngroups"] = groups;
  ssm["headdim"] = out_proj[1] / heads[0];
  ssm["d_state"] = (conv[0] - out_proj[1]) / groups / 2;  // twice the groups may be beyond 64 bits
  ssm["d_conv"] = conv[2];
  ssm["expand"] = static_cast<double>(out_proj[1]) / static_cast<double>(width);
  out["d_model"] = width;
  out["n_layer"] = integer("n_layers");
  for (const char* key : {"vocab_size", "rms_norm", "residual_in_fp32", "fused_add_norm",
                          "pad_vocab_size_multiple", "tie_embeddings"}) {
    out[key] = params.at(key, where);
  }
  out["ssm_cfg"] = std::move(ssm);
  return out;
}

[[noreturn]] void refuse_file(const std::string& path) {
  const bool there = fs::exists(path);
  const char* found = !there ? "no such folder"
                      : path.ends_with(".pt")
                          ? "a file; a regressor's checkpoint is for scute eval "
                            "and scute export"
                          : "a file";
  fail(path, "a model folder",
       there && contents_of(path) == kGgufContents ? std::string(kGgufContents) : found);
}

/// What else a folder without config.json may be.
[[noreturn]] void refuse_without_config(const std::string& folder) {
  constexpr const char* kExpected = "a model folder with a config.json";
  for (const char* file :
       {"release", "mp_rank_00", "latest_checkpointed_iteration.txt", "model_optim_rng.pt"}) {
    if (!fs::exists(fs::path(folder) / file)) continue;
    fail(
        folder, kExpected,
        fmt::format("none, but {}, as in a checkpoint of Megatron-core, which holds no config (not "
                    "supported); convert it to Hugging Face's layout",
                    file));
  }
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().extension() != ".gguf") continue;
    fail(folder, kExpected,
         fmt::format("none, but {}: {}", entry.path().filename().string(), kGgufContents));
  }
  fail(folder, kExpected, "none");
}

}  // namespace

ModelDescription describe_model(const std::string& folder) {
  const fs::path root(folder);
  if (!fs::is_directory(root)) refuse_file(folder);
  const bool mistral = !fs::exists(root / "config.json") && fs::exists(root / "params.json");
  const std::string name = mistral ? "params.json" : "config.json";
  const std::string file = (root / name).string();
  if (!fs::exists(file)) refuse_without_config(folder);
  const auto files = std::make_shared<InputFiles>();
  const Json json = Json::parse(files->text(file, kConfigLimit), file);
  if (const Json* model = json.find("model");
      model != nullptr && model->find("vision_backbone_id")) {
    fail(folder, "a language model's folder (Cobra's own llm/ may be one)",
         "Cobra, a vision-language model, which collect, sites, quantize, eval, generate and bench "
         "know");
  }
  ModelDescription out = describe_config(mistral ? of_params(json, folder, *files) : json, file);
  out.files = files;
  out.config_file = name;
  if (mistral) {
    out.remarks.push_back(
        "params.json is Mistral's layout; what it leaves unsaid was taken from the tensors");
  }
  out.path = folder;
  out.name = fs::canonical(root).filename().string();
  if (!out.low_bit) {
    for (std::string& sentence : language_file_remarks(out, folder)) {
      out.remarks.push_back(std::move(sentence));
    }
  }
  return out;
}

std::vector<std::string> language_file_remarks(const ModelDescription& model,
                                               const std::string& path) {
  try {
    Checkpoint checkpoint = open_checkpoint(path, *model.files);
    // Of a tied model all names begin with "model.", as its family's do.
    const std::string usual(find_family(model.family)->stem);
    std::erase(checkpoint.remarks, prefix_remark(usual));
    for (std::string& sentence : use_our_names(model, checkpoint.weights)) {
      checkpoint.remarks.push_back(std::move(sentence));
    }
    return checkpoint.remarks;
  } catch (const Error&) {
    return {};
  }
}

std::vector<std::string> use_our_names(const ModelDescription& model, Weights& weights) {
  const ModelFamily& family = *find_family(model.family);
  std::vector<std::string> remarks;
  std::string sentence = use_plain_names(weights, family.stem);
  if (!sentence.empty()) remarks.push_back(std::move(sentence));
  if (family.rename == nullptr) return remarks;
  for (std::string& more : family.rename(model.config, weights)) {
    remarks.push_back(std::move(more));
  }
  return remarks;
}

void use_published_names(const ModelDescription& model, Weights& weights) {
  const ModelFamily& family = *find_family(model.family);
  if (family.publish != nullptr) family.publish(model.config, weights);
  for (const std::string& name : weights.names()) {
    if (!name.starts_with(kBackbone)) continue;
    std::string rest = name.substr(kBackbone.size());
    for (const auto& [ours, published] :
         {std::pair<std::string_view, std::string_view>("embedding.", family.embedding),
          {"norm_f.", family.last_norm}}) {
      if (rest.starts_with(ours)) rest.replace(0, ours.size(), published);
    }
    std::string to = fmt::format("{}{}", family.stem, rest);
    if (to != name) weights.rename(name, std::move(to));
  }
}

std::string use_plain_names(Weights& weights, std::string_view usual) {
  const std::vector<std::string> names = weights.names();
  const std::string stem = stem_of(names);
  const auto rename = [&](const std::string& name, std::string to) {
    constexpr std::string_view kPlural = "backbone.embeddings.";
    if (to.starts_with(kPlural)) to = "backbone.embedding." + to.substr(kPlural.size());
    if (to != name) weights.rename(name, std::move(to));
  };
  for (const std::string& name : names) {
    const size_t head = name.find(kHead);
    if (head != name.npos && (head == 0 || name[head - 1] == '.')) {
      rename(name, name.substr(head));
    } else {
      rename(name, name.starts_with(stem) ? kBackbone + name.substr(stem.size()) : name);
    }
  }
  if (stem == kBackbone || stem == usual) return "";
  if (!stem.empty()) return fmt::format("the tensors are called {}… instead of {}…", stem, usual);
  // What every name begins with is dropped when the files are read.
  if (usual != kBackbone) return "";
  return "no tensor's name begins with backbone.: it was added";
}

Weights read_weights(const ModelDescription& model) {
  refuse_foreign_method(model);
  Weights weights =
      model.embedded ? model.embedded->weights : read_checkpoint(model.path, *model.files);
  refuse_foreign_tensors(model, weights);
  use_our_names(model, weights);
  if (model.config.tied_head && weights.contains("lm_head.weight") &&
      weights.contains(kEmbedding)) {
    const Tensor& head = weights.at("lm_head.weight");
    const Tensor& embedding = weights.at(kEmbedding);
    if (head.dtype() != embedding.dtype() || head.shape() != embedding.shape() ||
        !std::ranges::equal(head.bytes(), embedding.bytes())) {
      fail(model.path, "lm_head.weight equal to the embedding, as config.json ties them",
           "another tensor; set tie_embeddings (tie_word_embeddings) to false to use it");
    }
    embedding.give_back();
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
  Tokenizer tokenizer = Tokenizer::parse(model.files->text(path, kTokenizerLimit), path);
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
  Sha256 all;
  for (const std::string& file : hashed_files(model)) {
    all.update(
        fmt::format("{}  {}\n", model.files->sha256(file), fs::path(file).filename().string()));
  }
  return all.hex();
}

void hash_model_beside(const ModelDescription& model) {
  if (!model.embedded) model.files->hash_beside(hashed_files(model));
}

std::string hash_tokenizer(const ModelDescription& model, const std::string& override_file) {
  const std::string path = tokenizer_path(model, override_file);
  return path.empty() ? "" : model.files->sha256(path);
}

}  // namespace scute
