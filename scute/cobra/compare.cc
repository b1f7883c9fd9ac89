#include "scute/cobra/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <utility>

#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/base/threads.h"
#include "scute/cobra/collect_meta.h"
#include "scute/cobra/picture_reader.h"
#include "scute/cobra/stages.h"
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

std::span<const float> row_of(MatView<const float> x) {
  return {x.row(0), static_cast<size_t>(x.cols)};
}

/// Where a value that is not finite arises, as a watch sees that model's pass; "": nowhere.
using Look = std::function<std::string(const PictureAndText& one)>;

/// `model`, `reference`: where theirs arise.
PictureErrors errors_between(const CobraConfig& config, const CobraStages& a, const CobraStages& b,
                             const PictureAndText& one, const Look& model, const Look& reference) {
  PictureErrors out;
  int64_t column = 0;
  for (const VisionConfig& tower : config.towers) {
    out.stages.push_back(vector_error(a.features.columns(column, tower.width),
                                      b.features.columns(column, tower.width)));
    column += tower.width;
  }
  out.stages.push_back(vector_error(a.rows, b.rows));
  const LogitError logits = logit_error(row_of(a.logits), row_of(b.logits));
  out.stages.push_back(logits.vector);
  out.same_argmax = logits.same_argmax;
  out.divergence = logits.divergence;
  const bool finite = std::ranges::all_of(
      out.stages, [](const VectorError& error) { return std::isfinite(error.relative); });
  if (finite) return out;
  out.not_finite = model(one);
  if (!out.not_finite.empty()) return out;
  const std::string found = reference(one);
  out.not_finite = found.empty()
                       ? "an error without bound, where the values it is compared with are zero"
                       : found + " of the model it is compared with";
  return out;
}

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

namespace {

/// How pictures that are in memory together are compared.
struct PicturePair {
  int64_t together = 0;  ///< pictures; 0: two for each thread
  /// Calls found(index) with the errors of each once, from any thread.
  std::function<void(std::span<const PictureAndText> pictures, const Threads& threads,
                     std::span<Run> runs,
                     const std::function<void(int64_t index, PictureErrors errors)>& found)>
      errors;
};

PicturePair pair_of(const CobraModel& model, const CobraModel& reference) {
  const auto look = [](const CobraModel& whose) {
    return [&whose](const PictureAndText& one) {
      NotFiniteWatch watch;
      Run run(&watch);
      fill_stages(run, whose, one, make_stages(run, whose.config()));
      return watch.found();
    };
  };
  return {.errors = [&model, &reference, look](auto pictures, const Threads& threads,
                                               std::span<Run> runs, const auto& found) {
    threads.for_each(std::ssize(pictures), [&](int64_t i, int worker) {
      Run& run = runs[static_cast<size_t>(worker)];
      const PictureAndText& one = pictures[static_cast<size_t>(i)];
      const Arena::Scope scope(run.arena());
      const CobraStages a = make_stages(run, model.config());
      const CobraStages b = make_stages(run, reference.config());
      fill_stages(run, model, one, a);
      fill_stages(run, reference, one, b);
      found(i, errors_between(model.config(), a, b, one, look(model), look(reference)));
    });
  }};
}

PicturePair pair_of(LayeredCobra& model, LayeredCobra& reference, int64_t together) {
  const auto look = [](LayeredCobra& whose) {
    return [&whose](const PictureAndText& one) {
      NotFiniteWatch watch;
      Run alone(&watch), memory;
      const CobraStages stages = make_stages(memory, whose.config());
      whose.fill({&one, 1}, {&stages, 1}, Threads(1), {&alone, 1});
      return watch.found();
    };
  };
  return {.together = together,
          .errors = [&model, &reference, look](auto pictures, const Threads& threads,
                                               std::span<Run> runs, const auto& found) {
            Run memory;
            std::vector<CobraStages> a, b;
            for (size_t i = 0; i < pictures.size(); ++i) {
              a.push_back(make_stages(memory, model.config()));
              b.push_back(make_stages(memory, reference.config()));
            }
            model.fill(pictures, a, threads, runs);
            reference.fill(pictures, b, threads, runs);
            for (size_t i = 0; i < pictures.size(); ++i) {
              found(static_cast<int64_t>(i), errors_between(model.config(), a[i], b[i], pictures[i],
                                                            look(model), look(reference)));
            }
          }};
}

/// Pictures one chunk after the other.
class Comparison {
 public:
  Comparison(const CobraDescription& model, const CobraCompareOptions& options, PicturePair pair)
      : options_(options),
        pair_(std::move(pair)),
        threads_(options.threads),
        runs_(Run::of_workers(threads_)),
        reader_(model, options.images),
        texts_(model, options.text, reader_.listed()) {
    out_.stages = stage_names(model.config);
    out_.listed = reader_.listed();
    out_.text = texts_.origin();
  }

