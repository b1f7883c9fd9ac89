// Pictures and texts through what a collection needs of a Cobra: internal to this folder.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "scute/cobra/folder.h"
#include "scute/language/layer_pass.h"
#include "scute/models/embedding.h"
#include "scute/recipe/measure.h"

namespace scute {

/// Which parts of the model the sites asked for need.
struct CobraNeeds {
  std::vector<bool> towers;
  bool projector = false, text = false, blocks = false, head = false;

  bool vision() const;
};
/// Whether a site is this bucket or in it.
bool inside_bucket(const std::string& site, const std::string& bucket);
CobraNeeds cobra_needs(const std::vector<Site>& sites, const CobraConfig& config);

/// A picture as the towers see it, and its text.
struct CobraSample {
  int64_t number = 0;
  const std::vector<Tensor>* pixels = nullptr;
  std::span<const int32_t> ids;
};

class CobraPass {
 public:
  /// `by_layers`: pictures go through the language model's layers together, one of them in memory,
  /// and towers and projector are there before that alone. Not of a low-bit model, whose ranges
  /// are of the whole.
  CobraPass(const CobraDescription& description, const std::vector<Site>& sites, Compute compute,
            const std::optional<ByLayers>& by_layers);

  const CobraNeeds& needs() const { return needs_; }
  /// Pictures that are to be given to measure() at once.
  int64_t together(const Threads& threads) const;
  /// Shows these; returns how many were finished, as Measurement::run.
  int64_t measure(Measurement& measurement, std::span<const CobraSample> pictures);

 private:
  void load(CobraModel::Parts parts) { model_.emplace(load_cobra(description_, compute_, parts)); }
  void show(Run& run, const CobraSample& one) const;
  /// Through towers and projector, as far as they are needed; picture tokens × D, or nothing.
  MatView<float> see(Run& run, const std::vector<Tensor>& pixels) const;
  void read(Run& run, MatView<float> picture, std::span<const int32_t> ids) const;
  int64_t measure_by_layers(Measurement& measurement, std::span<const CobraSample> pictures,
                            std::span<const Sample> samples);

  const CobraDescription& description_;
  Compute compute_;
  CobraNeeds needs_;
  std::optional<Site> llm_;
  std::optional<ByLayers> by_layers_;
  std::optional<CobraModel> model_;  ///< by layers: while pictures are seen
  std::optional<LayeredModel> layered_;
  std::optional<Embedding> table_;
  int64_t width_ = 0, vocabulary_ = 0;
};

}  // namespace scute
