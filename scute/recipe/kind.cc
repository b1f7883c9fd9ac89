#include "scute/recipe/kind.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "scute/base/error.h"
#include "scute/base/json.h"
#include "scute/io/file.h"
#include "scute/io/file_contents.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

/// 16 MB: the largest config.json in the wild is a few kB.
constexpr int64_t kConfigLimit = int64_t{16} << 20;

bool is_cobra_config(const Json& config) {
  const Json* model = config.find("model");
  return model != nullptr && model->find("vision_backbone_id") != nullptr;
}

/// Any one makes a config a language model's; which are needed says its reader.
bool is_language_config(const Json& config) {
  constexpr std::array<std::string_view, 9> kKeys{
      "model_type", "architectures",     "d_model", "n_layer", "hidden_size",
      "vocab_size", "num_hidden_layers", "ssm_cfg", "dim"};
  return std::ranges::any_of(kKeys,
                             [&](std::string_view key) { return config.find(key) != nullptr; });
}

/// Arguments in the wrong order: what such a file is given to.
std::string what_was_meant(const std::string& contents) {
  const auto said = [&](const char* flag) {
    return fmt::format("a file; give its folder (it is {}; did you mean {}?)", contents, flag);
  };
  if (contents == "text" || contents == "JSON lines" || contents == "a .npy array") {
    return said("--data FILE");
  }
  if (contents == "statistics that scute collected") return said("--stats FILE, or scute decide");
  if (contents == "a picture") return said("--image FILE, or --images FOLDER");
  if (contents == "JSON") return said("--plan FILE");
  if (contents == kGgufContents) return contents + "; give the folder it was converted from";
  return "a file; give its folder";
}

/// A file is a regressor's checkpoint, or part of a folder that should have been named.
ModelKind kind_of_file(const fs::path& path) {
  if (path.extension() == ".pt") return ModelKind::regressor;
  fs::path folder = path.parent_path();
  if (folder.empty()) folder = ".";
  std::error_code ignored;
  const bool inside = fs::is_regular_file(folder / "config.json", ignored);
  const bool torch = path.extension() == ".pth" || path.extension() == ".ckpt";
  if (torch && !inside) return ModelKind::regressor;
  fail(path.string(), "a model: a folder with a config.json, or a regressor's checkpoint, .pt",
       inside ? fmt::format("a file; give its folder, {}", folder.string())
              : what_was_meant(contents_of(path.string())));
}

/// Of any tool: Megatron-core's folders too, and llama.cpp's files.
bool holds_weights(const fs::path& folder) {
  constexpr std::array<std::string_view, 6> kEndings{".safetensors", ".bin",  ".pt",
                                                     ".pth",         ".ckpt", ".gguf"};
  constexpr std::array<std::string_view, 3> kMegatron{"release", "mp_rank_00",
                                                      "latest_checkpointed_iteration.txt"};
  std::error_code ignored;
  const fs::directory_iterator files(folder, ignored);
  return std::any_of(begin(files), end(files), [&](const fs::directory_entry& entry) {
    const std::string ending = entry.path().extension().string();
    const std::string name = entry.path().filename().string();
    if (name.starts_with('.')) return false;
    if (std::ranges::find(kMegatron, name) != kMegatron.end()) return true;
    return std::ranges::find(kEndings, ending) != kEndings.end();
  });
}

}  // namespace

std::string_view name_of(ModelKind kind) {
  switch (kind) {
    case ModelKind::language:
      return "language model";
    case ModelKind::cobra:
      return "Cobra";
    default:
      return "regressor";
  }
}

ModelKind kind_of(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    fail(path, "a model folder, or a regressor's checkpoint, .pt",
         path.ends_with(".pt") ? "no such file" : "no such folder");
  }
  if (!fs::is_directory(status)) return kind_of_file(path);
  // What is missing in a folder of weights says the reader of language models, verb by verb.
  const bool weights = holds_weights(path);
  const std::string file = (fs::path(path) / "config.json").string();
  if (!fs::exists(file, error)) {
    if (weights) return ModelKind::language;
    fail(path, "a model folder with a config.json", "none");
  }
  const Json config = Json::parse(read_text(file, kConfigLimit), file);
  const bool cobra = is_cobra_config(config), language = is_language_config(config);
  if (cobra && language) {
    fail(file, "the config of one kind of model",
         "a language model's keys beside Cobra's \"model\" with a \"vision_backbone_id\"; keep one "
         "of them (Cobra's language model has its own folder, llm/)");
  }
  if (!cobra && !language && !weights) {
    fail(file,
         "a language model's config (\"model_type\", or \"d_model\" and \"n_layer\") or Cobra's (a "
         "\"model\" with a \"vision_backbone_id\")",
         "neither");
  }
  return cobra ? ModelKind::cobra : ModelKind::language;
}

}  // namespace scute
