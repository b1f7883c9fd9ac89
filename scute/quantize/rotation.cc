#include "scute/quantize/rotation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "scute/base/error.h"
#include "scute/kernels/hadamard.h"
#include "scute/quantize/order.h"
#include "scute/tensor/triangle.h"

namespace scute {
namespace {

void require_factor(int64_t n, std::string_view where) {
  if (!hadamard_factor(n)) {
    fail(where, "a width of 1, 12, 20, 28 or 40 times a power of two to rotate", fmt::to_string(n));
  }
}

/// Every column through a transform of rows, some columns at a time beside the whole.
void transform_columns(std::vector<double>& values, int64_t rows, int64_t cols,
                       void (*transform)(MatView<double>) noexcept) {
  constexpr int64_t kColumns = 32;  // a row's are four lines of a cache
  std::vector<double> some(static_cast<size_t>(std::min(kColumns, cols) * rows));
  for (int64_t first = 0; first < cols; first += kColumns) {
    const int64_t count = std::min(kColumns, cols - first);
    const MatView<double> turned(some.data(), count, rows);
    for (int64_t r = 0; r < rows; ++r) {
      const double* row = values.data() + r * cols + first;
      for (int64_t c = 0; c < count; ++c) turned.row(c)[r] = row[c];
    }
    transform(turned);
    for (int64_t r = 0; r < rows; ++r) {
      double* row = values.data() + r * cols + first;
      for (int64_t c = 0; c < count; ++c) row[c] = turned.row(c)[r];
    }
  }
}

void check_factors(std::span<const float> factors, int64_t n, std::string_view where) {
  if (std::ssize(factors) != n) {
    fail(where, fmt::format("{} factors", n), fmt::to_string(factors.size()));
  }
  for (const float factor : factors) {
    if (!std::isfinite(factor)) fail(where, "finite factors", fmt::to_string(factor));
  }
}

void transpose_in_place(MatView<double> values) {
  for_below_diagonal(values.rows,
                     [&](int64_t r, int64_t c) { std::swap(values.row(r)[c], values.row(c)[r]); });
}

void permute_both(MatView<double> values, std::span<const int32_t> order) {
  const int64_t n = values.rows;
  std::vector<double> from;
  from.reserve(static_cast<size_t>(n * n));
  for (int64_t i = 0; i < n; ++i) from.insert(from.end(), values.row(i), values.row(i) + n);
  for (int64_t i = 0; i < n; ++i) {
    const double* row = from.data() + n * order[static_cast<size_t>(i)];
    for (int64_t j = 0; j < n; ++j) values.row(i)[j] = row[order[static_cast<size_t>(j)]];
  }
}

void divide_both(MatView<double> values, std::span<const float> factors) {
  std::vector<double> inverse;
  for (const float factor : factors) {
    inverse.push_back(factor == 0 ? 0 : 1 / static_cast<double>(factor));
  }
  for (int64_t i = 0; i < values.rows; ++i) {
    for (int64_t j = 0; j < values.cols; ++j) {
      values.row(i)[j] *= inverse[static_cast<size_t>(i)] * inverse[static_cast<size_t>(j)];
    }
  }
}

}  // namespace

bool can_rotate(int64_t width) { return hadamard_factor(width).has_value(); }

MatrixEdit::MatrixEdit(const Tensor& weight) {
  if (weight.rank() != 2) fail("matrix edit", "outputs × inputs", to_string(weight.shape()));
  outputs_ = weight.dim(0);
  inputs_ = weight.dim(1);
  if (weight.dtype() == DType::f64) {
    const auto values = weight.values<double>();
    values_.assign(values.begin(), values.end());
    return;
  }
  values_.reserve(static_cast<size_t>(weight.size()));
  for (int64_t o = 0; o < outputs_; ++o) {  // so that one row alone is there in f32 too
    const Tensor row = weight.rows(o, 1).to_f32();
    const auto values = row.values<float>();
    values_.insert(values_.end(), values.begin(), values.end());
  }
}

MatrixEdit& MatrixEdit::scale_inputs(std::span<const float> factors) {
  check_factors(factors, inputs_, "matrix edit");
  auto value = values_.begin();
  for (int64_t o = 0; o < outputs_; ++o) {
    for (const float factor : factors) *value++ *= static_cast<double>(factor);
  }
  return *this;
}

MatrixEdit& MatrixEdit::rotate_inputs() {
  require_factor(inputs_, "matrix edit");
  hadamard_rows(MatView<double>(values_.data(), outputs_, inputs_));
  return *this;
}

MatrixEdit& MatrixEdit::unrotate_inputs() {
  require_factor(inputs_, "matrix edit");
  inverse_hadamard_rows(MatView<double>(values_.data(), outputs_, inputs_));
  return *this;
}

MatrixEdit& MatrixEdit::rotate_outputs() {
  require_factor(outputs_, "matrix edit");
  transform_columns(values_, outputs_, inputs_, hadamard_rows);
  return *this;
}

MatrixEdit& MatrixEdit::unrotate_outputs() {
  require_factor(outputs_, "matrix edit");
  transform_columns(values_, outputs_, inputs_, inverse_hadamard_rows);
  return *this;
}

MatrixEdit& MatrixEdit::permute_inputs(std::span<const int32_t> order) {
  check_order(order, inputs_, "matrix edit");
  std::vector<double> row(order.size());
  for (int64_t o = 0; o < outputs_; ++o) {
    double* values = values_.data() + o * inputs_;
    std::copy_n(values, inputs_, row.begin());
    for (const int32_t from : order) *values++ = row[static_cast<size_t>(from)];
  }
  return *this;
}

Tensor MatrixEdit::tensor() const {
  Tensor out(DType::f32, {outputs_, inputs_});
  std::ranges::transform(values_, out.mutable_values<float>().begin(),
                         [](double value) { return static_cast<float>(value); });
  return out;
}

void edit_hessian(MatView<double> values, const HessianEdit& edit) {
  const std::string_view where = "hessian edit";
  if (values.rows != values.cols) {
    fail(where, "a square matrix", fmt::format("{} × {}", values.rows, values.cols));
  }
  if (!edit.order.empty()) check_order(edit.order, values.rows, where);
  if (!edit.factors.empty()) check_factors(edit.factors, values.rows, where);
  if (edit.rotate) require_factor(values.rows, where);
  mirror(values);
  if (!edit.order.empty()) permute_both(values, edit.order);
  if (!edit.factors.empty()) divide_both(values, edit.factors);
  if (edit.rotate) {  // H·Tᵀ, transposed T·H, whose rows transformed are T·H·Tᵀ
    hadamard_rows(values);
    transpose_in_place(values);
    hadamard_rows(values);
    mirror(values);  // both triangles are sums in another order
  }
}

}  // namespace scute
