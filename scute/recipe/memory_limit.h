// A memory that work must keep within.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace scute {

/// "6G", "1.5G", "800M", "6GiB": K, M and G are powers of 1000, as the program prints sizes, and
/// with "iB" behind them of 1024. Error naming `where` for anything else, a number without a unit
/// too.
int64_t parse_memory(std::string_view text, const std::string& where);
/// "6 GB", "1.5 GB", "412 MB": rounded up to three digits.
std::string memory_text(int64_t bytes);

/// The program itself and what allocators keep, with some room: measured as 22 to 40 MB.
constexpr int64_t kProgramMemory = 48'000'000;

/// Error, naming what to do, unless `needed` is within `limit`; `what` needs it, "all weights in
/// memory".
void require_memory(int64_t needed, int64_t limit, const std::string& what);

}  // namespace scute
