#include "scute/data/overlap.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "scute/base/error.h"
#include "scute/base/hash.h"

namespace scute {
namespace {

/// A prime; the hash of a window is a polynomial of its units modulo this (Rabin and Karp).
constexpr uint64_t kPrime = (uint64_t{1} << 61) - 1;
constexpr uint64_t kBase = 0x1F3A5C9E7B2D4F61 % kPrime;

__extension__ using Wide = unsigned __int128;

uint64_t product(uint64_t a, uint64_t b) {
  return static_cast<uint64_t>(static_cast<Wide>(a) * b % kPrime);
}

/// Spreads a unit over all bits (the finalizer of SplitMix64): ids are small numbers.
uint64_t mixed(uint64_t unit) {
  unit += 0x9E3779B97F4A7C15;
  unit = (unit ^ (unit >> 30)) * 0xBF58476D1CE4E5B9;
  unit = (unit ^ (unit >> 27)) * 0x94D049BB133111EB;
  return (unit ^ (unit >> 31)) % kPrime;
}

std::vector<uint64_t> units_of(std::span<const int32_t> ids) {
  std::vector<uint64_t> out;
  out.reserve(ids.size());
  for (const int32_t id : ids) out.push_back(static_cast<uint64_t>(id));
  return out;
}

}  // namespace

void Overlap::add(const Overlap& other) {
  units += other.units;
  shared += other.shared;
  length = other.length;
}

WindowHashes::WindowHashes(int64_t length) : length_(length) {
  if (length < 1) fail("window", "at least one unit", std::to_string(length));
}

/// Of the window that begins at each place; one for all of a sequence that is shorter.
std::vector<uint64_t> WindowHashes::of(std::span<const uint64_t> units) const {
  const auto size = std::ssize(units), length = std::min<std::ptrdiff_t>(length_, size);
  std::vector<uint64_t> out;
  if (size == 0) return out;
  uint64_t hash = 0, first = 1;  // the power of the base at a window's first unit
  for (std::ptrdiff_t i = 1; i < length; ++i) first = product(first, kBase);
  for (std::ptrdiff_t i = 0; i < size; ++i) {
    if (i >= length) {
      const uint64_t gone = product(first, mixed(units[static_cast<size_t>(i - length)]));
      hash = (hash + kPrime - gone) % kPrime;
    }
    hash = (product(hash, kBase) + mixed(units[static_cast<size_t>(i)])) % kPrime;
    if (i + 1 >= length) out.push_back(hash);
  }
  return out;
}

void WindowHashes::add(std::span<const uint64_t> units) {
  const std::vector<uint64_t> more = of(units);
  hashes_.insert(hashes_.end(), more.begin(), more.end());
  sorted_ = false;
}

void WindowHashes::add(std::span<const int32_t> ids) {
  const std::vector<uint64_t> units = units_of(ids);
  add(std::span(units));
}

Overlap WindowHashes::find(std::span<const uint64_t> units) {
  if (!sorted_) {
    std::ranges::sort(hashes_);
    sorted_ = true;
  }
  Overlap out{.units = std::ssize(units), .shared = 0, .length = length_};
  const std::vector<uint64_t> own = of(units);
  const auto length = std::min<int64_t>(length_, out.units);
  int64_t counted = 0;  // units before this place are
  for (int64_t i = 0; i < std::ssize(own); ++i) {
    if (!std::ranges::binary_search(hashes_, own[static_cast<size_t>(i)])) continue;
    out.shared += i + length - std::max(counted, i);
    counted = i + length;
  }
  return out;
}

Overlap WindowHashes::find(std::span<const int32_t> ids) {
  const std::vector<uint64_t> units = units_of(ids);
  return find(std::span(units));
}

uint64_t unit_of(std::string_view bytes) {
  const std::string hex = sha256(bytes);
  constexpr int kDigits = 16;
  uint64_t out = 0;
  std::from_chars(hex.data(), hex.data() + kDigits, out, 16);
  return out;
}

}  // namespace scute
