#ifndef SCUTE_PLAIN
#include "scute/kernels/gemm_onednn.h"

#include <algorithm>
#include <dnnl.hpp>
#include <memory>
#include <string_view>
#include <vector>

#include "scute/kernels/gemm_highway.h"
#include "scute/kernels/gemm_onednn_impl.h"

// Of libgomp, which oneDNN runs on. Declared here because <omp.h> is a compiler's own and Clang's
// belongs to another library.
extern "C" {
int omp_get_max_threads(void);
void omp_set_num_threads(int);
}

namespace scute {
namespace {

using dnnl::memory;

bool has(dnnl::cpu_isa wanted) {
  const auto bits = [](dnnl::cpu_isa isa) { return static_cast<unsigned>(isa); };
  return (bits(dnnl::get_effective_cpu_isa()) & bits(wanted)) == bits(wanted);
}

/// The product of a fixed number of rows.
struct Tile {
  int64_t rows;
  dnnl::matmul::primitive_desc description;
  dnnl::matmul primitive;
};

Tile make_tile(const dnnl::engine& engine, int64_t rows, const memory::desc& weights) {
  const auto dims = weights.dims();  // inputs × outputs
  const memory::desc x({rows, dims[0]}, weights.data_type(), memory::format_tag::ab);
  const memory::desc y({rows, dims[1]}, memory::data_type::f32, memory::format_tag::ab);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);  // else shared between calls
  const dnnl::matmul::primitive_desc description({x, weights, y}, attributes, engine);
  return {rows, description, dnnl::matmul(description)};
}

/// oneDNN 2.6's "brg" kernels (AVX-512 and later) add up each output alone and in the order of the
/// inputs: bit for bit the same for 1 … 128 rows in all 64 combinations of K = 16 … 5120 and
/// N = 1 … 4096 tried. Its older "gemm:jit" ones (AVX2, AVX, SSE4.1) differ by the number of rows
/// and even by the place in the tile in 63 of the 64.
bool rows_independent(const Tile& tile) {
  return std::string_view(tile.description.impl_info_str()).starts_with("brg:");
}

class OneDnnGemm final : public Gemm::Impl {
 public:
  OneDnnGemm(dnnl::engine engine, Compute compute, std::vector<Tile> tiles, memory weights)
      : engine_(std::move(engine)),
        compute_(compute),
        tiles_(std::move(tiles)),
        weights_(std::move(weights)) {}

  void multiply(MatView<const float> x, MatView<float> y) const noexcept override;
  std::string_view name() const override {
    return compute_ == Compute::bf16 ? "oneDNN bf16" : "oneDNN f32";
  }
  int64_t bytes() const override { return static_cast<int64_t>(weights_.get_desc().get_size()); }

 private:
  struct Scratch;

  void multiply_tile(const Tile& tile, MatView<const float> x, MatView<float> y, Scratch& scratch,
                     const dnnl::stream& stream) const;
  const void* prepared(MatView<const float> x, Scratch& scratch) const;

  dnnl::engine engine_;
  Compute compute_;
  std::vector<Tile> tiles_;
  memory weights_;
};

/// Per call: the rows of a tile of x as the primitive wants them, of y where it writes them, and
/// its own working memory.
struct OneDnnGemm::Scratch {
  template <class T>
  static T* room(std::unique_ptr<T[]>& memory, int64_t& size, int64_t wanted) {
    if (size < wanted) {
      memory = std::make_unique_for_overwrite<T[]>(static_cast<size_t>(wanted));
      size = wanted;
    }
    return memory.get();
  }