  PictureComparison run() {
    const int64_t wanted = std::min(options_.max_pictures.value_or(out_.listed), out_.listed);
    while (read_ < wanted) {
      const int64_t left = wanted - read_;
      const auto loaded = pair_.together > 0
                              ? reader_.next(std::min(left, pair_.together), threads_)
                              : reader_.next_few(left, threads_);
      if (loaded.empty()) break;
      add(loaded, wanted);
    }
    out_.corrupt = reader_.corrupt();
    out_.unused = reader_.left();
    reader_.require_one();
    out_.pictures = read_;
    out_.pictures_sha256 = all_.hex();
    return std::move(out_);
  }

 private:
  void add(const std::vector<PictureReader::Loaded>& loaded, int64_t wanted) {
    std::vector<std::optional<PictureErrors>> errors(loaded.size());
    std::vector<PictureAndText> pictures;
    std::vector<size_t> places;
    const auto finished = [&](int64_t count) {
      const int64_t done = done_.fetch_add(count) + count;
      if (options_.progress) options_.progress(done, wanted);
    };
    for (size_t i = 0; i < loaded.size(); ++i) {
      const int64_t number = read_ + static_cast<int64_t>(i);
      const Json* known = options_.kept.find(kPictures, number);
      if (known != nullptr) {
        errors[i] = errors_of(*known);
        check_stages(*errors[i]);
      }
      if (errors[i] || !options_.kept.wants(number)) {
        finished(1);
        continue;
      }
      places.push_back(i);
      pictures.push_back({&loaded[i].pixels, texts_.of(loaded[i].number)});
    }
    pair_.errors(pictures, threads_, runs_, [&](int64_t index, PictureErrors found) {
      const size_t i = places[static_cast<size_t>(index)];
      options_.kept.tell(kPictures, read_ + static_cast<int64_t>(i), json_of(found));
      errors[i] = std::move(found);
      finished(1);
    });
    for (size_t i = 0; i < loaded.size(); ++i) {
      const std::string& sha256 = reader_.used()[static_cast<size_t>(read_) + i].sha256;
      const std::string path = inside_folder(loaded[i].path, options_.images);
      all_.update(fmt::format("{}  {}\n", sha256, path));
      if (!errors[i]) continue;
      errors[i]->picture = path;
      out_.items.push_back(std::move(*errors[i]));
    }
    read_ += std::ssize(loaded);
  }

  void check_stages(const PictureErrors& kept) const {
    if (kept.stages.size() == out_.stages.size()) return;
    fail("a kept picture", fmt::format("{} stages", out_.stages.size()),
         fmt::format("{}", kept.stages.size()));
  }

  const CobraCompareOptions& options_;
  PicturePair pair_;
  Threads threads_;
  std::vector<Run> runs_;
  PictureReader reader_;
  PictureTexts texts_;
  PictureComparison out_;
  std::atomic<int64_t> done_{0};
  Sha256 all_;
  int64_t read_ = 0;
};

void check_pictures(const CobraCompareOptions& options) {
  if (options.max_pictures && *options.max_pictures < 1) {
    fail("--max-pictures", "at least 1", fmt::format("{}", *options.max_pictures));
  }
}

}  // namespace

PictureComparison compare_cobra(const CobraDescription& description, const CobraModel& model,
                                const CobraDescription& reference_description,
                                const CobraModel& reference, const CobraCompareOptions& options) {
  check_alike(description, reference_description);
  check_pictures(options);
  return Comparison(description, options, pair_of(model, reference)).run();
}

PictureComparison compare_cobra(const CobraDescription& description, LayeredCobra& model,
                                const CobraDescription& reference_description,
                                LayeredCobra& reference, int64_t together,
                                const CobraCompareOptions& options) {
  check_alike(description, reference_description);
  check_pictures(options);
  return Comparison(description, options, pair_of(model, reference, together)).run();
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
