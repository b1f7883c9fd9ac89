// What the products by oneDNN share. Absent when SCUTE_PLAIN is defined.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace scute {

/// While it lives, what this thread starts in oneDNN runs on this thread alone; other threads'
/// counts are their own.
class SingleThread {
 public:
  SingleThread();
  ~SingleThread();
  SingleThread(const SingleThread&) = delete;
  SingleThread& operator=(const SingleThread&) = delete;

 private:
  int before_;
};

/// Rows of the tiles, largest first: oneDNN makes one primitive for each number of rows.
inline constexpr std::array<int64_t, 5> kTileRows{128, 32, 8, 4, 1};

/// Index in kTileRows of the largest tile for the `left` rows that remain. One that overlaps rows
/// already done counts if at most a quarter of its work is repeated: the same numbers are written
/// twice, in fewer calls.
size_t next_tile(int64_t left, int64_t done);

/// Whether oneDNN will use AVX512-VNNI, or AMX.
bool onednn_has_vnni();

}  // namespace scute
