// Text cut into the words inside which byte pairs may merge.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "scute/base/json.h"
#include "scute/text/pattern.h"

namespace scute {

/// GPT-2's words: an English contraction, letters, digits or other signs with at most one blank
/// before them, or white space.
class WordSplitter {
 public:
  WordSplitter();

  /// Calls word() for each word of `text` (valid UTF-8), in order; together they are the text.
  /// Linear in the text. Error when the regular expression engine gives up.
  void split(std::string_view text, const std::function<void(std::string_view word)>& word) const;

 private:
  Pattern pattern_;
};

/// A file's pre-tokenizers, one after the other: ByteLevel, Split, Digits, Punctuation, Metaspace
/// and sequences of them.
class PreTokenizer {
 public:
  /// What a word is written in: bytes as they are when ByteLevel came last, else characters, which
  /// after ByteLevel are those of the byte alphabet.
  enum class Unit { bytes, characters };
  using Word = std::function<void(std::string_view word, Unit unit)>;

  /// `node`: the member of a tokenizer.json, or null for none (each text is then one word). Others
  /// and expressions that mean another thing here are refused by name.
  PreTokenizer(const Json* node, const std::string& at);
  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;
  ~PreTokenizer();

  /// Calls word() for the words of `text` (valid UTF-8) in order; none is empty. `at_start`: it is
  /// the beginning of the whole text.
  void split(std::string_view text, bool at_start, const Word& word) const;

 private:
  struct Step;
  void add(const Json& node, const std::string& at);
  void run(size_t step, std::string_view text, bool at_start, const Word& word) const;

  std::vector<Step> steps_;
};

}  // namespace scute
