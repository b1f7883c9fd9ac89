// Steps of the integer regressor: products, norms and what they are shown as.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "scute/kernels/fixed_point.h"
#include "scute/models/code_matrix.h"
#include "scute/models/regressor/formats.h"
#include "scute/models/run.h"
#include "scute/models/sites.h"

namespace scute {

/// Codes that pass a site: shown as real numbers.
struct CodeSite {
  Site site;
  Grid grid;
  double scale() const { return static_cast<double>(grid.scale); }
  int bits() const { return grid.spec.bits; }
  void show(Run& run, MatView<const int16_t> codes) const;
};

/// y = saturate(round((x·Wᵀ + bias) · factor)): codes to codes.
class IntegerProduct {
 public:
  IntegerProduct() = default;
  /// weight: outputs × inputs; bias: outputs, or empty. `outputs`: the grids of equal parts of the
  /// outputs, side by side, all of the same bits. factor = input scale · weight scale / output
  /// scale; the bias is a whole number in units of the sum.
  IntegerProduct(const Tensor& weight, const Tensor& bias, const RegressorFormats::Layer& format,
                 std::initializer_list<Grid> outputs, std::string_view name);
  void operator()(Run& run, MatView<const int16_t> x, MatView<int16_t> y) const;

  const CodeMatrix& matrix() const { return matrix_; }
  const std::vector<double>& factor() const { return factor_; }
  const std::vector<double>& bias() const { return bias_; }
  /// 8 or 16: what sums are cut to.
  int output_bits() const { return output_bits_; }
  int64_t bytes() const;

 private:
  CodeMatrix matrix_;
  std::vector<double> factor_;
  std::vector<double> bias_;
  int output_bits_ = 16;
};

/// RMSNorm in whole numbers.
class IntegerNorm {
 public:
  IntegerNorm() = default;
  IntegerNorm(std::span<const float> weight, const Grid& input, const Grid& output,
              std::string_view name);
  void operator()(MatView<const int16_t> x, MatView<int16_t> y) const noexcept;

  const std::vector<int64_t>& gain() const { return gain_; }
  int64_t epsilon() const { return epsilon_; }
  int output_bits() const { return bits_; }

 private:
  std::vector<int64_t> gain_;
  int64_t epsilon_ = 0;
  int bits_ = 16;
};

/// A bias in units of a sum whose scale is `sum`: its code of scale `format` (cut to 16 bits) or,
/// where that is 0, itself as a whole number. Error naming `name` when one does not fit the other.
double whole_bias(float bias, float format, double sum, std::string_view name);

/// value / scale, rounded half to even; Error naming `name` beyond ±2^31.
std::vector<int32_t> codes_of(std::span<const float> values, const Grid& grid,
                              std::string_view name);

}  // namespace scute