  std::unique_ptr<float[]> x, y;
  std::unique_ptr<uint16_t[]> rounded;
  int64_t x_size = 0, y_size = 0, rounded_size = 0;
};

const void* OneDnnGemm::prepared(MatView<const float> x, Scratch& scratch) const {
  if (compute_ == Compute::bf16) {
    uint16_t* to = Scratch::room(scratch.rounded, scratch.rounded_size, x.size());
    if (x.stride == x.cols) {
      round_to_bf16(x.data, x.size(), to);
    } else {
      for (int64_t r = 0; r < x.rows; ++r) round_to_bf16(x.row(r), x.cols, to + r * x.cols);
    }
    return to;
  }
  if (x.stride == x.cols) return x.data;
  float* to = Scratch::room(scratch.x, scratch.x_size, x.size());
  for (int64_t r = 0; r < x.rows; ++r) std::copy_n(x.row(r), x.cols, to + r * x.cols);
  return to;
}

void OneDnnGemm::multiply_tile(const Tile& tile, MatView<const float> x, MatView<float> y,
                               Scratch& scratch, const dnnl::stream& stream) const {
  const bool direct = y.stride == y.cols;
  float* out = direct ? y.data : Scratch::room(scratch.y, scratch.y_size, y.size());
  // oneDNN takes one pointer type for what it reads and what it writes.
  auto* in = const_cast<void*>(prepared(x, scratch));
  tile.primitive.execute(
      stream, {{DNNL_ARG_SRC, memory(tile.description.src_desc(), engine_, in)},
               {DNNL_ARG_WEIGHTS, weights_},
               {DNNL_ARG_DST, memory(tile.description.dst_desc(), engine_, out)},
               {DNNL_ARG_SCRATCHPAD, memory(tile.description.scratchpad_desc(), engine_)}});
  if (direct) return;
  for (int64_t r = 0; r < y.rows; ++r) std::copy_n(out + r * y.cols, y.cols, y.row(r));
}

void OneDnnGemm::multiply(MatView<const float> x, MatView<float> y) const noexcept {
  const SingleThread single;
  const dnnl::stream stream(engine_);
  Scratch scratch;
  for (int64_t done = 0; done < x.rows;) {
    const Tile& tile = tiles_[next_tile(x.rows - done, done)];
    const int64_t first = std::min(done, x.rows - tile.rows);
    multiply_tile(tile, x.slice_rows(first, tile.rows), y.slice_rows(first, tile.rows), scratch,
                  stream);
    done = first + tile.rows;
  }
}

/// The weights in the type that products are formed in, outputs × inputs.
Tensor converted(const Tensor& weight, Compute compute) {
  if (compute == Compute::f32) return weight.to_f32();
  if (weight.dtype() == DType::bf16) return weight;
  Tensor rounded(DType::bf16, weight.shape());
  auto* to = reinterpret_cast<uint16_t*>(rounded.mutable_values<bf16>().data());
  std::vector<float> row(static_cast<size_t>(weight.dim(1)));
  for (int64_t o = 0; o < weight.dim(0); ++o) {
    widen_row(weight, o, row.data());
    round_to_bf16(row.data(), weight.dim(1), to + o * weight.dim(1));
  }
  return rounded;
}

memory pack(const Tensor& weight, Compute compute, const memory::desc& wanted,
            const dnnl::engine& engine) {
  const Tensor plain = converted(weight, compute);
  auto* bytes = const_cast<std::byte*>(plain.bytes().data());
  memory from({wanted.dims(), wanted.data_type(), memory::format_tag::ba}, engine, bytes);
  memory to(wanted, engine);
  dnnl::stream stream(engine);
  dnnl::reorder(from, to).execute(stream, from, to);
  stream.wait();
  return to;
}

}  // namespace

std::shared_ptr<const Gemm::Impl> make_onednn_gemm(const Tensor& weight, Compute compute) {
  // bf16 is emulated below AVX512_BF16, slower than our own widening.
  if (compute == Compute::bf16 && !has(dnnl::cpu_isa::avx512_core_bf16)) return nullptr;
  const SingleThread single;
  try {
    const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    const auto type = compute == Compute::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
    memory::desc layout({weight.dim(1), weight.dim(0)}, type, memory::format_tag::any);
    std::vector<Tile> tiles;
    for (const int64_t rows : kTileRows) {
      tiles.push_back(make_tile(engine, rows, layout));
      if (!rows_independent(tiles.back())) return nullptr;
      layout = tiles.front().description.weights_desc();
    }
    memory weights = pack(weight, compute, layout, engine);
    return std::make_shared<OneDnnGemm>(engine, compute, std::move(tiles), std::move(weights));
  } catch (const dnnl::error& problem) {
    // No such kernel on this machine: the fallback does it. Out of memory is not for the fallback.
    if (problem.status == dnnl_out_of_memory) throw std::bad_alloc();
    return nullptr;
  }
}

SingleThread::SingleThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
SingleThread::~SingleThread() { omp_set_num_threads(before_); }

size_t next_tile(int64_t left, int64_t done) {
  const auto fits = [&](int64_t rows) {
    return rows <= left || (rows <= left + done && 4 * left >= 3 * rows);
  };
  const auto* tile = std::find_if(kTileRows.begin(), kTileRows.end(), fits);
  return static_cast<size_t>(tile - kTileRows.begin());  // the last one is a single row
}

bool onednn_has_vnni() { return has(dnnl::cpu_isa::avx512_core_vnni); }

std::string_view onednn_target() {
  if (has(dnnl::cpu_isa::avx512_core_amx)) return "AVX512_CORE_AMX";
  if (has(dnnl::cpu_isa::avx512_core_bf16)) return "AVX512_CORE_BF16";
  if (has(dnnl::cpu_isa::avx512_core_vnni)) return "AVX512_CORE_VNNI";
  if (has(dnnl::cpu_isa::avx512_core)) return "AVX512_CORE";
  if (has(dnnl::cpu_isa::avx2)) return "AVX2";
  if (has(dnnl::cpu_isa::avx)) return "AVX";
  return "SSE41";
}

}  // namespace scute
#endif
