#include "scute/kernels/gemm_amx.h"

#include "hwy/targets.h"
#include "scute/kernels/amx.h"
#include "scute/kernels/gemm_highway.h"

#if HWY_ARCH_X86 && !HWY_COMPILER_MSVC
#include <immintrin.h>

#include <algorithm>

// Rows are rounded to bf16 into tiles, [row / 16][k / 32][row % 16][k % 32], some inputs at a time,
// and meet all panels of weights before the next ones do. Every sum is that of its row and its
// output alone, in an order that the number of inputs decides.
namespace scute {
namespace {

#define SCUTE_AVX512 __attribute__((target("avx512f,avx512bw,avx512bf16")))

constexpr int64_t kPanel = Gemm::kOutputTile;
constexpr int64_t kTileInputs = 32;
/// Inputs whose sums start from zero and are added to those before: their panel, 64 KB, stays in
/// the second-level cache with the rows that it meets.
constexpr int64_t kBlock = 1024;
constexpr int64_t kScratch = 256 * 1024;  // of rounded inputs, on the stack
constexpr int64_t kBothRows = 2 * kTileRows;

SCUTE_AVX512 __m512 load(const float* x, int64_t count) {
  if (count >= 16) return _mm512_loadu_ps(x);
  if (count <= 0) return _mm512_setzero_ps();
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), x);
}

/// One row of `count` inputs, filled up with zeros to whole tiles, into row r of its tiles.
SCUTE_AVX512 void round_row(const float* x, int64_t count, std::byte* tiles) {
  for (int64_t k = 0; k < count; k += kTileInputs, tiles += kTileBytes) {
    const __m512 low = load(x + k, count - k), high = load(x + k + 16, count - k - 16);
    _mm512_storeu_si512(tiles, (__m512i)_mm512_cvtne2ps_pbh(high, low));
  }
}

/// Sums of some rows and a panel into y, or added to it.
SCUTE_AVX512 void finish(const float* sums, bool adds, MatView<float> y) {
  for (int64_t r = 0; r < y.rows; ++r, sums += kPanel) {
    for (int64_t o = 0; o < y.cols; o += 16) {
      const int64_t left = y.cols - o;
      const auto mask = static_cast<__mmask16>(left >= 16 ? 0xffffu : (1u << left) - 1);
      float* to = y.row(r) + o;
      __m512 sum = _mm512_loadu_ps(sums + o);
      if (adds) sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, to), sum);
      _mm512_mask_storeu_ps(to, mask, sum);
    }
  }
}

class AmxBf16 final : public Gemm::Impl {
 public:
  explicit AmxBf16(const Tensor& weight)
      : inputs_(weight.dim(1)), panels_(pack_pairs(weight, kTileInputs / 2)) {}

  void multiply(int64_t first, MatView<const float> x, MatView<float> y) const noexcept override;
  std::string_view name() const override { return "amx bf16"; }
  int64_t bytes() const override { return static_cast<int64_t>(panels_.bytes().size()); }

 private:
  void multiply_block(const std::byte* tiles, int64_t k, int64_t first, MatView<float> y) const;

  int64_t inputs_;
  Tensor panels_;
};

int64_t tiles_of(int64_t inputs) { return (inputs + kTileInputs - 1) / kTileInputs; }

/// Equal parts of `rows`, whole tiles, as large as there is room for that many inputs of each.
int64_t rows_together(int64_t rows, int64_t inputs) {
  const int64_t most = kScratch / (tiles_of(inputs) * kTileBytes) * kTileRows;
  const int64_t parts = (rows + most - 1) / most, each = (rows + parts - 1) / parts;
  return (each + kTileRows - 1) / kTileRows * kTileRows;
}

/// The inputs [k, k + kBlock) of the rows in `tiles`.
void AmxBf16::multiply_block(const std::byte* tiles, int64_t k, int64_t first,
                             MatView<float> y) const {
  alignas(64) float sums[kBothRows * kPanel];
  const int64_t steps = tiles_of(std::min(kBlock, inputs_ - k)), row_tiles = steps * kTileBytes;
  const int64_t panel_bytes = panels_.dim(1) * panels_.dim(2) * 2;
  const std::byte* panel = panels_.bytes().data() + first / kPanel * panel_bytes;
  panel += k / 2 * panels_.dim(2) * 2;
  for (int64_t o = 0; o < y.cols; o += kPanel, panel += panel_bytes) {
    const auto out = y.columns(o, std::min(kPanel, y.cols - o));
    for (int64_t r = 0; r < y.rows; r += kBothRows) {
      const std::byte* x = tiles + r / kTileRows * row_tiles;
      const bool both = y.rows - r > kTileRows;
      multiply_tiles(TileProducts::bf16, {x, both ? x + row_tiles : nullptr, kTileBytes}, panel,
                     steps, sums);
      finish(sums, k > 0, out.slice_rows(r, std::min(kBothRows, y.rows - r)));
    }
  }
}

void AmxBf16::multiply(int64_t first, MatView<const float> x, MatView<float> y) const noexcept {
  alignas(64) std::byte scratch[kScratch];
  const Tiles tiles(std::min(x.rows, kTileRows));
  const int64_t together = rows_together(x.rows, std::min(kBlock, inputs_));
  for (int64_t row = 0; row < x.rows; row += together) {
    const auto rows = x.slice_rows(row, std::min(together, x.rows - row));
    for (int64_t k = 0; k < inputs_; k += kBlock) {
      const int64_t count = std::min(kBlock, inputs_ - k), row_tiles = tiles_of(count) * kTileBytes;
      for (int64_t r = 0; r < rows.rows; ++r) {
        round_row(rows.row(r) + k, count,
                  scratch + r / kTileRows * row_tiles + r % kTileRows * kTileRowBytes);
      }
      multiply_block(scratch, k, first, y.slice_rows(row, rows.rows));
    }
  }
}

}  // namespace

std::shared_ptr<const Gemm::Impl> make_amx_gemm(const Tensor& weight) {
  if (!has_tiles(TileProducts::bf16)) return nullptr;
  return std::make_shared<AmxBf16>(weight);
}

}  // namespace scute

#else

namespace scute {

std::shared_ptr<const Gemm::Impl> make_amx_gemm(const Tensor&) { return nullptr; }

}  // namespace scute
#endif
