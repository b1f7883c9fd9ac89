#include "scute/cobra/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <limits>

#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/base/threads.h"
#include "scute/cobra/collect_meta.h"
#include "scute/cobra/picture_reader.h"
#include "scute/evaluate/not_finite.h"
#include "scute/evaluate/score.h"
#include "scute/text/utf8.h"

namespace scute {
namespace {

/// Error unless both turn the same pictures and ids into stages of the same sizes.
void check_alike(const CobraDescription& model, const CobraDescription& reference) {
  const auto require = [&](bool same, std::string_view what) {
    if (same) return;
    fail(model.path, fmt::format("the {} of {}", what, reference.path),
         "another: they cannot be compared picture by picture");
  };
  const CobraConfig &a = model.config, &b = reference.config;
  require(a.towers.size() == b.towers.size(), "vision towers");
  for (size_t i = 0; i < a.towers.size(); ++i) {
    const VisionConfig &x = a.towers[i], &y = b.towers[i];
    require(x.bucket == y.bucket && x.image == y.image && x.patch == y.patch, "vision towers");
    require(x.width == y.width, "tower widths");
  }
  require(model.strategy == reference.strategy, "resize strategy");
  require(model.normalization == reference.normalization, "normalization of pixels");
  require(a.projector_config().tokens() == b.projector_config().tokens(), "projector");
  require(a.language.width == b.language.width, "language model's width");
  require(a.language.vocabulary == b.language.vocabulary, "vocabulary");
}

/// What a model makes of one picture and its text.
struct Stages {
  MatView<float> features, rows, logits;
};

/// Memory for them, of `run`.
Stages make_stages(Run& run, const CobraModel& model) {
  const CobraConfig& config = model.config();
  return {run.matrix(config.towers.front().patches(), config.projector_config().vision),
          run.matrix(model.picture_tokens(), model.width()),
          run.matrix(1, config.language.vocabulary)};
}

void read(Run& run, const CobraModel& model, MatView<const float> picture,
          std::span<const int32_t> ids, MatView<float> logits) {
  const Arena::Scope scope(run.arena());
  const LanguageModel& language = model.language();
  const auto hidden = run.matrix(picture.rows + std::ssize(ids), model.width());
  State state = language.new_state();
  language.hidden(run, picture, ids, state, hidden);
  language.logits(run, hidden.slice_rows(hidden.rows - 1, 1), logits);
}

std::span<const float> row_of(MatView<const float> x) {
  return {x.row(0), static_cast<size_t>(x.cols)};
}

/// Both models on one thread.
class Pair {
 public:
  Pair(const CobraModel& model, const CobraModel& reference)
      : model_(model), reference_(reference) {}

  PictureErrors operator()(Run& run, const std::vector<Tensor>& pixels,
                           std::span<const int32_t> ids) const {
    const Arena::Scope scope(run.arena());
    const Stages a = make_stages(run, model_), b = make_stages(run, reference_);
    const auto views = pixel_views(pixels);
    PictureErrors out;
    model_.features(run, views, a.features);
    reference_.features(run, views, b.features);
    int64_t column = 0;
    for (const VisionConfig& tower : model_.config().towers) {
      // Before the projector rounds them to the grid of its input.
      out.stages.push_back(vector_error(a.features.columns(column, tower.width),
                                        b.features.columns(column, tower.width)));
      column += tower.width;
    }
    model_.project(run, a.features, a.rows);
    reference_.project(run, b.features, b.rows);
    out.stages.push_back(vector_error(a.rows, b.rows));
    read(run, model_, a.rows, ids, a.logits);
    read(run, reference_, b.rows, ids, b.logits);
    const LogitError logits = logit_error(row_of(a.logits), row_of(b.logits));
    out.stages.push_back(logits.vector);
    out.same_argmax = logits.same_argmax;
    out.divergence = logits.divergence;
    const bool finite = std::ranges::all_of(
        out.stages, [](const VectorError& error) { return std::isfinite(error.relative); });
    if (!finite) out.not_finite = look(views, ids);
    return out;
  }

 private:
  /// Both once more, for what a watch sees.
  std::string look(const std::vector<MatView<const float>>& views,
                   std::span<const int32_t> ids) const {
    for (const CobraModel* model : {&model_, &reference_}) {
      NotFiniteWatch watch;
      Run run(&watch);
      const Stages stages = make_stages(run, *model);
      model->features(run, views, stages.features);
      model->project(run, stages.features, stages.rows);
      read(run, *model, stages.rows, ids, stages.logits);
      if (watch.found().empty()) continue;
      return watch.found() + (model == &model_ ? "" : " of the model it is compared with");
    }
    return "an error without bound, where the values it is compared with are zero";
  }

