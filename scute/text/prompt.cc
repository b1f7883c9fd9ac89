#include "scute/text/prompt.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "scute/text/utf8.h"

namespace scute {
namespace {

constexpr std::string_view kEnd = "<|endoftext|>";
constexpr std::string_view kPicture = "<image>";

/// What Python's strip() takes: White_Space and the four separators of ASCII.
bool is_stripped(char32_t c) { return is_white_space(c) || (c >= 0x1c && c <= 0x1f); }

std::string_view stripped(std::string_view text) {
  while (!text.empty()) {
    const CodePoint first = read_code_point(text, 0);
    if (!is_stripped(first.value)) break;
    text.remove_prefix(first.bytes);
  }
  while (!text.empty()) {
    const CodePoint last = read_code_point_before(text, text.size());
    if (!is_stripped(last.value)) break;
    text.remove_suffix(last.bytes);
  }
  return text;
}

std::string cleaned(std::string_view message) {
  std::string storage, out;
  message = with_valid_utf8(message, storage);
  for (size_t at = 0; at < message.size();) {
    const size_t found = std::min(message.find(kPicture, at), message.size());
    out.append(message.substr(at, found - at));
    at = found + kPicture.size();
  }
  return std::string(stripped(out));
}

}  // namespace

PromptStyle prompt_style(std::string_view llm_backbone_id) {
  std::string lower(llm_backbone_id);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  });
  return lower.find("zephyr") == std::string::npos ? PromptStyle::plain : PromptStyle::zephyr;
}

std::string first_prompt(PromptStyle style, std::string_view message) {
  const std::string words = cleaned(message);
  return style == PromptStyle::zephyr ? fmt::format("<|user|>\n{}{}\n<|assistant|>\n", words, kEnd)
                                      : fmt::format("In: {}\nOut: ", words);
}

}  // namespace scute
