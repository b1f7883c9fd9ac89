// Tokens that a tokenizer.json puts around a text when it is asked for them (<s>, </s>).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scute/base/json.h"

namespace scute {

struct SpecialTokens {
  std::vector<int32_t> before, after;

  /// `node`: the post_processor, or null for none. TemplateProcessing's "single" with one text,
  /// ByteLevel (which adds nothing) and sequences of them; others are refused by name.
  static SpecialTokens parse(const Json* node, const std::string& at);
};

}  // namespace scute
