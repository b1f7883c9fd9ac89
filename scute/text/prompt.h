// What a vision-language model is told: turns of a conversation, wrapped as it was trained.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace scute {

enum class PromptStyle {
  zephyr,  ///< "<|user|>\nM<|endoftext|>\n<|assistant|>\n", then "A<|endoftext|>"
  plain,   ///< "In: M\nOut: ", then "A<|endoftext|>"
};

/// zephyr when the language model's name says so ("mamba-2.8b-zephyr", any case), else plain.
PromptStyle prompt_style(std::string_view llm_backbone_id);

/// A conversation, turn by turn (spec cobra §1.8). Every human turn but the first begins with a
/// newline. "<image>" is taken out of each message, then white space at both ends, as Python's
/// strip() does. The pictures' own place is before all text.
class Prompt {
 public:
  explicit Prompt(PromptStyle style) : style_(style) {}

  /// What the human says. Error when the human had the last word: the model would be asked twice.
  void add_human(std::string_view message);
  /// What the model answered. An empty answer is one blank in zephyr. Error when it is not its
  /// turn.
  void add_assistant(std::string_view message);

  /// Ready to be tokenized; it ends where the model is to answer, or with its last answer.
  const std::string& text() const { return text_; }
  size_t turns() const { return turns_; }

 private:
  PromptStyle style_;
  std::string text_;
  size_t turns_ = 0;
};

/// The prompt of a conversation that `message` begins.
std::string first_prompt(PromptStyle style, std::string_view message);

}  // namespace scute
