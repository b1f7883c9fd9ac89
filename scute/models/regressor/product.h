// Products of the regressor's layers: in floats, of rounded floats, of codes.
#pragma once

#include <string_view>
#include <vector>

#include "scute/kernels/gemm.h"
#include "scute/models/code_matrix.h"
#include "scute/models/regressor/formats.h"
#include "scute/models/run.h"

namespace scute {

/// How the float network computes: all of it in floats but the layers of `rounding`.
struct RegressorArithmetic {
  Compute compute = Compute::f32;
  RegressorRounding rounding = {};
};

/// y = x·Wᵀ in floats.
class FloatProduct {
 public:
  FloatProduct() = default;
  FloatProduct(const Tensor& weight, Compute compute);
  void operator()(Run& run, MatView<const float> x, MatView<float> y) const;
  int64_t bytes() const;

 private:
  /// Products of column ranges of W, side by side. The error of a float sum grows with the size of
  /// its partial sums, so that proj's 2100 products in one go cost 2e-6 in the positions; the sum
  /// of 9 sums costs a third of that.
  std::vector<Gemm> parts_;
};

/// The values that a tensor has after `lsq` or `extension` rounded it; the last dimension of x, or
/// each row of a weight, has its scale (columns: those of scale i % scales.size()).
void round_lsq(MatView<float> x, std::span<const float> scales, int bits) noexcept;
void round_extension(MatView<float> x, std::span<const float> scales, int bits) noexcept;
/// Asymmetric 8-bit inputs of the extension: code = clamp(round(x/scale) + zero, 0, 255), kept in a
/// signed byte, so that codes above 127 come back 256 lower.
void round_wrapping(MatView<float> x, float scale, int32_t zero) noexcept;
/// Its scale where the inputs have several: their mean, as the extension takes it (README.md).
float wrapping_scale(std::span<const float> scales) noexcept;

/// Both factors rounded, then a product in floats: RegressorBackend lsq and extension.
class RoundedProduct {
 public:
  RoundedProduct() = default;
  RoundedProduct(const Tensor& weight, const LayerRounding& rounding, Compute compute,
                 std::string_view name);
  void operator()(Run& run, MatView<const float> x, MatView<float> y) const;
  int64_t bytes() const { return product_.bytes(); }

 private:
  void round_inputs(MatView<float> x) const;

  LayerRounding rounding_;
  bool asymmetric_ = false;
  FloatProduct product_;
};

/// Both factors as codes, exact sums, y = float(sum · scales) in one rounding.
class CodeProduct {
 public:
  CodeProduct() = default;
  CodeProduct(const Tensor& weight, const LayerRounding& rounding, std::string_view name);
  void operator()(Run& run, MatView<const float> x, MatView<float> y) const;
  int64_t bytes() const { return matrix_.bytes(); }

 private:
  float input_scale_ = 1;
  CodeMatrix matrix_;
};

}  // namespace scute
