// Every place where one of many texts begins, found in one pass (Aho and Corasick's automaton).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace scute {

class TokenFinder {
 public:
  TokenFinder() = default;
  /// `tokens`: none is empty and no two are equal.
  explicit TokenFinder(const std::vector<std::string_view>& tokens);

  struct Found {
    size_t begin;  ///< in the text
    size_t token;  ///< the longest that begins there
  };
  /// From the end of `text` to its beginning. Time grows with the text alone.
  std::vector<Found> find(std::string_view text) const;

 private:
  struct Node {
    uint32_t shorter = 0;  ///< the longest proper suffix that is a node
    int64_t token = -1;    ///< the longest token that ends what was read; −1: none
  };
  uint32_t step(uint32_t node, unsigned char byte) const;
  uint32_t child(uint32_t node, unsigned char byte) const;

  // A trie of the tokens from their last byte to their first; node 0 is the root. The text is read
  // backwards, so that what ends in the automaton begins in the text.
  std::vector<Node> nodes_;
  std::array<uint32_t, 256> first_{};                ///< of the root; 0: none
  std::unordered_map<uint64_t, uint32_t> children_;  ///< by node · 256 + byte, of the others
};

}  // namespace scute
