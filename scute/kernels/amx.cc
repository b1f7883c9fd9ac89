#include "scute/kernels/amx.h"

#include "hwy/targets.h"

#if HWY_ARCH_X86_64 && !HWY_COMPILER_MSVC && defined(__linux__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <numeric>

#include "scute/kernels/processor.h"

namespace scute {
namespace {

#define SCUTE_TILES __attribute__((target("amx-tile,amx-int8,amx-bf16")))

/// What ldtilecfg reads.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
constexpr int kPanelRowBytes = 2 * kTileRowBytes;  // of weights and of sums

/// Asks Linux for the tiles' state (arch_prctl(2): ARCH_REQ_XCOMP_PERM of XFEATURE_XTILEDATA),
/// which is refused where signal stacks are too small for it.
bool granted() {
  constexpr long kRequest = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

// GCC 12's intrinsics do not say that they read memory.
void all_written(const void* memory) { asm volatile("" ::"r"(memory) : "memory"); }

SCUTE_TILES void set(const TileShapes& shapes) {
  all_written(&shapes);
  _tile_loadconfig(&shapes);
}
SCUTE_TILES void give_back() { _tile_release(); }

// Tiles 0 … 3 are sums; 4, 5 inputs of the first and second rows; 6, 7 weights of 16 outputs each.
// Their numbers are part of the instructions' names.

template <TileProducts kProducts>
SCUTE_TILES void multiply_first(const TileInputs& in, const std::byte* w, int64_t steps,
                                std::byte* sums) {
  const std::byte* x = in.first;
  _tile_zero(0);
  _tile_zero(1);
  for (int64_t k = 0; k < steps; ++k, x += in.step, w += kTileRows * kPanelRowBytes) {
    for (int i = 0; i < 2 * kTileBytes; i += 64) __builtin_prefetch(w + 8192 + i, 0, 3);
    _tile_loadd(4, x, kTileRowBytes);
    _tile_loadd(6, w, kPanelRowBytes);
    _tile_loadd(7, w + kTileRowBytes, kPanelRowBytes);
    if constexpr (kProducts == TileProducts::int8) {
      _tile_dpbsud(0, 4, 6);
      _tile_dpbsud(1, 4, 7);
    } else {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
    }
  }
  _tile_stored(0, sums, kPanelRowBytes);
  _tile_stored(1, sums + kTileRowBytes, kPanelRowBytes);
}

template <TileProducts kProducts>
SCUTE_TILES inline void add_products() {
  if constexpr (kProducts == TileProducts::int8) {
    _tile_dpbsud(0, 4, 6);
    _tile_dpbsud(1, 4, 7);
    _tile_dpbsud(2, 5, 6);
    _tile_dpbsud(3, 5, 7);
  } else {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

/// Each tile that is loaded meets two.
template <TileProducts kProducts>
SCUTE_TILES void multiply_both(const TileInputs& in, const std::byte* w, int64_t steps,
                               std::byte* sums) {
  const std::byte *x = in.first, *second = in.second;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t k = 0; k < steps; ++k) {
    _tile_loadd(4, x, kTileRowBytes);
    _tile_loadd(6, w, kPanelRowBytes);
    _tile_loadd(7, w + kTileRowBytes, kPanelRowBytes);
    _tile_loadd(5, second, kTileRowBytes);
    add_products<kProducts>();
    x += in.step;
    second += in.step;
    w += kTileRows * kPanelRowBytes;
  }
  std::byte* lower = sums + kTileRows * kPanelRowBytes;
  _tile_stored(0, sums, kPanelRowBytes);
  _tile_stored(1, sums + kTileRowBytes, kPanelRowBytes);
  _tile_stored(2, lower, kPanelRowBytes);
  _tile_stored(3, lower + kTileRowBytes, kPanelRowBytes);
}

/// All factors are ones.
template <TileProducts kProducts>
SCUTE_TILES void add_ones(int64_t steps, const std::byte* ones, std::byte* sums) {
  all_written(ones);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, ones, kTileRowBytes);
  _tile_loadd(5, ones, kTileRowBytes);
  _tile_loadd(6, ones, kTileRowBytes);
  _tile_loadd(7, ones, kTileRowBytes);
  for (int64_t i = 0; i < steps; ++i) add_products<kProducts>();
  _tile_stored(0, sums, kTileRowBytes);
  _tile_stored(1, sums + kTileBytes, kTileRowBytes);
  _tile_stored(2, sums + 2 * kTileBytes, kTileRowBytes);
  _tile_stored(3, sums + 3 * kTileBytes, kTileRowBytes);
}

constexpr int64_t kLoopTiles = 4, kTileSums = kTileRows * kTileRowBytes / 4;

template <class Factor, class Sum, TileProducts kProducts>
double sum_of_ones(Factor one, int64_t steps) {
  alignas(64) Factor ones[kTileBytes / sizeof(Factor)];
  alignas(64) Sum sums[kLoopTiles * kTileSums] = {};
  std::ranges::fill(ones, one);
  const Tiles tiles;
  add_ones<kProducts>(steps, reinterpret_cast<const std::byte*>(ones),
                      reinterpret_cast<std::byte*>(sums));
  return std::accumulate(std::begin(sums), std::end(sums), 0.0);
}

template <TileProducts kProducts>
void multiply_panel(const TileInputs& x, const std::byte* w, int64_t steps, std::byte* sums) {
  if (x.second != nullptr) {
    multiply_both<kProducts>(x, w, steps, sums);
  } else {
    multiply_first<kProducts>(x, w, steps, sums);
  }
}

}  // namespace

bool has_tiles(TileProducts products) {
  if ((hwy::SupportedTargets() & HWY_TARGETS & HWY_AVX3) == 0) return false;
  static const bool has = granted();
  return has && processor_has(products == TileProducts::int8 ? kAmxInt8 : kAmxBf16);
}

Tiles::Tiles(int64_t rows) noexcept {
  TileShapes shapes;
  for (int tile = 0; tile < 8; ++tile) {
    shapes.row_bytes[tile] = kTileRowBytes;
    shapes.rows[tile] = static_cast<uint8_t>(tile < 6 ? rows : kTileRows);
  }
  set(shapes);
}
Tiles::~Tiles() { give_back(); }

void multiply_tiles(TileProducts products, const TileInputs& x, const std::byte* w, int64_t steps,
                    void* sums) noexcept {
  all_written(w);
  auto* bytes = static_cast<std::byte*>(sums);
  if (products == TileProducts::int8) {
    multiply_panel<TileProducts::int8>(x, w, steps, bytes);
  } else {
    multiply_panel<TileProducts::bf16>(x, w, steps, bytes);
  }
}

int64_t tile_loop_multiply_adds(TileProducts products) noexcept {
  return kLoopTiles * kTileSums * (products == TileProducts::int8 ? 64 : 32);
}

double run_tile_loop(TileProducts products, int64_t steps) noexcept {
  constexpr int8_t kOne = 1;
  constexpr uint16_t kOneInBf16 = 0x3f80;
  return products == TileProducts::int8
             ? sum_of_ones<int8_t, int32_t, TileProducts::int8>(kOne, steps)
             : sum_of_ones<uint16_t, float, TileProducts::bf16>(kOneInBf16, steps);
}

}  // namespace scute

#else

namespace scute {

bool has_tiles(TileProducts) { return false; }
int64_t tile_loop_multiply_adds(TileProducts) noexcept { return 0; }
double run_tile_loop(TileProducts, int64_t) noexcept { return 0; }
Tiles::Tiles(int64_t) noexcept {}
Tiles::~Tiles() {}
void multiply_tiles(TileProducts, const TileInputs&, const std::byte*, int64_t, void*) noexcept {}

}  // namespace scute
#endif
