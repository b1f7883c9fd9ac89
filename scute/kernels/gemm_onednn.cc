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

// Outputs whose weights are packed together: where a call takes some of them, all are computed.
constexpr int64_t kSlice = 128;

/// The product of a fixed number of rows.
struct Tile {
  int64_t rows;
  dnnl::matmul::primitive_desc description;
  dnnl::matmul primitive;
};

/// stride: of the rows of y.
Tile make_tile(const dnnl::engine& engine, int64_t rows, const memory::desc& weights,
               int64_t stride) {
  const auto dims = weights.dims();  // inputs × outputs
  const memory::desc x({rows, dims[0]}, weights.data_type(), memory::format_tag::ab);
  const memory::desc y({rows, dims[1]}, memory::data_type::f32, memory::dims{stride, 1});
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

/// Up to kSlice outputs.
struct Slice {
  int64_t first, outputs;
  const std::vector<Tile>* tiles;
  memory weights;
};

class OneDnnGemm final : public Gemm::Impl {
 public:
  OneDnnGemm(dnnl::engine engine, const Tensor& rounded);

  bool rows_are_independent() const;
  void multiply(int64_t first, MatView<const float> x, MatView<float> y) const noexcept override;
  std::string_view name() const override { return "oneDNN bf16"; }
  int64_t bytes() const override {
    int64_t sum = 0;
    for (const Slice& slice : slices_) {
      sum += static_cast<int64_t>(slice.weights.get_desc().get_size());
    }
    return sum;
  }

 private:
  void multiply_slice(const Slice& slice, const Tile& tile, uint16_t* x, float* y,
                      const dnnl::stream& stream) const;

  dnnl::engine engine_;
  int64_t outputs_;
  std::vector<Tile> whole_, last_;  // of kSlice outputs, and of what remains
  std::vector<Slice> slices_;
};

memory pack(const Tensor& rounded, int64_t first, const memory::desc& wanted,
            const dnnl::engine& engine) {
  const auto* from_first = rounded.values<bf16>().data() + first * rounded.dim(1);
  memory from({wanted.dims(), wanted.data_type(), memory::format_tag::ba}, engine,
              const_cast<bf16*>(from_first));
  memory to(wanted, engine);
  dnnl::stream stream(engine);
  dnnl::reorder(from, to).execute(stream, from, to);
  stream.wait();
  return to;
}

OneDnnGemm::OneDnnGemm(dnnl::engine engine, const Tensor& rounded)
    : engine_(std::move(engine)), outputs_(rounded.dim(0)) {
  for (int64_t first = 0; first < outputs_; first += kSlice) {
    const int64_t count = std::min(kSlice, outputs_ - first);
    std::vector<Tile>& tiles = count == kSlice ? whole_ : last_;
    if (tiles.empty()) {
      memory::desc layout({rounded.dim(1), count}, memory::data_type::bf16,
                          memory::format_tag::any);
      for (const int64_t rows : kTileRows) {
        tiles.push_back(make_tile(engine_, rows, layout, outputs_));
        layout = tiles.front().description.weights_desc();
      }
    }
    slices_.push_back({first, count, &tiles,
                       pack(rounded, first, tiles.front().description.weights_desc(), engine_)});
  }
}

bool OneDnnGemm::rows_are_independent() const {
  return std::all_of(whole_.begin(), whole_.end(), rows_independent) &&
         std::all_of(last_.begin(), last_.end(), rows_independent);
}

void OneDnnGemm::multiply_slice(const Slice& slice, const Tile& tile, uint16_t* x, float* y,
                                const dnnl::stream& stream) const {
  tile.primitive.execute(
      stream, {{DNNL_ARG_SRC, memory(tile.description.src_desc(), engine_, x)},
               {DNNL_ARG_WEIGHTS, slice.weights},
               {DNNL_ARG_DST, memory(tile.description.dst_desc(), engine_, y)},
               {DNNL_ARG_SCRATCHPAD, memory(tile.description.scratchpad_desc(), engine_)}});
}

void OneDnnGemm::multiply(int64_t first, MatView<const float> x, MatView<float> y) const noexcept {
  const SingleThread single;
  const dnnl::stream stream(engine_);
  const int64_t most = std::min(x.rows, kTileRows.front()), end = first + y.cols;
  const auto rounded =
      std::make_unique_for_overwrite<uint16_t[]>(static_cast<size_t>(most * x.cols));
  std::unique_ptr<float[]> apart;  // of a slice that y holds in part, or in rows of another stride
  for (int64_t done = 0; done < x.rows;) {
    const size_t tile = next_tile(x.rows - done, done);
    const int64_t rows = kTileRows[tile], row = std::min(done, x.rows - rows);
    for (int64_t r = 0; r < rows; ++r) {
      round_to_bf16(x.row(row + r), x.cols, rounded.get() + r * x.cols);
    }
    for (const Slice& slice : slices_) {
      const int64_t from = std::max(first, slice.first);
      const int64_t to = std::min(end, slice.first + slice.outputs);
      if (from >= to) continue;
      const Tile& product = (*slice.tiles)[tile];
      if (y.stride == outputs_ && to - from == slice.outputs) {
        multiply_slice(slice, product, rounded.get(), y.row(row) + (from - first), stream);
        continue;
      }
      if (apart == nullptr) {
        apart = std::make_unique_for_overwrite<float[]>(static_cast<size_t>(most * outputs_));
      }
      multiply_slice(slice, product, rounded.get(), apart.get(), stream);
      for (int64_t r = 0; r < rows; ++r) {
        std::copy_n(apart.get() + r * outputs_ + (from - slice.first), to - from,
                    y.row(row + r) + (from - first));
      }
    }
    done = row + rows;
  }
}

/// The weights in bf16, outputs × inputs.
Tensor rounded_weights(const Tensor& weight) {
  if (weight.dtype() == DType::bf16) return weight;
  Tensor rounded(DType::bf16, weight.shape());
  auto* to = reinterpret_cast<uint16_t*>(rounded.mutable_values<bf16>().data());
  std::vector<float> row(static_cast<size_t>(weight.dim(1)));
  for (int64_t o = 0; o < weight.dim(0); ++o) {
    widen_row(weight, o, 0, weight.dim(1), row.data());
    round_to_bf16(row.data(), weight.dim(1), to + o * weight.dim(1));
  }
  return rounded;
}

}  // namespace

std::shared_ptr<const Gemm::Impl> make_onednn_gemm(const Tensor& weight) {
  // bf16 is emulated below AVX512_BF16, slower than our own widening.
  if (!has(dnnl::cpu_isa::avx512_core_bf16)) return nullptr;
  const SingleThread single;
  try {
    auto made = std::make_shared<OneDnnGemm>(dnnl::engine(dnnl::engine::kind::cpu, 0),
                                             rounded_weights(weight));
    return made->rows_are_independent() ? made : nullptr;
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

bool onednn_has_amx() { return has(dnnl::cpu_isa::avx512_core_amx); }

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
