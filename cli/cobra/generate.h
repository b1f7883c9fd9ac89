// What scute generate goes on from: a language model, or Cobra's after a picture.
#pragma once

#include <optional>
#include <string>

#include "scute/cobra/generate.h"

namespace scute::cli {

/// The model that goes on with a text, and what it saw before the text.
class Voice {
 public:
  Voice(const ModelDescription& model, const Execution& execution);
  /// `image`: a file; empty: Cobra's language model alone, its towers are not loaded.
  Voice(const CobraDescription& model, const Execution& execution, const std::string& image);

  const LanguageModel& language() const;
  /// A row for each vector that a picture became; none without one.
  MatView<const float> before() const;
  /// What it took to look at the picture, decoding included.
  double seconds() const { return seconds_; }

 private:
  std::optional<LanguageModel> plain_;
  std::optional<CobraSpeaker> cobra_;
  Tensor picture_;
  double seconds_ = 0;
};

}  // namespace scute::cli
