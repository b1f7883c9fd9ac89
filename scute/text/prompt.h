// What a vision-language model is told, wrapped as it was trained.
#pragma once

#include <string>
#include <string_view>

namespace scute {

enum class PromptStyle {
  zephyr,  ///< "<|user|>\nM<|endoftext|>\n<|assistant|>\n"
  plain,   ///< "In: M\nOut: "
};

/// zephyr when the language model's name says so ("mamba-2.8b-zephyr", any case), else plain.
PromptStyle prompt_style(std::string_view llm_backbone_id);

/// `message` ready to be tokenized; it ends where the model is to answer. "<image>" is taken out of
/// it, then white space at both ends, as Python's strip() does: the pictures' own place is before
/// all text (scute/cobra/README.md).
std::string first_prompt(PromptStyle style, std::string_view message);

}  // namespace scute
