#include "scute/cobra/folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/cobra/low_bit.h"
#include "scute/cobra/vision_config.h"
#include "scute/io/checkpoint.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCheckpoint = "checkpoints/latest-checkpoint.pt";
/// Cobra's training writes it so, with the optimizer's state beside it.
constexpr std::string_view kKey = "model";
constexpr const char* kLanguageNames = "llm_backbone.llm.";

/// "vision.dino" → "dino".
std::string short_name(const VisionConfig& tower) { return tower.bucket.substr(7); }

/// The file or folder that holds a part's tensors; "" when there is none.
std::string weights_in(const fs::path& folder) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                           "pytorch_model.bin.index.json"}) {
    if (fs::exists(folder / name)) return folder.string();
  }
  for (const char* name : {"open_clip_model.safetensors", "open_clip_pytorch_model.bin"}) {
    if (fs::exists(folder / name)) return (folder / name).string();
  }
  // Meta's raw files are called dinov2_vitl14_reg4_pretrain.pth.
  return holds_checkpoint(folder.string()) ? folder.string() : "";
}

/// The tensors of checkpoints/latest-checkpoint.pt, read when first asked for.
class CobraCheckpoint {
 public:
  explicit CobraCheckpoint(const CobraDescription& model)
      : path_((fs::path(model.path) / kCheckpoint).string()), files_(model.files) {}

  const std::string& path() const { return path_; }
  bool there() const { return fs::exists(path_); }
  bool has(const std::string& prefix) {
    if (!there()) return false;
    const auto names = tensors().names();
    return std::ranges::any_of(names, [&](const auto& name) { return name.starts_with(prefix); });
  }
  std::vector<std::string> remarks() { return opened().remarks; }
  /// Those below `prefix`, without it. Error naming what is missing.
  Weights part(const std::string& prefix, const std::string& otherwise) {
    if (!there()) fail(path_, fmt::format("Cobra's checkpoint, or {}", otherwise), "neither");
    Weights out(path_);
    for (const std::string& name : tensors().names()) {
      if (name.starts_with(prefix)) out.add(name.substr(prefix.size()), tensors().take(name));
    }
    if (out.size() == 0) {
      const std::vector<std::string> all = tensors().names();
      fail(path_, fmt::format("tensors called {}…", prefix),
           all.empty() ? "no tensor" : fmt::format("none; its first is {}", all.front()));
    }
    return out;
  }

 private:
  Checkpoint& opened() {
    if (!opened_) opened_ = open_checkpoint(path_, *files_, kKey);
    return *opened_;
  }
  Weights& tensors() { return opened().weights; }

  std::string path_;
  std::shared_ptr<InputFiles> files_;
  std::optional<Checkpoint> opened_;
};

Weights read_tower(const CobraDescription& model, const VisionConfig& tower,
                   CobraCheckpoint& checkpoint) {
  // A fully fine-tuned model's own towers; the original loader ignores them (README.md).
  const bool alone = model.config.towers.size() == 1;
  const std::string own =
      fmt::format("vision_backbone.{}featurizer.", alone ? "" : short_name(tower) + "_");
  const fs::path folder = fs::path(model.path) / "vision" / short_name(tower);
  const std::string found = weights_in(folder);
  if (!model.low_bit && checkpoint.has(own)) {
    return timm_weights(checkpoint.part(own, folder.string()), tower);
  }
  if (found.empty()) {
    fail(folder.string(),
         "one of model.safetensors, pytorch_model.bin, open_clip_model.safetensors, "
         "open_clip_pytorch_model.bin or a .pth with the tower's weights",
         "none");
  }
  return timm_weights(read_checkpoint(found, *model.files), tower);
}

Weights read_projector(const CobraDescription& model, CobraCheckpoint& checkpoint) {
  const fs::path folder = fs::path(model.path) / "projector";
  const std::string found = weights_in(folder);
  return found.empty() ? checkpoint.part("projector.", folder.string())
                       : read_checkpoint(found, *model.files);
}

bool same_fill(const CobraDescription& model) {
  if (model.strategy != ResizeStrategy::letterbox) return true;
  return std::ranges::all_of(model.normalization, [&](const PixelNormalization& n) {
    return n.mean == model.normalization.front().mean;
  });
}

}  // namespace

CobraWeights read_cobra_weights(const CobraDescription& model, CobraModel::Parts parts) {
  CobraCheckpoint checkpoint(model);
  CobraWeights out;
  for (const VisionConfig& tower : model.config.towers) {
    out.towers.push_back(read_tower(model, tower, checkpoint));
  }
  out.projector = read_projector(model, checkpoint);
  check_cobra_low_bit(model, out);
  if (parts != CobraModel::Parts::vision) out.language = read_weights(cobra_language(model));
  return out;
}

