// For tests: a tokenizer.json made in memory.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "scute/base/json.h"
#include "scute/text/byte_alphabet.h"

namespace scute::fixtures {

using Merges = std::vector<std::pair<std::string, std::string>>;

/// Byte b has id b, so that 'a' reads as 97; merge i, written in the byte alphabet, makes id 256+i.
inline Json small_model(const Merges& merges) {
  Json vocabulary = Json::object();
  Json list = Json::array();
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.append_member(token_of_byte(static_cast<uint8_t>(byte)), Json(byte));
  }
  int next = 256;
  for (const auto& [left, right] : merges) {
    vocabulary.append_member(left + right, Json(next++));
    list.push_back(Json(left + " " + right));
  }
  Json model = Json::object();
  model["type"] = "BPE";
  model["vocab"] = std::move(vocabulary);
  model["merges"] = std::move(list);
  return model;
}

/// NFC, ByteLevel with its regular expression and without a prefix blank, no added token.
inline Json small_tokenizer(const Merges& merges) {
  Json root = Json::object();
  root["added_tokens"] = Json::array();
  root["normalizer"]["type"] = "NFC";
  root["pre_tokenizer"]["type"] = "ByteLevel";
  root["pre_tokenizer"]["add_prefix_space"] = false;
  root["decoder"]["type"] = "ByteLevel";
  root["model"] = small_model(merges);
  return root;
}

/// An entry for "added_tokens", with all flags false.
inline Json added_token(int id, std::string_view content) {
  Json token = Json::object();
  token["id"] = id;
  token["content"] = content;
  for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized", "special"}) {
    token[flag] = false;
  }
  return token;
}

}  // namespace scute::fixtures
