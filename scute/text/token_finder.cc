#include "scute/text/token_finder.h"

namespace scute {
namespace {

constexpr uint32_t kRoot = 0;

uint64_t edge(uint32_t node, unsigned char byte) { return uint64_t{node} * 256 + byte; }

}  // namespace

/// The root when there is none.
uint32_t TokenFinder::child(uint32_t node, unsigned char byte) const {
  if (node == kRoot) return first_[byte];
  const auto found = children_.find(edge(node, byte));
  return found == children_.end() ? kRoot : found->second;
}

uint32_t TokenFinder::step(uint32_t node, unsigned char byte) const {
  for (;; node = nodes_[node].shorter) {
    const uint32_t next = child(node, byte);
    if (next != kRoot || node == kRoot) return next;
  }
}

TokenFinder::TokenFinder(const std::vector<std::string_view>& tokens) : nodes_(1) {
  struct Edge {
    uint32_t parent, node;
    unsigned char byte;
  };
  std::vector<std::vector<Edge>> levels;
  for (size_t token = 0; token < tokens.size(); ++token) {
    uint32_t at = kRoot;
    for (size_t depth = 0; depth < tokens[token].size(); ++depth) {
      const std::string_view left = tokens[token].substr(0, tokens[token].size() - depth);
      const auto byte = static_cast<unsigned char>(left.back());
      uint32_t next = child(at, byte);
      if (next == kRoot) {
        next = static_cast<uint32_t>(nodes_.size());
        nodes_.emplace_back();
        (at == kRoot ? first_[byte] : children_[edge(at, byte)]) = next;
        if (levels.size() <= depth) levels.resize(depth + 1);
        levels[depth].push_back({at, next, byte});
      }
      at = next;
    }
    nodes_[at].token = static_cast<int64_t>(token);
  }
  // Level by level: a node's suffix is shorter, so it is finished before.
  for (const auto& level : levels) {
    for (const Edge& here : level) {
      Node& node = nodes_[here.node];
      if (here.parent != kRoot) node.shorter = step(nodes_[here.parent].shorter, here.byte);
      if (node.token < 0) node.token = nodes_[node.shorter].token;
    }
  }
}

std::vector<TokenFinder::Found> TokenFinder::find(std::string_view text) const {
  std::vector<Found> out;
  if (nodes_.size() < 2) return out;
  uint32_t node = kRoot;
  for (size_t at = text.size(); at-- > 0;) {
    node = step(node, static_cast<unsigned char>(text[at]));
    if (nodes_[node].token >= 0) {
      out.push_back({at, static_cast<size_t>(nodes_[node].token)});
    }
  }
  return out;
}

}  // namespace scute
