// Our own int8 products: the order of panels and rows, and weights at a byte a code.
#include <algorithm>
#include <optional>

#include "scute/kernels/amx.h"
#include "scute/kernels/gemm_int8_own.h"

namespace scute {
namespace {

/// Bytes of prepared inputs that stay in the second-level cache while all panels pass, about half
/// of it: it has 512 KB and more, and 1 MB and more where inputs are kept as bytes, for VNNI.
constexpr int64_t kCachedWide = 384 * 1024, kCachedBytes = 512 * 1024;
/// Rows that meet a panel at least, so that the time to read or widen it is small beside theirs.
constexpr int64_t kLeastRows = 48;
constexpr int64_t kCacheLine = 64;

/// Asks for the first `count` bytes of weights that come later, into the second-level cache, and
/// takes them off.
void fetch(std::span<const int8_t>& weights, size_t count) {
  count = std::min(count, weights.size());
  for (size_t i = 0; i < count; i += kCacheLine) __builtin_prefetch(weights.data() + i, 0, 2);
  weights = weights.subspan(count);
}

}  // namespace

/// One of `rows` rows that lie together, or the only one; what its sums start from.
int32_t OwnInt8::prepare_row(const int8_t* x, int64_t rows, bool alone, std::byte* to) const {
  int32_t start = 0;  // of at most 131071 inputs: within 2^30
  const auto convert = [&](const int8_t* from, int64_t count) {
    if (alone && has_row_kernel()) {
      start += kernel_.prepare_row(from, count, to);
    } else {
      if (kernel_.start != nullptr) start += kernel_.start(from, count, alone);
      kernel_.prepare(from, count, rows, to);
    }
    to += count * rows * kernel_.code_bytes;
  };
  const int64_t whole = group_ / kInt8Block * kInt8Block, rest = group_ - whole;
  for (int64_t k = 0; k < inputs_; k += group_, x += group_) {
    convert(x, whole);
    if (rest == 0) continue;
    int8_t last[kInt8Block] = {};
    std::copy_n(x + whole, rest, last);
    convert(last, kInt8Block);
  }
  return start;
}

void OwnInt8::prepare(MatView<const int8_t> x, int64_t begin, int64_t count,
                      std::byte* to) const noexcept {
  auto* start = reinterpret_cast<int32_t*>(to);
  to += starts(x.rows);
  const int64_t step = kernel_.side_by_side * kernel_.code_bytes;
  for (int64_t r = begin; r < begin + count; ++r) {
    const int64_t in_block = r % kernel_.rows, first = r - in_block;
    const int64_t rows = std::min(kernel_.rows, rows_laid_out(x.rows) - first);
    start[r] = prepare_row(x.row(r), rows, x.rows == 1, to + first * row_bytes() + in_block * step);
  }
}

/// Rows that meet all panels before the next ones do: whole blocks, the last not much fewer.
int64_t OwnInt8::rows_together(int64_t rows) const {
  const int64_t bytes = kernel_.code_bytes == 1 ? kCachedBytes : kCachedWide;
  const int64_t most = std::max(kLeastRows, bytes / std::max<int64_t>(row_bytes(), 1));
  const int64_t parts = (rows + most - 1) / most;
  return int8_round_up((rows + parts - 1) / parts, kernel_.rows);
}

void OwnInt8::multiply(const std::byte* inputs, int64_t first, const Int8Output& y) const noexcept {
  Int8Rows rows{};
  rows.x = inputs + starts(y.rows);
  rows.rows = y.rows;
  rows.start = reinterpret_cast<const int32_t*>(inputs);
  rows.alone = y.rows == 1;
  if (y.rows == 1 && multiply_row(rows, first / kInt8Panel, y)) return;
  std::optional<Tiles> tiles;
  if (kernel_.tiles && !rows.alone) tiles.emplace();
  const int64_t chunk = rows_together(y.rows);
  for (int64_t row = 0; row < y.rows; row += chunk) {
    Int8Rows part = rows;
    part.x += row * row_bytes();
    part.start += row;
    part.rows = std::min(chunk, y.rows - row);
    for (int64_t o = 0; o < y.cols; o += kInt8Panel) {
      const int64_t outputs = std::min(kInt8Panel, y.cols - o);
      multiply_panel(part, (first + o) / kInt8Panel, y.part(row, part.rows, o, outputs));
    }
  }
}

int64_t OwnInt8::quads_together(const Int8Rows& rows, int64_t quads) const {
  if (!slices(rows)) return quads;
  const int64_t parts =
      std::max<int64_t>((quads + kernel_.slice_quads - 1) / kernel_.slice_quads, 1);
  return int8_round_up((quads + parts - 1) / parts, 2);
}

bool OwnInt8::slices(const Int8Rows& rows) const {
  return kernel_.load_slice != nullptr && !rows.alone;
}

bool OwnInt8::fetches_ahead(const Int8Rows& rows) const {
  return !rows.alone && (kernel_.load_slice != nullptr || kernel_.tiles);
}

void OwnInt8::multiply_part(const Int8Rows& rows, int64_t first_quad, const Int8Output& y,
                            bool ends) const {
  if (!slices(rows)) return multiply_blocks(rows, first_quad, y, ends);
  alignas(kCacheLine) std::byte slice[kInt8SliceBytes + kCacheLine];
  Int8Rows part = rows;
  part.slice = slice;
  const size_t share = rows.next.size() * static_cast<size_t>(kernel_.slice_outputs) / kInt8Panel;
  for (int64_t o = 0; o < y.cols; o += kernel_.slice_outputs) {
    const int64_t outputs = std::min(kernel_.slice_outputs, y.cols - o);
    kernel_.load_slice(rows.w + o * kInt8Quad, rows.quads, slice);
    part.next = rows.next.subspan(share * static_cast<size_t>(o / kernel_.slice_outputs), share);
    multiply_blocks(part, first_quad, y.part(0, y.rows, o, outputs), ends);
  }
}

/// The same of a slice, or of a panel that is multiplied as it lies.
void OwnInt8::multiply_blocks(Int8Rows rows, int64_t first_quad, const Int8Output& y,
                              bool ends) const {
  alignas(kCacheLine) int32_t sums[kInt8MostRows * kInt8Panel];
  const bool resumes = first_quad > 0;
  const int64_t stride = slices(rows) ? kernel_.slice_outputs : kInt8Panel;
  const std::byte* x = rows.x;
  const int64_t blocks = (y.rows + kernel_.rows - 1) / kernel_.rows;
  const auto step = static_cast<size_t>(int8_round_up(std::ssize(rows.next) / blocks, kCacheLine));
  for (int64_t row = 0; row < y.rows; row += kernel_.rows) {
    rows.rows = std::min(kernel_.rows, y.rows - row);
    const int64_t laid_out = rows.alone ? 1 : int8_round_up(rows.rows, kernel_.row_unit);
    rows.x = x + row * row_bytes() + first_quad * kInt8Quad * laid_out * kernel_.code_bytes;
    fetch(rows.next, step);
    kernel_.multiply(rows, sums);
    kernel_.finish({sums, stride, resumes, ends}, y.part(row, rows.rows, 0, y.cols));
    if (!resumes) rows.start += rows.rows;
  }
}

namespace {

/// panels[p][k / 4][o][k % 4] = codes[32·p + o][k]; what there is none of never meets an input
/// other than 0, or is never written.
class PackedInt8 final : public OwnInt8 {
 public:
  PackedInt8(const Tensor& codes, const Int8Kernel& kernel, PackedMemory* memory);

