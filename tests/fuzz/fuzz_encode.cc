// Any bytes as text: encoding and decoding give the text back, made valid and normalized.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "scute/base/json.h"
#include "scute/text/byte_alphabet.h"
#include "scute/text/normalize.h"
#include "scute/text/tokenizer.h"
#include "scute/text/utf8.h"

namespace scute::fuzz_encode {
namespace {

/// The 256 bytes, a few merges, and added tokens that overlap one another and the merges.
scute::Tokenizer make_tokenizer() {
  using scute::Json;
  Json root = Json::object();
  Json vocabulary = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.append_member(scute::token_of_byte(static_cast<uint8_t>(byte)), byte);
  }
  Json merges = Json::array();
  int next = 256;
  for (const auto& [left, right] : {std::pair("a", "b"),
                                    {"ab", "ab"},
                                    {"Ġ", "ab"},
                                    {"Ã", "©"},
                                    {"a", "a"},
                                    {"Ġ", "Ġ"},
                                    {"ĠĠ", "ĠĠ"}}) {
    vocabulary.append_member(std::string(left) + right, next++);
    merges.push_back(std::string(left) + " " + right);
  }
  for (const char* content : {"<m>", "<m><", "  ", "   ", "e\u0301", "word"}) {
    Json token = Json::object();
    token["id"] = next++;
    token["content"] = content;
    token["normalized"] = content[0] == ' ' || content[0] == 'e';
    token["single_word"] = content[0] == 'w';
    root["added_tokens"].push_back(token);
  }
  root["normalizer"]["type"] = "NFC";
  root["pre_tokenizer"]["type"] = "ByteLevel";
  root["pre_tokenizer"]["add_prefix_space"] = false;
  root["model"]["vocab"] = vocabulary;
  root["model"]["merges"] = merges;
  return scute::Tokenizer::parse(root.dump(), "fuzz");
}

/// What must come back: raw tokens cut the text before it is normalized, so "<m>" followed by a
/// mark keeps it apart; normalizing both sides makes them comparable.
std::string normal(std::string_view text) {
  std::string storage;
  return std::string(scute::normal_form(text, scute::NormalForm::nfc, storage));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const scute::Tokenizer tokenizer = make_tokenizer();
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::string storage;
  const std::string_view text = scute::with_valid_utf8(bytes, storage);
  // No Error is expected: the vocabulary has every byte.
  const std::string back = tokenizer.decode(tokenizer.encode(bytes));
  if (normal(back) != normal(text)) std::abort();
  return 0;
}

}  // namespace scute::fuzz_encode
