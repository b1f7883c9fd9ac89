// Cobra: pictures through one or two vision towers and a projector into a Mamba language model
// (README.md).
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "scute/models/language/language_model.h"
#include "scute/models/vision/projector.h"
#include "scute/models/vision/vision_tower.h"

namespace scute {

/// The shape of a Cobra.
struct CobraConfig {
  std::vector<VisionConfig> towers;  ///< in the order of their columns: vision.dino, vision.siglip
  ProjectorKind projector = ProjectorKind::fused_gelu_mlp;
  MambaConfig language;

  ProjectorConfig projector_config() const;
  /// Error naming `where`: no towers, different grids, a number that makes no sense.
  void check(std::string_view where) const;
};

/// Every site of a model, known from its config and scheme: the towers', the projector's, then the
/// language model's, whose `embedding:output` is the bucket `llm` here (the old name is an alias).
struct CobraSites {
  std::vector<VisionSites> towers;
  ProjectorSites projector;
  LanguageModelSites language;  ///< its list holds all sites

  explicit CobraSites(const CobraConfig& config, const Scheme& scheme = {});
  CobraSites(const CobraSites&);
  CobraSites(CobraSites&&) noexcept;
  CobraSites& operator=(const CobraSites&);
  CobraSites& operator=(CobraSites&&) noexcept;
  ~CobraSites();
  const SiteList& list() const { return language.list; }
};

/// The tensors of the parts.
struct CobraWeights {
  std::vector<Weights> towers;  ///< as the config's
  Weights projector, language;
};

/// A Cobra that runs.
class CobraModel {
 public:
  /// What is built; the rest may not be called.
  enum class Parts { vision, vision_and_language, all };  ///< all: the head too

  CobraModel(const CobraConfig& config, CobraWeights weights, const Execution& execution,
             Parts parts = Parts::all, const Scheme& scheme = {});
  CobraModel(const CobraModel&);
  CobraModel(CobraModel&&) noexcept;
  CobraModel& operator=(const CobraModel&);
  CobraModel& operator=(CobraModel&&) noexcept;
  ~CobraModel();

  const CobraConfig& config() const { return config_; }
  const SiteList& sites() const { return sites_.list(); }
  const LanguageModel& language() const { return language_; }
  /// Rows that a picture takes in the language model's sequence, and their width.
  int64_t picture_tokens() const { return projector_.config().tokens(); }
  int64_t width() const { return config_.language.width; }

  /// One tower: pixels: 3 × image² (a channel a row), out: patches × its width.
  void tower(Run& run, size_t index, MatView<const float> pixels, MatView<float> out) const;
  /// pixels: one view a tower, 3 × image²; out: patches × V, the towers' outputs side by side.
  void features(Run& run, std::span<const MatView<const float>> pixels, MatView<float> out) const;
  /// features: patches × V (rounded and clipped in place); out: picture_tokens() × D.
  void project(Run& run, MatView<float> features, MatView<float> out) const;
  /// Both.
  void picture(Run& run, std::span<const MatView<const float>> pixels, MatView<float> out) const;

  /// Keeps what passes this site within [lo, hi] from now on. Where the site is the input of a
  /// product with 8-bit inputs, its scale becomes max(|lo|, |hi|) / 127. Error naming the nearest
  /// sites when there is none, or when lo < hi is not so; inside the language model also as
  /// LanguageModel::set_range. Not while another thread runs the model.
  void set_range(std::string_view site, float lo, float hi);
  /// What set_range() has set, by the sites' own names.
  const std::map<std::string, std::pair<float, float>>& ranges() const { return ranges_; }
  ModelSize size() const;
  /// Of a picture through towers and projector.
  ModelWork work_of_picture() const;

 private:
  CobraConfig config_;
  CobraSites sites_;
  Parts parts_;
  SiteGrids grids_;
  std::vector<VisionTower> towers_;
  Projector projector_;
  LanguageModel language_;
  std::map<std::string, std::pair<float, float>> ranges_;
};

}  // namespace scute
