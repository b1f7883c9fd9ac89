// How a tokenizer.json makes text of tokens.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "scute/base/json.h"

namespace scute {

/// The decoders of a file one after the other: ByteLevel, Replace, ByteFallback, Fuse, Strip,
/// Metaspace and sequences of them.
class Decoder {
 public:
  /// `node`: the member of a tokenizer.json, or null: tokens are then put one behind the other.
  Decoder(const Json* node, const std::string& at);
  Decoder(Decoder&&) noexcept;
  Decoder& operator=(Decoder&&) noexcept;
  ~Decoder();

  /// Whether tokens are only put one behind the other, read as bytes where they can be.
  bool plain() const;
  /// The text of `tokens`, as they stand in the vocabulary. Bytes that are no UTF-8 are kept.
  /// `continued`: other tokens stand before, so what is taken off a text's beginning is kept.
  std::string decode(std::vector<std::string> tokens, bool continued) const;

 private:
  struct Step;
  void add(const Json& node, const std::string& at);

  std::vector<Step> steps_;
};

}  // namespace scute
