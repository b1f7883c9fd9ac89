// A share of numbered things.
#pragma once

#include <cstdint>
#include <string>

namespace scute {

/// One of `of` shares: the things numbered index, index + of, index + 2·of, … from 0.
struct Shard {
  int64_t index = 0, of = 1;

  /// "I/N", 0 ≤ I < N. Error naming `where` and what was found instead.
  static Shard parse(const std::string& text, const std::string& where);
  std::string text() const;
  bool takes(int64_t number) const { return number % of == index; }
  /// How many of `all` things.
  int64_t count(int64_t all) const { return all <= index ? 0 : (all - index - 1) / of + 1; }
  /// The number of its i-th thing among all.
  int64_t nth(int64_t i) const { return index + i * of; }
  bool operator==(const Shard&) const = default;
};

}  // namespace scute
