#include "scute/cobra/writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "scute/language/tokenizer_files.h"
#include "scute/recipe/folder_writer.h"
#include "scute/recipe/statistics_io.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kVectors = 32, kTokens = 16;  // enough of a sequence to reach every tensor

std::vector<int32_t> random_ids(int64_t vocabulary, Random& random) {
  std::vector<int32_t> out;
  for (int64_t i = 0; i < kTokens; ++i) {
    out.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(vocabulary))));
  }
  return out;
}

Tensor logits_of(const CobraModel& model, Run& run, MatView<const float> picture, Random& random) {
  const LanguageModel& language = model.language();
  const std::vector<int32_t> ids = random_ids(language.config().vocabulary, random);
  const auto vectors = picture.slice_rows(0, std::min(picture.rows, kVectors));
  const int64_t length = vectors.rows + std::ssize(ids);
  State state = language.new_state();
  const auto hidden = run.matrix(length, language.config().width);
  language.hidden(run, vectors, ids, state, hidden);
  Tensor out(DType::f32, {length, language.config().vocabulary});
  language.logits(run, hidden, out.mutable_matrix<float>());
  return out;
}

}  // namespace

void write_part(const FolderWriter& folder, const std::string& part,
                const std::vector<NamedTensor>& tensors) {
  make_folder(folder.file(part));
  write_safetensors(folder.file(part + "/model.safetensors"), tensors, {{"format", "pt"}});
}

void write_tower(const CobraDescription& model, size_t index,
                 const std::vector<NamedTensor>& tensors, const FolderWriter& folder) {
  std::string part = model.config.towers[index].bucket;
  std::ranges::replace(part, '.', '/');
  write_part(folder, part, tensors);
  const std::string config = part + "/config.json";
  const fs::path from = fs::path(model.path) / config;
  if (fs::exists(from)) folder.copy(from.string(), config);  // else the architecture is known
}

void write_float_language(const ModelDescription& language, const FolderWriter& folder) {
  Weights weights = read_weights(language);
  std::vector<NamedTensor> tensors;
  for (const std::string& name : weights.names()) tensors.push_back({name, weights.take(name)});
  write_part(folder, "llm", tensors);
  write_file(folder.file("llm/config.json"), language.json.dump_config(2) + "\n");
  copy_tokenizer(language, folder, "llm/");
}

std::vector<NamedTensor> probe_cobra(const CobraModel& model, uint64_t seed) {
  Random random(seed);
  const CobraConfig& config = model.config();
  std::vector<Tensor> pictures;
  std::vector<MatView<const float>> pixels;
  for (const VisionConfig& tower : config.towers) {
    pictures.emplace_back(DType::f32, Shape{3, tower.image * tower.image});
    for (float& x : pictures.back().mutable_values<float>()) {
      x = static_cast<float>(random.normal());
    }
    pixels.push_back(std::as_const(pictures.back()).matrix<float>());
  }
  Run run;
  Tensor features(DType::f32, {config.towers.front().patches(), config.projector_config().vision});
  model.features(run, pixels, features.mutable_matrix<float>());
  Tensor rounded = Tensor::of<float>(features.shape(), features.values<float>());
  Tensor projected(DType::f32, {model.picture_tokens(), model.width()});
  model.project(run, rounded.mutable_matrix<float>(), projected.mutable_matrix<float>());
  const Tensor& picture = projected;
  Tensor logits = logits_of(model, run, picture.matrix<float>(), random);
  std::vector<NamedTensor> out{{"features", std::move(features)},
                               {"projector", std::move(projected)},
                               {"logits", std::move(logits)}};
  require_finite(out);
  return out;
}

ProbeComparison write_cobra(const LowBitCobra& model, const std::string& path, bool replace) {
  FolderWriter folder(path, {.sources = {model.description.path}, .replace = replace});
  return write_cobra(model, folder);
}

ProbeComparison write_cobra(const LowBitCobra& model, FolderWriter& folder) {
  for (size_t i = 0; i < model.towers.size(); ++i) {
    write_tower(model.description, i, model.towers[i], folder);
  }
  write_part(folder, "projector", model.projector);
  if (model.language) {
    write_low_bit(*model.language, folder.file("llm"), false);
  } else {
    write_float_language(model.float_language, folder);
  }
  write_file(folder.file("config.json"), model.description.json.dump_config(2) + "\n");
  write_file(folder.file("recipe.json"), model.recipe.dump(2) + "\n");
  if (!model.plan.sites.empty()) {
    write_file(folder.file("plan.json"), model.plan.to_json().dump(2) + "\n");
  }
  if (model.statistics) {
    write_statistics(folder.file("statistics.safetensors"), *model.statistics);
  }

  constexpr auto kAll = CobraModel::Parts::all;
  const Execution execution;
  // One after the other: a model of this kind fills memory.
  const auto here = probe_cobra(build_cobra(model, execution), kProbeSeed);
  const auto stored =
      probe_cobra(load_cobra(describe_cobra(folder.path()), execution, kAll), kProbeSeed);
  const ProbeComparison comparison = require_same_bits(here, stored, folder.target());
  folder.commit();
  return comparison;
}

}  // namespace scute
