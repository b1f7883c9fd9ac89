// For tests: memory images read back, lane by lane.
#pragma once

#include <charconv>
#include <string>
#include <string_view>
#include <vector>

#include "scute/base/error.h"

namespace scute::testing_mem {

/// The lanes of a text of 4 lanes a line, as $readmemh would place them; Error naming `where` and
/// the line for anything but 16 hexadecimal digits a line.
inline std::vector<int16_t> read_mem(std::string_view text, const std::string& where) {
  std::vector<int16_t> out;
  for (int number = 1; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    uint64_t value = 0;
    const char* end = line.data() + line.size();
    const auto read = std::from_chars(line.data(), end, value, 16);
    if (line.size() != 16 || read.ec != std::errc() || read.ptr != end) {
      fail(where + ", line " + std::to_string(number), "16 hexadecimal digits", line);
    }
    for (int lane = 0; lane < 4; ++lane, value >>= 16) {
      out.push_back(static_cast<int16_t>(static_cast<uint16_t>(value & 0xffff)));
    }
  }
  return out;
}

}  // namespace scute::testing_mem
