// Whether data that a model is scored on were seen in calibration: hashed windows of both.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace scute {

/// How much of some data is also elsewhere. Units are whatever was hashed: tokens, pictures,
/// frames.
struct Overlap {
  int64_t units = 0;   ///< looked at
  int64_t shared = 0;  ///< of them, those inside a window that is elsewhere too
  int64_t length = 0;  ///< of such a window

  double share() const {
    return units == 0 ? 0 : static_cast<double>(shared) / static_cast<double>(units);
  }
  /// Adds what was found in other data of the same windows.
  void add(const Overlap& other);
};

/// The hashes (61 bits) of every window of `length` consecutive units of some sequences, at any
/// place in them; a shorter sequence is a window of its own. 8 bytes a unit. Two windows that
/// differ have one hash once in 10^18 pairs, so that a window found is one that is there.
class WindowHashes {
 public:
  /// `length`: at least 1.
  explicit WindowHashes(int64_t length);

  /// Units are any numbers: ids, or hashes of what a unit is.
  void add(std::span<const uint64_t> units);
  void add(std::span<const int32_t> ids);
  /// Which units of a sequence lie in a window that was added. Not beside add().
  Overlap find(std::span<const uint64_t> units);
  Overlap find(std::span<const int32_t> ids);
  bool empty() const { return hashes_.empty(); }

 private:
  std::vector<uint64_t> of(std::span<const uint64_t> units) const;

  int64_t length_;
  std::vector<uint64_t> hashes_;
  bool sorted_ = true;
};

/// Tokens in a row that texts do not share by chance, apart from what is quoted or copied.
inline constexpr int64_t kSharedTokens = 64;

/// A number for some bytes, as a unit: the beginning of their SHA-256.
uint64_t unit_of(std::string_view bytes);

}  // namespace scute
