// Our own int8 products: the order of panels and rows, and weights at a byte a code.
#include <algorithm>

#include "scute/kernels/gemm_int8_own.h"

namespace scute {
namespace {

/// Bytes of prepared inputs that stay in the second-level cache while all panels pass, about half
/// of it: it has 512 KB and more, and 1 MB and more where inputs are kept as bytes, for VNNI.
constexpr int64_t kCachedWide = 256 * 1024, kCachedBytes = 512 * 1024;
/// Rows that meet a panel at least, so that the time to read or widen it is small beside theirs.
constexpr int64_t kLeastRows = 4 * kInt8MostRows;
constexpr int64_t kCacheLine = 64;

}  // namespace

/// One of `rows` rows that lie together; alone: for the kernel of single rows.
void OwnInt8::prepare_row(const int8_t* x, int64_t rows, bool alone, std::byte* to) const {
  const auto convert = [&](const int8_t* from, int64_t count) {
    if (alone) {
      kernel_.prepare_row(from, count, to);
    } else {
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
}

void OwnInt8::prepare(MatView<const int8_t> x, int64_t begin, int64_t count,
                      std::byte* to) const noexcept {
  auto* start = reinterpret_cast<int32_t*>(to);
  to += starts(x.rows);
  const int64_t quad_bytes = kInt8Quad * kernel_.code_bytes;
  for (int64_t r = begin; r < begin + count; ++r) {
    int32_t sum = 0;  // at most 131071 · 128 < 2^24
    for (int64_t k = 0; kernel_.flip != 0 && k < inputs_; ++k) sum += x.row(r)[k];
    start[r] = -128 * sum;
    const int64_t in_block = r % kernel_.rows, first = r - in_block;
    prepare_row(x.row(r), std::min(kernel_.rows, x.rows - first), x.rows == 1 && has_row_kernel(),
                to + first * row_bytes() + in_block * quad_bytes);
  }
}

/// Rows that meet all panels before the next ones do: whole blocks, the last not much fewer.
int64_t OwnInt8::rows_together(int64_t rows) const {
  const int64_t bytes = kernel_.code_bytes == 1 ? kCachedBytes : kCachedWide;
  const int64_t most = std::max(kLeastRows, bytes / std::max<int64_t>(row_bytes(), 1));
  const int64_t parts = (rows + most - 1) / most;
  return int8_round_up((rows + parts - 1) / parts, kInt8MostRows);
}

void OwnInt8::multiply(const std::byte* inputs, int64_t first, const Int8Output& y) const noexcept {
  Int8Rows rows{};
  rows.x = inputs + starts(y.rows);
  rows.rows = y.rows;
  rows.start = reinterpret_cast<const int32_t*>(inputs);
  if (y.rows == 1 && multiply_row(rows, first / kInt8Panel, y)) return;
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

void OwnInt8::multiply_part(Int8Rows rows, int64_t first_quad, const Int8Output& y,
                            bool ends) const {
  alignas(kCacheLine) int32_t sums[kInt8MostRows * kInt8Panel];
  const bool resumes = first_quad > 0;
  const std::byte* x = rows.x;
  for (int64_t row = 0; row < y.rows; row += kernel_.rows) {
    rows.rows = std::min(kernel_.rows, y.rows - row);
    rows.x = x + row * row_bytes() + first_quad * kInt8Quad * rows.rows * kernel_.code_bytes;
    kernel_.multiply(rows, sums);
    kernel_.finish({sums, kInt8Panel, resumes, ends}, y.part(row, rows.rows, 0, y.cols));
    if (!resumes) rows.start += rows.rows;
  }
}

namespace {

/// panels[p][k / 4][o][k % 4] = codes[32·p + o][k]; what there is none of never meets an input
/// other than 0, or is never written.
class PackedInt8 final : public OwnInt8 {
 public:
  PackedInt8(const Tensor& codes, const Int8Kernel& kernel);

  std::string_view name() const override { return kernel().name; }
  int64_t bytes() const override { return panels_.size(); }

 protected:
  void multiply_panel(Int8Rows rows, int64_t panel, const Int8Output& y) const override {
    rows.quads = panels_.dim(1);
    rows.w = panels_.values<int8_t>().data() + panel * rows.quads * kInt8Panel * kInt8Quad;
    multiply_part(rows, 0, y, true);
  }

 private:
  Tensor panels_;
};

PackedInt8::PackedInt8(const Tensor& codes, const Int8Kernel& kernel)
    : OwnInt8(kernel, codes.dim(1), codes.dim(1)) {
  const int64_t outputs = codes.dim(0), count = codes.dim(1);
  const int64_t quads = (count + kInt8Quad - 1) / kInt8Quad;
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
}

}  // namespace

std::shared_ptr<const GemmInt8::Impl> make_own_gemm_int8(const Tensor& codes, bool vnni) {
  return std::make_shared<PackedInt8>(codes, int8_kernel(vnni));
}

}  // namespace scute
