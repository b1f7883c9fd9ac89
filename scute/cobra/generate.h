// Cobra as it is talked to: a picture, a prompt, a language model that goes on from both.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "scute/cobra/folder.h"

namespace scute {

/// What a human says, as the model was trained to read it, and its ids.
struct CobraPrompt {
  std::string text;
  std::vector<int32_t> ids;  ///< at most the model's text_length; the rest is cut off
  int64_t cut = 0;           ///< how many were
};
/// Error when nothing is left of the message that a token could stand for.
CobraPrompt cobra_prompt(const CobraDescription& model, const Tokenizer& tokenizer,
                         std::string_view message);

/// A model ready to answer. Its language model is that of evaluate's generate().
class CobraSpeaker {
 public:
  enum class Senses { text, pictures };  ///< text: towers and projector are not loaded

  CobraSpeaker(const CobraDescription& model, const Execution& execution, Senses senses);

  const LanguageModel& language() const;
  /// What comes before the prompt: picture_tokens() × D. Error when it was built for text alone.
  Tensor look(const Picture& picture, const Team& team = {}) const;

 private:
  CobraDescription description_;
  std::variant<LanguageModel, CobraModel> model_;
};

}  // namespace scute
