// Products by the tiles of AMX, which Highway 1.0 does not know: internal to this folder.
#pragma once

#include <cstddef>
#include <cstdint>

namespace scute {

/// A tile has so many rows of 64 bytes: 64 int8, 32 bf16 or 16 sums.
inline constexpr int64_t kTileRows = 16, kTileRowBytes = 64;
inline constexpr int64_t kTileBytes = kTileRows * kTileRowBytes;

enum class TileProducts {
  /// A signed input by an unsigned weight, summed exactly modulo 2^32.
  int8,
  /// Each tile's 32 inputs in two float sums, of the even and of the odd, which are added and then
  /// added to the sum before; all rounded to nearest even; values below 2^-126 count as 0.
  bf16
};
/// Whether the processor has them, the system grants them to this process, and Highway's
/// instruction sets, which tests limit, are those of such a processor.
bool has_tiles(TileProducts products);

/// While it lives, this thread's tiles have `rows` rows, 1 … 16: to be had around multiply_tiles().
/// Given back so that the system need not keep 8 KB at each switch of threads.
class Tiles {
 public:
  explicit Tiles(int64_t rows = kTileRows) noexcept;
  ~Tiles();
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

/// Tiles of one or of two times 16 rows, one behind the other by the inputs.
struct TileInputs {
  const std::byte* first;
  const std::byte* second;  ///< null: the first alone
  int64_t step;             ///< bytes from a tile to that of the inputs that come next
};

/// sums[r][o] of the 16 or 32 rows and the 32 outputs of a panel, which lies as
/// w[k / g][o][k % g], g = 4 int8 or 2 bf16. sums: int32 or float, 128 bytes a row, from zero.
/// steps: tiles of inputs, ≥ 1.
void multiply_tiles(TileProducts products, const TileInputs& x, const std::byte* w, int64_t steps,
                    void* sums) noexcept;

/// A loop on four tiles of sums that loads nothing, as PeakLoop and run_peak_loop() want it.
int64_t tile_loop_multiply_adds(TileProducts products) noexcept;
double run_tile_loop(TileProducts products, int64_t steps) noexcept;

}  // namespace scute
