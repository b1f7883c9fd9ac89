// A cursor over untrusted bytes: every read is checked against what is left.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "scute/base/error.h"

namespace scute {

/// Little-endian integers and runs of bytes, in order; Error naming `where` at the end of the
/// bytes.
class ByteReader {
 public:
  ByteReader(std::span<const std::byte> bytes, std::string_view where)
      : bytes_(bytes), where_(where) {}

  size_t position() const { return position_; }
  size_t left() const { return bytes_.size() - position_; }

  std::span<const std::byte> take(uint64_t count) {
    if (count > left()) {
      fail(where_, std::to_string(count) + " bytes from byte " + std::to_string(position_) + " on",
           std::to_string(left()));
    }
    const auto part = bytes_.subspan(position_, static_cast<size_t>(count));
    position_ += part.size();
    return part;
  }
  std::string_view text(uint64_t count) {
    const auto part = take(count);
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }
  /// Up to the next newline, which is skipped.
  std::string_view line() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + position_, left());
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) fail(where_, "a line", "the end of the data");
    position_ += end + 1;
    return rest.substr(0, end);
  }
  template <class T>
  T little() {
    T value;
    static_assert(std::endian::native == std::endian::little);
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  std::string_view where_;
  size_t position_ = 0;
};

}  // namespace scute
