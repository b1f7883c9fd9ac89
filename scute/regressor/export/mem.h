// Memory images as $readmemh reads them: hexadecimal lanes, lane 0 at the right end of a line.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "scute/tensor/mat_view.h"

namespace scute {

/// 16 digits a line, 4 lanes of 16 bits, lane 0 the least significant; each row begins a line and
/// is filled up with zero lanes.
std::string mem_text(MatView<const int16_t> rows);
std::string mem_text(std::span<const int16_t> row);
std::string mem_text(std::span<const uint16_t> row);
/// 16 digits a line, one lane of 64 bits.
std::string mem_text(std::span<const int64_t> values);
/// 4 digits a line, one lane of 16 bits.
std::string hex_text(std::span<const uint16_t> values);

}  // namespace scute
