// Files that hold token ids as numbers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scute/data/text_input.h"

namespace scute {

/// The rows of a .npy of any integer type, one or two dimensions (one: a single row); or, with
/// `raw`, of a file that is nothing but ids: one row. Error naming file, row and position on ids
/// that are none, on a file without a header when `raw` is empty, and on one with a header when it
/// is not.
std::vector<std::vector<int32_t>> read_id_rows(const InputFile& input,
                                               std::optional<RawIds> raw = std::nullopt);

}  // namespace scute
