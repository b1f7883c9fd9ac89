#include "scute/base/keyed_hash.h"

#include <algorithm>
#include <cstring>
#include <random>

namespace scute {
namespace {

constexpr uint64_t kPrime = (uint64_t{1} << 61) - 1;
__extension__ typedef unsigned __int128 Wide;

/// factor · x + offset modulo the prime; all below it, but x, which may be any. Without a division.
uint64_t line(uint64_t factor, uint64_t x, uint64_t offset) {
  const Wide sum = Wide{factor} * x + offset;  // below 2^126
  const auto high = static_cast<uint64_t>(sum >> 61), low = static_cast<uint64_t>(sum) & kPrime;
  const uint64_t folded = (high >> 61) + (high & kPrime) + low;  // below 2^62 + 16
  const uint64_t once = (folded >> 61) + (folded & kPrime);      // at most the prime + 2
  return once >= kPrime ? once - kPrime : once;
}

struct Secret {
  uint64_t factor, offset;
};

const Secret& secret() {
  static const Secret drawn = [] {
    std::random_device device;
    const auto below_prime = [&] { return (uint64_t{device()} << 32 | device()) % kPrime; };
    const uint64_t factor = below_prime();
    return Secret{std::max<uint64_t>(factor, 1), below_prime()};
  }();
  return drawn;
}

}  // namespace

KeyedHash::KeyedHash() noexcept : factor_(secret().factor), offset_(secret().offset) {}

size_t KeyedHash::operator()(uint64_t key) const noexcept { return line(factor_, key, offset_); }

size_t KeyedHash::operator()(std::string_view key) const noexcept {
  // A polynomial in the factor, whose coefficients are seven bytes each, and the length.
  constexpr size_t kBytes = 7;
  uint64_t sum = key.size();
  while (!key.empty()) {
    uint64_t part = 0;
    const size_t count = std::min(key.size(), kBytes);
    std::memcpy(&part, key.data(), count);
    sum = line(factor_, sum, part);
    key.remove_prefix(count);
  }
  return line(factor_, sum, offset_);
}

}  // namespace scute
