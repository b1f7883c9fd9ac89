// Two Cobra models on the same pictures and texts, stage by stage: how much a low-bit one keeps.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "scute/base/json.h"
#include "scute/cobra/folder.h"
#include "scute/cobra/picture_texts.h"
#include "scute/cobra/stages.h"
#include "scute/evaluate/kept_items.h"
#include "scute/evaluate/picture_error.h"

namespace scute {

/// Which pictures and texts two models are compared on.
struct CobraCompareOptions {
  std::string images;                        ///< folder
  TextOptions text = {};                     ///< text goes to both as the same ids
  std::optional<int64_t> max_pictures = {};  ///< of those that can be read; all without
  int threads = 0;                           ///< a picture stays on one; 0: all processors
  std::function<void(int64_t, int64_t)> progress = {};  ///< done and total; from any thread
  /// Of the pictures that can be read those that it knows or wants alone, task "pictures".
  KeptItems kept = KeptItems();
};

/// One picture: the values of the model against those of the reference.
struct PictureErrors {
  std::string picture;              ///< its path in the folder
  std::vector<VectorError> stages;  ///< as PictureComparison::stages; logits are the last
  bool same_argmax = false;         ///< of the token after picture and text
  double divergence = 0;            ///< of its distribution, nats
  /// Where the first value of either model that is not finite arises; empty: all errors are finite.
  std::string not_finite = {};
};

/// How far one model is from another, picture by picture.
struct PictureComparison {
  /// The towers' buckets, `projector`, and `logits` of the token after picture and text (all rows
  /// of the vocabulary, as the model gives them).
  std::vector<std::string> stages;
  std::vector<PictureErrors> items;  ///< in the order of the paths
  std::vector<std::string> corrupt;  ///< could not be decoded: path and reason
  int64_t listed = 0;                ///< pictures in the folder
  int64_t pictures = 0;              ///< of those, compared, here or elsewhere
  int64_t unused = 0;                ///< beyond max_pictures
  std::string pictures_sha256;       ///< over names and contents of those that were used, in order
  Json text;                         ///< PictureTexts::origin

  std::vector<VectorError> of_stage(size_t stage) const;
  MeanAndError same_argmax() const;  ///< share of the pictures
  MeanAndError divergence() const;
  /// PictureErrors::not_finite of the first picture that has one, and which it is.
  std::string not_finite() const;
};

/// The same for any number of threads. `model` and `reference` are built with all their parts from
/// their descriptions. Error when the two differ in what they see or in the size of a stage, or
/// when no picture can be read.
PictureComparison compare_cobra(const CobraDescription& description, const CobraModel& model,
                                const CobraDescription& reference_description,
                                const CobraModel& reference, const CobraCompareOptions& options);

/// The same, of the models one after the other, `together` pictures at once: a layer of a language
/// model in memory.
PictureComparison compare_cobra(const CobraDescription& description, LayeredCobra& model,
                                const CobraDescription& reference_description,
                                LayeredCobra& reference, int64_t together,
                                const CobraCompareOptions& options);

/// Everything that decides the items, models named by their hashes. Equal text, equal items.
Json comparison_key(const CobraDescription& model, const CobraDescription& reference,
                    const CobraCompareOptions& options, const Execution& execution);

/// Error naming site and picture where a value is no number; `path`: of the model.
void require_numbers(const PictureComparison& comparison, const std::string& path);

/// One picture a line, as JSON: {"picture", STAGE: {"relative_error", "cosine"}…, "same_argmax",
/// "divergence"}.
std::string items_text(const PictureComparison& comparison);

}  // namespace scute
