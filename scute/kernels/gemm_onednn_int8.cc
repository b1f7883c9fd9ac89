#ifndef SCUTE_PLAIN
#include <algorithm>
#include <dnnl.hpp>
#include <memory>
#include <string_view>
#include <vector>

#include "scute/kernels/gemm_int8_kernel.h"
#include "scute/kernels/gemm_onednn_impl.h"

namespace scute {
namespace {

using dnnl::memory;

/// The product of a fixed number of rows.
struct Tile {
  int64_t rows;
  dnnl::matmul::primitive_desc description;
  dnnl::matmul primitive;
};

Tile make_tile(const dnnl::engine& engine, int64_t rows, const memory::desc& weights) {
  const auto dims = weights.dims();  // inputs × outputs
  const memory::desc x({rows, dims[0]}, memory::data_type::s8, memory::format_tag::ab);
  const memory::desc y({rows, dims[1]}, memory::data_type::s32, memory::format_tag::ab);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);  // else shared between calls
  const dnnl::matmul::primitive_desc description({x, weights, y}, attributes, engine);
  return {rows, description, dnnl::matmul(description)};
}

/// Outputs [first, first + cols), by primitives of their own, so that parts of the outputs can be
/// asked for.
struct Slice {
  int64_t first, cols;
  std::vector<Tile> tiles;
  memory weights;
};

/// Outputs of a slice: enough that oneDNN's start of a call, about 2 µs, is small beside a tile's
/// products; few enough that a part of the outputs that cuts two of them forms little in vain.
constexpr int64_t kSliceOutputs = 256;

class OneDnnInt8 final : public GemmInt8::Impl {
 public:
  OneDnnInt8(dnnl::engine engine, std::vector<Slice> slices, int64_t inputs)
      : engine_(std::move(engine)), slices_(std::move(slices)), inputs_(inputs) {}

  int64_t input_bytes(int64_t rows) const override { return rows * inputs_; }
  void prepare(MatView<const int8_t> x, int64_t first, int64_t count,
               std::byte* to) const noexcept override {
    for (int64_t r = first; r < first + count; ++r) {
      std::copy_n(x.row(r), x.cols, reinterpret_cast<int8_t*>(to) + r * x.cols);
    }
  }
  void multiply(const std::byte* inputs, int64_t first,
                const Int8Output& y) const noexcept override;
  std::string_view name() const override { return "oneDNN int8"; }
  int64_t bytes() const override {
    int64_t total = 0;
    for (const Slice& slice : slices_) {
      total += static_cast<int64_t>(slice.weights.get_desc().get_size());
    }
    return total;
  }

 private:
  void multiply_tile(const Slice& slice, const Tile& tile, const std::byte* x, int32_t* sums,
                     dnnl::stream& stream) const;

  dnnl::engine engine_;
  std::vector<Slice> slices_;
  int64_t inputs_;
};

/// sums: side by side.
void OneDnnInt8::multiply_tile(const Slice& slice, const Tile& tile, const std::byte* x,
                               int32_t* sums, dnnl::stream& stream) const {
  // oneDNN takes one pointer type for what it reads and what it writes.
  auto* from = const_cast<std::byte*>(x);
  tile.primitive.execute(
      stream, {{DNNL_ARG_SRC, memory(tile.description.src_desc(), engine_, from)},
               {DNNL_ARG_WEIGHTS, slice.weights},
               {DNNL_ARG_DST, memory(tile.description.dst_desc(), engine_, sums)},
               {DNNL_ARG_SCRATCHPAD, memory(tile.description.scratchpad_desc(), engine_)}});
}

void OneDnnInt8::multiply(const std::byte* inputs, int64_t first,
                          const Int8Output& y) const noexcept {
  const SingleThread single;
  dnnl::stream stream(engine_);
  const auto sums = std::make_unique_for_overwrite<int32_t[]>(
      static_cast<size_t>(std::min(kTileRows.front(), y.rows) * kSliceOutputs));
  const Int8Kernel& kernel = highway_int8_kernel();
  for (const Slice& slice : slices_) {
    const int64_t begin = std::max(first, slice.first);
    const int64_t count = std::min(first + y.cols, slice.first + slice.cols) - begin;
    if (count <= 0) continue;
    for (int64_t done = 0; done < y.rows;) {
      const Tile& tile = slice.tiles[next_tile(y.rows - done, done)];
      const int64_t row = std::min(done, y.rows - tile.rows);
      multiply_tile(slice, tile, inputs + row * inputs_, sums.get(), stream);
      kernel.finish({sums.get() + (begin - slice.first), slice.cols, false, true},
                    y.part(row, tile.rows, begin - first, count));
      done = row + tile.rows;
    }
  }
}

memory pack(const int8_t* codes, const memory::desc& wanted, const dnnl::engine& engine) {
  auto* bytes = const_cast<int8_t*>(codes);
  memory from({wanted.dims(), wanted.data_type(), memory::format_tag::ba}, engine, bytes);
  memory to(wanted, engine);
  dnnl::stream stream(engine);
  dnnl::reorder(from, to).execute(stream, from, to);
  stream.wait();
  return to;
}

/// With VNNI or AMX, oneDNN 2.6's "brg:" kernels add products in 32 bits, whatever the number of
/// rows. Its "gemm:jit" ones, for machines without, add pairs of products in 16 bits, which
/// saturate.
bool exact(const Tile& tile) {
  return std::string_view(tile.description.impl_info_str()).starts_with("brg:");
}

/// No tiles where one is not exact.
Slice make_slice(const dnnl::engine& engine, const Tensor& codes, int64_t first) {
  Slice slice{first, std::min(kSliceOutputs, codes.dim(0) - first), {}, {}};
  memory::desc layout({codes.dim(1), slice.cols}, memory::data_type::s8, memory::format_tag::any);
  for (const int64_t rows : kTileRows) {
    Tile tile = make_tile(engine, rows, layout);
    if (!exact(tile)) return {first, slice.cols, {}, {}};
    slice.tiles.push_back(std::move(tile));
    layout = slice.tiles.front().description.weights_desc();
  }
  slice.weights = pack(codes.values<int8_t>().data() + first * codes.dim(1), layout, engine);
  return slice;
}

}  // namespace

std::shared_ptr<const GemmInt8::Impl> make_onednn_gemm_int8(const Tensor& codes) {
  if (!onednn_has_vnni()) return nullptr;
  const SingleThread single;
  try {
    const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    std::vector<Slice> slices;
    for (int64_t first = 0; first < codes.dim(0); first += kSliceOutputs) {
      slices.push_back(make_slice(engine, codes, first));
      if (slices.back().tiles.empty()) return nullptr;
    }
    return std::make_shared<OneDnnInt8>(engine, std::move(slices), codes.dim(1));
  } catch (const dnnl::error& problem) {
    // No such kernel on this machine: the fallback does it. Out of memory is not for the fallback.
    if (problem.status == dnnl_out_of_memory) throw std::bad_alloc();
    return nullptr;
  }
}

}  // namespace scute
#endif
