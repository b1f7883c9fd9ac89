// A tokenizer as tokenizer.json describes it: text to ids and back, equal to the Hugging Face
// library's ids.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace scute {

/// Text to ids and back.
class Tokenizer {
 public:
  /// `json` is the text of a tokenizer.json: model BPE or Unigram; normalizers, pre-tokenizers,
  /// post-processors and decoders as normalizer.h, pretokenize.h, special_tokens.h and decoder.h
  /// list them; added tokens with their strip flags. Anything else is refused by name; `where` is
  /// the file named in errors. "truncation" and "padding" are not read: windows are cut elsewhere.
  static Tokenizer parse(std::string_view json, std::string_view where);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Whether encode() puts the file's special tokens around a text; off unless told.
  void use_special_tokens(bool on);
  bool uses_special_tokens() const;

  /// Text that is not UTF-8: each bad sequence is read as one U+FFFD, as
  /// Python's errors="replace" does. Safe to call from several threads. Error for a byte that the
  /// vocabulary cannot express (complete byte-level vocabularies express all), and once *cancelled
  /// is set (looked at before each word: twenty million characters take seconds).
  std::vector<int32_t> encode(std::string_view text,
                              const std::atomic<bool>* cancelled = nullptr) const;
  /// The ids of a text that goes on: without the special tokens that would end it.
  std::vector<int32_t> encode_beginning(std::string_view text,
                                        const std::atomic<bool>* cancelled = nullptr) const;
  /// The text of the ids, added tokens included. Error on an id outside the vocabulary. Bytes that
  /// are no UTF-8 are kept as they are. decode(encode(t)) is t in the tokenizer's normal form,
  /// unless add_prefix_space puts blanks before text or a token with lstrip or rstrip takes some.
  /// `continued`: other ids stand before, so what a decoder takes off a text's beginning is kept.
  std::string decode(const std::vector<int32_t>& ids, bool continued = false) const;
  /// Largest id + 1.
  int64_t size() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace scute
