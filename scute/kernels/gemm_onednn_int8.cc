#ifndef SCUTE_PLAIN
#include <algorithm>
#include <dnnl.hpp>
#include <memory>
#include <string_view>
#include <vector>

#include "scute/kernels/gemm_int8_impl.h"
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

class OneDnnInt8 final : public GemmInt8::Impl {
 public:
  OneDnnInt8(dnnl::engine engine, std::vector<Tile> tiles, memory weights)
      : engine_(std::move(engine)), tiles_(std::move(tiles)), weights_(std::move(weights)) {}

  void multiply(MatView<const int8_t> x, MatView<int32_t> y) const noexcept override;
  void multiply_scaled(MatView<const int8_t> x, const float* scales,
                       MatView<float> y) const noexcept override;
  std::string_view name() const override { return "oneDNN int8"; }
  int64_t bytes() const override { return static_cast<int64_t>(weights_.get_desc().get_size()); }

 private:
  struct Scratch;

  template <class Body>
  void for_each_tile(int64_t rows, const Body& body) const;
  void multiply_tile(const Tile& tile, MatView<const int8_t> x, int32_t* y, Scratch& scratch) const;

  dnnl::engine engine_;
  std::vector<Tile> tiles_;
  memory weights_;
};

/// Per call: the rows of a tile of x side by side, its sums, and the stream they are made in.
struct OneDnnInt8::Scratch {
  explicit Scratch(const dnnl::engine& engine) : stream(engine) {}

  template <class T>
  static T* room(std::unique_ptr<T[]>& memory, int64_t& size, int64_t wanted) {
    if (size < wanted) {
      memory = std::make_unique_for_overwrite<T[]>(static_cast<size_t>(wanted));
      size = wanted;
    }
    return memory.get();
  }
  int32_t* sums_of(int64_t wanted) { return room(sums, sums_size, wanted); }

  dnnl::stream stream;
  std::unique_ptr<int8_t[]> x;
  std::unique_ptr<int32_t[]> sums;
  int64_t x_size = 0, sums_size = 0;
};

template <class Body>
void OneDnnInt8::for_each_tile(int64_t rows, const Body& body) const {
  const SingleThread single;
  for (int64_t done = 0; done < rows;) {
    const Tile& tile = tiles_[next_tile(rows - done, done)];
    const int64_t first = std::min(done, rows - tile.rows);
    body(tile, first);
    done = first + tile.rows;
  }
}

/// y: the sums, side by side.
void OneDnnInt8::multiply_tile(const Tile& tile, MatView<const int8_t> x, int32_t* y,
                               Scratch& scratch) const {
  const int8_t* in = x.data;
  if (x.stride != x.cols) {
    int8_t* to = Scratch::room(scratch.x, scratch.x_size, x.size());
    for (int64_t r = 0; r < x.rows; ++r) std::copy_n(x.row(r), x.cols, to + r * x.cols);
    in = to;
  }
  // oneDNN takes one pointer type for what it reads and what it writes.
  auto* from = const_cast<int8_t*>(in);
  tile.primitive.execute(
      scratch.stream, {{DNNL_ARG_SRC, memory(tile.description.src_desc(), engine_, from)},
                       {DNNL_ARG_WEIGHTS, weights_},
                       {DNNL_ARG_DST, memory(tile.description.dst_desc(), engine_, y)},
                       {DNNL_ARG_SCRATCHPAD, memory(tile.description.scratchpad_desc(), engine_)}});
}

void OneDnnInt8::multiply(MatView<const int8_t> x, MatView<int32_t> y) const noexcept {
  Scratch scratch(engine_);
  for_each_tile(x.rows, [&](const Tile& tile, int64_t first) {
    const auto rows = x.slice_rows(first, tile.rows);
    const auto to = y.slice_rows(first, tile.rows);
    if (to.stride == to.cols) return multiply_tile(tile, rows, to.data, scratch);
    int32_t* sums = scratch.sums_of(to.size());
    multiply_tile(tile, rows, sums, scratch);
    for (int64_t r = 0; r < to.rows; ++r) std::copy_n(sums + r * to.cols, to.cols, to.row(r));
  });
}

void OneDnnInt8::multiply_scaled(MatView<const int8_t> x, const float* scales,
                                 MatView<float> y) const noexcept {
  Scratch scratch(engine_);
  for_each_tile(x.rows, [&](const Tile& tile, int64_t first) {
    int32_t* sums = scratch.sums_of(tile.rows * y.cols);
    multiply_tile(tile, x.slice_rows(first, tile.rows), sums, scratch);
    scale_sums({sums, tile.rows, y.cols}, scales, y.slice_rows(first, tile.rows));
  });
}

memory pack(const Tensor& codes, const memory::desc& wanted, const dnnl::engine& engine) {
  auto* bytes = const_cast<std::byte*>(codes.bytes().data());
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

}  // namespace

std::shared_ptr<const GemmInt8::Impl> make_onednn_gemm_int8(const Tensor& codes) {
  if (!onednn_has_vnni()) return nullptr;
  const SingleThread single;
  try {
    const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    memory::desc layout({codes.dim(1), codes.dim(0)}, memory::data_type::s8,
                        memory::format_tag::any);
    std::vector<Tile> tiles;
    for (const int64_t rows : kTileRows) {
      tiles.push_back(make_tile(engine, rows, layout));
      if (!exact(tiles.back())) return nullptr;
      layout = tiles.front().description.weights_desc();
    }
    memory weights = pack(codes, layout, engine);
    return std::make_shared<OneDnnInt8>(engine, std::move(tiles), std::move(weights));
  } catch (const dnnl::error& problem) {
    // No such kernel on this machine: the fallback does it. Out of memory is not for the fallback.
    if (problem.status == dnnl_out_of_memory) throw std::bad_alloc();
    return nullptr;
  }
}

}  // namespace scute
#endif