  const CobraModel& model_;
  const CobraModel& reference_;
};

std::vector<std::string> stage_names(const CobraConfig& config) {
  std::vector<std::string> out;
  for (const VisionConfig& tower : config.towers) out.push_back(tower.bucket);
  out.insert(out.end(), {"projector", "logits"});
  return out;
}

constexpr const char* kPictures = "pictures";

std::string inside_folder(const std::string& path, const std::string& folder) {
  return std::filesystem::path(path).lexically_relative(folder).string();
}

Json json_of(const PictureErrors& errors) {
  Json out;
  out["stages"] = Json::array();
  for (const VectorError& stage : errors.stages) {
    out["stages"].push_back(Json::Array{stage.relative, stage.cosine});
  }
  out["same_argmax"] = errors.same_argmax;
  out["divergence"] = errors.divergence;
  out["not_finite"] = errors.not_finite;
  return out;
}

PictureErrors errors_of(const Json& kept) {
  constexpr const char* kWhere = "a kept picture";
  const auto number = [](const Json& value) {
    return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.as_double(kWhere);
  };
  PictureErrors out;
  for (const Json& stage : kept.at("stages", kWhere).as_array(kWhere)) {
    const Json::Array& both = stage.as_array(kWhere);
    if (both.size() != 2) fail(kWhere, "two numbers a stage", stage.dump());
    out.stages.push_back({number(both[0]), number(both[1])});
  }
  out.same_argmax = kept.at("same_argmax", kWhere).as_bool(kWhere);
  out.divergence = number_of(kept, "divergence");
  out.not_finite = kept.at("not_finite", kWhere).as_string(kWhere);
  return out;
}

}  // namespace

Json comparison_key(const CobraDescription& model, const CobraDescription& reference,
                    const CobraCompareOptions& options, const Execution& execution) {
  Json key;
  key["tool"] = "scute " SCUTE_VERSION;
  key["model"] = hash_cobra(model);
  key["against"] = hash_cobra(reference);
  key["tokenizer"] = hash_tokenizer(model.language, options.text.input.tokenizer);
  key["pictures"] = hash_pictures(options.images);
  key["text"] = text_key(options.text);
  key["max_pictures"] = options.max_pictures ? Json(*options.max_pictures) : Json();
  key["compute"] = execution.compute == Compute::f32 ? "f32" : "bf16";
  key["backend"] = execution.backend == Backend::integer ? "integer" : "simulate";
  key["instruction_set"] = instruction_set(execution.compute);
  return key;
}

std::vector<VectorError> PictureComparison::of_stage(size_t stage) const {
  std::vector<VectorError> out;
  for (const PictureErrors& item : items) out.push_back(item.stages.at(stage));
  return out;
}

MeanAndError PictureComparison::same_argmax() const {
  const auto same = std::ranges::count(items, true, &PictureErrors::same_argmax);
  const double share = static_cast<double>(same) / static_cast<double>(items.size());
  return {share, share_error(share, std::ssize(items))};
}

MeanAndError PictureComparison::divergence() const {
  std::vector<double> out;
  for (const PictureErrors& item : items) out.push_back(item.divergence);
  return mean_and_error(out);
}

PictureComparison compare_cobra(const CobraDescription& description, const CobraModel& model,
                                const CobraDescription& reference_description,
                                const CobraModel& reference, const CobraCompareOptions& options) {
  check_alike(description, reference_description);
  if (options.max_pictures && *options.max_pictures < 1) {
    fail("--max-pictures", "at least 1", fmt::format("{}", *options.max_pictures));
  }
  PictureReader reader(description, options.images);
  PictureComparison out;
  out.stages = stage_names(description.config);
  out.listed = reader.listed();
  const PictureTexts texts(description, options.text, out.listed);
  out.text = texts.origin();

  const Pair pair(model, reference);
  const Threads threads(options.threads);
  std::vector<Run> runs = Run::of_workers(threads);
  const int64_t wanted = std::min(options.max_pictures.value_or(out.listed), out.listed);
  std::atomic<int64_t> done{0};
  Sha256 all;
  int64_t read = 0;
  while (read < wanted) {
    const auto loaded = reader.next_few(wanted - read, threads);
    if (loaded.empty()) break;
    std::vector<std::optional<PictureErrors>> errors(loaded.size());
    threads.for_each(std::ssize(loaded), [&](int64_t i, int worker) {
      const auto& picture = loaded[static_cast<size_t>(i)];
      auto& one = errors[static_cast<size_t>(i)];
      if (const Json* known = options.kept.find(kPictures, read + i)) one = errors_of(*known);
      if (!one && options.kept.wants(read + i)) {
        one = pair(runs[static_cast<size_t>(worker)], picture.pixels, texts.of(picture.number));
        options.kept.tell(kPictures, read + i, json_of(*one));
      }
      if (one && one->stages.size() != out.stages.size()) {
        fail("a kept picture", fmt::format("{} stages", out.stages.size()),
             fmt::format("{}", one->stages.size()));
      }
      if (one) one->picture = inside_folder(picture.path, options.images);
      if (options.progress) options.progress(done.fetch_add(1) + 1, wanted);
    });
    for (size_t i = 0; i < loaded.size(); ++i) {
      const std::string& sha256 = reader.used()[static_cast<size_t>(read) + i].sha256;
      all.update(fmt::format("{}  {}\n", sha256, inside_folder(loaded[i].path, options.images)));
      if (errors[i]) out.items.push_back(std::move(*errors[i]));
    }
    read += std::ssize(loaded);
  }
  out.corrupt = reader.corrupt();
  out.unused = reader.left();
  reader.require_one();
  out.pictures = read;
  out.pictures_sha256 = all.hex();
  return out;
}

std::string PictureComparison::not_finite() const {
  for (const PictureErrors& item : items) {
    if (!item.not_finite.empty()) return fmt::format("{}, with {}", item.not_finite, item.picture);
  }
  return "";
}

void require_numbers(const PictureComparison& comparison, const std::string& path) {
  const std::string not_finite = comparison.not_finite();
  if (!not_finite.empty()) fail(path, "finite values at every site", not_finite);
}

std::string items_text(const PictureComparison& comparison) {
  std::string out;
  for (const PictureErrors& item : comparison.items) {
    Json line;
    std::string storage;
    line["picture"] = with_valid_utf8(item.picture, storage);
    for (size_t s = 0; s < comparison.stages.size(); ++s) {
      line[comparison.stages[s]]["relative_error"] = item.stages[s].relative;
      line[comparison.stages[s]]["cosine"] = item.stages[s].cosine;
    }
    line["same_argmax"] = item.same_argmax;
    line["divergence"] = item.divergence;
    out += line.dump() + "\n";
  }
  return out;
}

}  // namespace scute
