// What a tokenizer.json does to text before it is cut: NFC, signs put before it, signs exchanged.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "scute/base/json.h"

namespace scute {

class Normalizer {
 public:
  /// `node`: the member of a tokenizer.json, or null for none. NFC, Prepend, Replace and sequences
  /// of them; others are refused by name.
  Normalizer(const Json* node, const std::string& at);
  Normalizer(Normalizer&&) noexcept;
  Normalizer& operator=(Normalizer&&) noexcept;
  ~Normalizer();

  /// `text` (valid UTF-8) in normal form: `text` itself when nothing changes it, else `storage`.
  std::string_view apply(std::string_view text, std::string& storage) const;

 private:
  struct Step;
  void add(const Json& node, const std::string& at);

  std::vector<Step> steps_;
};

}  // namespace scute