std::vector<std::string> cobra_file_remarks(const CobraDescription& model) {
  std::vector<std::string> out;
  const auto add = [&out](const std::string& part, const std::vector<std::string>& sentences) {
    for (const std::string& sentence : sentences) out.push_back(part + ": " + sentence);
  };
  const auto add_of = [&](const std::string& part) {
    const std::string found = weights_in(fs::path(model.path) / part);
    if (!found.empty()) add(part, open_checkpoint(found, *model.files).remarks);
  };
  const auto look = [](const auto& at) {
    try {
      at();
    } catch (const Error&) {
      return;
    }
  };
  CobraCheckpoint checkpoint(model);
  look([&] {
    if (checkpoint.there()) add(kCheckpoint, checkpoint.remarks());
  });
  for (const VisionConfig& tower : model.config.towers) {
    look([&] { add_of("vision/" + short_name(tower)); });
  }
  look([&] { add_of("projector"); });
  look([&] {
    const std::string found = weights_in(model.language.path);
    if (!found.empty()) return add("llm", language_file_remarks(model.language, found));
    Weights own = checkpoint.part(kLanguageNames, model.language.path);
    const std::string sentence = use_plain_names(own);
    if (!sentence.empty()) add("llm", {sentence});
  });
  return out;
}

ModelDescription cobra_language(const CobraDescription& model) {
  ModelDescription out = model.language;
  if (!weights_in(out.path).empty()) return out;
  CobraCheckpoint checkpoint(model);
  out.embedded = std::make_shared<const ModelDescription::Embedded>(
      ModelDescription::Embedded{checkpoint.part(kLanguageNames, out.path), hash_cobra(model)});
  return out;
}

CobraModel load_cobra(const CobraDescription& model, const Execution& execution,
                      CobraModel::Parts parts) {
  CobraModel out(model.config, read_cobra_weights(model, parts), execution, parts,
                 model.language.scheme);
  use_ranges(model, parts, out);
  return out;
}

Embedding load_cobra_embedding(const CobraDescription& model) {
  Weights weights = read_weights(cobra_language(model));
  WeightReader reader(weights);
  const MambaConfig& config = model.config.language;
  const LinearTensors table(reader, "backbone.embedding", config.vocabulary, config.width);
  if (table.weight.size() == 0 && table.packed.size() == 0)
    reader.finish();  // says what is missing
  return Embedding(table);
}

namespace {

/// What hash_cobra() is made of, in its order.
std::vector<fs::path> hashed_files(const CobraDescription& model) {
  std::vector<fs::path> files;
  const fs::path root(model.path);
  const auto add = [&](const fs::path& file) {
    if (fs::is_regular_file(file)) files.push_back(file);
  };
  const auto add_weights = [&](const fs::path& folder) {
    add(folder / "config.json");
    if (const std::string found = weights_in(folder); !found.empty()) {
      for (const std::string& file : checkpoint_files(found)) add(file);
    }
  };
  add(root / "config.json");
  add(root / kCheckpoint);
  for (const VisionConfig& tower : model.config.towers) {
    add_weights(root / "vision" / short_name(tower));
  }
  add_weights(root / "projector");
  add_weights(root / "llm");
  std::ranges::sort(files);
  return files;
}

}  // namespace

void hash_cobra_beside(const CobraDescription& model) {
  std::vector<std::string> files;
  for (const fs::path& file : hashed_files(model)) files.push_back(file.string());
  model.files->hash_beside(files);
}

std::string hash_cobra(const CobraDescription& model) {
  const fs::path root(model.path);
  Sha256 all;
  for (const fs::path& file : hashed_files(model)) {
    all.update(fmt::format("{}  {}\n", model.files->sha256(file.string()),
                           fs::relative(file, root).string()));
  }
  return all.hex();
}

std::vector<Tensor> tower_pixels(const CobraDescription& model, const Picture& picture) {
  std::vector<Tensor> out;
  std::optional<Picture> square;
  for (size_t i = 0; i < model.normalization.size(); ++i) {
    if (!square || !same_fill(model)) {
      square =
          to_square(picture, model.config.towers[i].image, model.strategy, model.normalization[i]);
    }
    out.push_back(to_pixels(*square, model.normalization[i]));
  }
  return out;
}

std::vector<MatView<const float>> pixel_views(const std::vector<Tensor>& pixels) {
  std::vector<MatView<const float>> out;
  for (const Tensor& tower : pixels) {
    const auto values = tower.values<float>();
    out.emplace_back(values.data(), 3, std::ssize(values) / 3);
  }
  return out;
}

}  // namespace scute
