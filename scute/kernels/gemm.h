// Matrix products with weights packed once: y = x · Wᵀ.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "scute/tensor/mat_view.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// In what precision products are formed. bf16: both factors rounded to bf16 (to nearest even),
/// products summed in f32.
enum class Compute { f32, bf16 };

/// y = x · Wᵀ for one W. The bits of a row of y depend on that row of x and on W alone, never on
/// how many rows there are, nor on where outputs are cut. Safe to call from several threads; runs
/// on the calling thread only, with up to 256 KB of its stack. Allocates nothing.
class Gemm {
 public:
  /// Outputs may be cut at multiples of this.
  static constexpr int64_t kOutputTile = 32;

  Gemm() = default;
  /// weight: outputs × inputs, any float type (f16 and bf16 are widened exactly; f64 rounded).
  /// Error for another rank or type.
  Gemm(const Tensor& weight, Compute compute);

  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  /// x: rows × inputs, y: rows × outputs, not overlapping.
  void operator()(MatView<const float> x, MatView<float> y) const noexcept;
  /// The outputs [first, first + y.cols) alone. first: a multiple of kOutputTile.
  void outputs(int64_t first, MatView<const float> x, MatView<float> y) const noexcept;
  /// "highway f32", "highway bf16", "highway bf16 pairs" (AVX512_BF16), "amx bf16".
  std::string_view backend() const;
  /// Bytes of the packed weights.
  int64_t bytes() const;

  struct Impl;

 private:
  int64_t outputs_ = 0, inputs_ = 0;
  std::shared_ptr<const Impl> impl_;
};

/// Compares one product by AMX in bf16 with that of vectors, and each of its rows with the same row
/// alone: "" or what is wrong. "" where there is no AMX.
std::string gemm_self_test();

/// The instruction set that Highway chose: "AVX3", "AVX2", ….
std::string_view highway_target();
/// And what this machine forms products with: "AVX3, amx bf16, amx int8".
std::string instruction_sets();

/// Whether kernels form the bits that are the same on every x86-64 processor: inside of
/// PortableKernels (portable.h), and on processors that have no other.
bool portable_kernels();
/// What the bits of results in that precision depend on, as files record it: "portable" or
/// Highway's name, and in bf16, which has three ways to add up products, "AVX3, amx bf16".
std::string instruction_set(Compute compute);

}  // namespace scute