  std::string_view name() const override { return kernel().name; }
  int64_t bytes() const override { return panels_.size(); }

 protected:
  void multiply_panel(Int8Rows rows, int64_t panel, const Int8Output& y) const override;

 private:
  Tensor panels_;
};

PackedInt8::PackedInt8(const Tensor& codes, const Int8Kernel& kernel, PackedMemory* memory)
    : OwnInt8(kernel, codes.dim(1), codes.dim(1)) {
  const int64_t outputs = codes.dim(0), count = codes.dim(1);
  const int64_t quads = int8_round_up(count, kernel.panel_inputs) / kInt8Quad;
  panels_ = Tensor(DType::i8, {int8_panels(outputs), quads, kInt8Panel, kInt8Quad});
  const auto to = panels_.mutable_values<int8_t>();
  const auto from = codes.values<int8_t>();
  for (int64_t o = 0; o < outputs; ++o) {
    const int8_t* row = from.data() + o * count;
    int8_t* column = to.data() + (o / kInt8Panel * quads * kInt8Panel + o % kInt8Panel) * kInt8Quad;
    for (int64_t k = 0; k < count; ++k) {
      column[k / kInt8Quad * kInt8Panel * kInt8Quad + k % kInt8Quad] =
          static_cast<int8_t>(row[k] ^ kernel.flip);
    }
  }
  panels_ = kept_by(memory, std::move(panels_));
}

void PackedInt8::multiply_panel(Int8Rows rows, int64_t panel, const Int8Output& y) const {
  const int64_t quads = panels_.dim(1), most = quads_together(rows, panels_.dim(1));
  constexpr int64_t kQuadBytes = kInt8Panel * kInt8Quad;
  auto weights = panels_.values<int8_t>().subspan(static_cast<size_t>(panel * quads * kQuadBytes));
  int64_t done = 0;
  do {  // once without inputs
    rows.quads = std::min(most, quads - done);
    rows.w = weights.data();
    const auto bytes = static_cast<size_t>(rows.quads * kQuadBytes);
    weights = weights.subspan(bytes);
    if (fetches_ahead(rows)) rows.next = weights.first(std::min(bytes, weights.size()));
    multiply_part(rows, done, y, done + rows.quads == quads);
    rows.start = nullptr;
    done += rows.quads;
  } while (done < quads);
}

}  // namespace

std::shared_ptr<const GemmInt8::Impl> make_own_gemm_int8(const Tensor& codes, Int8Products products,
                                                         PackedMemory* memory) {
  return std::make_shared<PackedInt8>(codes, int8_kernel(products), memory);
}

}  // namespace scute
