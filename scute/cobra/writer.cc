#include "scute/cobra/writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <utility>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "scute/language/layer_pass.h"
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

/// What the language model reads: some of a picture's vectors, and seeded ids behind them.
struct ProbedText {
  ProbedText(MatView<const float> picture, int64_t vocabulary, Random& random)
      : vectors(picture.slice_rows(0, std::min(picture.rows, kVectors))),
        ids(random_ids(vocabulary, random)) {}
  int64_t length() const { return vectors.rows + std::ssize(ids); }

  MatView<const float> vectors;
  std::vector<int32_t> ids;
};

Tensor logits_of(const LanguageModel& language, const ProbedText& text) {
  Run run;
  State state = language.new_state();
  const auto hidden = run.matrix(text.length(), language.config().width);
  language.hidden(run, text.vectors, text.ids, state, hidden);
  Tensor out(DType::f32, {text.length(), language.config().vocabulary});
  language.logits(run, hidden, out.mutable_matrix<float>());
  return out;
}

/// `logits`: of a text.
std::vector<NamedTensor> probed(const CobraModel& model, uint64_t seed,
                                const std::function<Tensor(const ProbedText& text)>& logits) {
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
  const ProbedText text(std::as_const(projected).matrix<float>(), config.language.vocabulary,
                        random);
  Tensor found = logits(text);
  std::vector<NamedTensor> out{{"features", std::move(features)},
                               {"projector", std::move(projected)},
                               {"logits", std::move(found)}};
  require_finite(out);
  return out;
}

/// The language model alone, a layer at a time, and towers and projector before it.
std::vector<NamedTensor> probe_by_layers(CobraModel vision, const ModelDescription& language,
                                         Weights weights) {
  LayeredModel layered(language.config, std::move(weights), Execution(), language.scheme);
  return probe_cobra(vision, layered, kProbeSeed);
}

ProbeComparison check_by_layers(const LowBitCobra& model, const std::string& path,
                                const std::string& target) {
  constexpr auto kVision = CobraModel::Parts::vision;
  const CobraDescription stored = describe_cobra(path);
  if (stored.ranges != model.description.ranges) {
    fail(target, "the ranges that were written", "others");
  }
  const ModelDescription made = model.language ? model.language->description : model.float_language;
  const auto here = probe_by_layers(
      build_cobra(model, {}, kVision), made,
      model.language ? tensors_of(*model.language) : read_weights(model.float_language));
  const ModelDescription language = cobra_language(stored);
  return require_same_bits(
      here, probe_by_layers(load_cobra(stored, {}, kVision), language, read_weights(language)),
      target);
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
  return probed(model, seed,
                [&](const ProbedText& text) { return logits_of(model.language(), text); });
}

std::vector<NamedTensor> probe_cobra(const CobraModel& vision, LayeredModel& language,
                                     uint64_t seed) {
  return probed(vision, seed, [&](const ProbedText& text) {
    const auto enter = [&](int64_t, Run& run, MatView<float> stream) {
      language.enter(run, text.vectors, text.ids, stream);
    };
    return logits_by_layers(language, text.length(), enter,
                            head_rows_at_once(language.config().width));
  });
}

ProbeComparison write_cobra(const LowBitCobra& model, const std::string& path, bool replace) {
  FolderWriter folder(path, {.sources = {model.description.path}, .replace = replace});
  return write_cobra(model, folder);
}

ProbeComparison write_cobra(const LowBitCobra& model, FolderWriter& folder, FolderCheck check) {
  for (size_t i = 0; i < model.towers.size(); ++i) {
    write_tower(model.description, i, model.towers[i], folder);
  }
  write_part(folder, "projector", model.projector);
  if (model.language) {
    FolderWriter llm(folder.file("llm"), {.sources = {model.language->description.path}});
    write_low_bit(*model.language, llm, check);
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

  ProbeComparison comparison;
  if (check == FolderCheck::by_layers) {
    comparison = check_by_layers(model, folder.path(), folder.target());
  } else {
    // One after the other: a model of this kind fills memory.
    const auto here = probe_cobra(build_cobra(model, {}), kProbeSeed);
    const auto stored = probe_cobra(
        load_cobra(describe_cobra(folder.path()), {}, CobraModel::Parts::all), kProbeSeed);
    comparison = require_same_bits(here, stored, folder.target());
  }
  folder.commit();
  return comparison;
}

}  // namespace scute
