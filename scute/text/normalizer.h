// What a tokenizer.json does to text before it is cut: normal forms, small letters, signs put
// before it, signs exchanged.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "scute/base/json.h"

namespace scute {

struct NormalText {
  std::string_view text;
  bool from_start;  ///< what the text began with was not taken off
};

class Normalizer {
 public:
  /// `node`: the member of a tokenizer.json, or null for none. NFC, NFD, NFKC, NFKD, Lowercase,
  /// Strip, Prepend, Replace and sequences of them; others are refused by name.
  Normalizer(const Json* node, const std::string& at);
  Normalizer(Normalizer&&) noexcept;
  Normalizer& operator=(Normalizer&&) noexcept;
  ~Normalizer();

  /// `text` (valid UTF-8) in normal form: a part of `text` when nothing else changes it, or one
  /// of `storage`.
  NormalText apply(std::string_view text, std::string& storage) const;

 private:
  struct Step;
  void add(const Json& node, const std::string& at);

  std::vector<Step> steps_;
};

}  // namespace scute
