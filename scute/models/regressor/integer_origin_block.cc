#include <algorithm>
#include <array>
#include <cmath>

#include "scute/models/regressor/ieee_math.h"
#include "scute/models/regressor/integer_blocks.h"
#include "scute/models/scale_tensors.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

CodeMatrix matrix_of(const Tensor& weight, const RegressorFormats::Layer& format,
                     std::string_view name) {
  return {weight, spread_scales(format.weight, weight.dim(0), name), format.input.spec.bits};
}

/// Products of codes as real numbers, rounded to floats once.
void multiply(Run& run, const CodeMatrix& matrix, const CodeSite& input, MatView<const int16_t> x,
              MatView<float> y) {
  matrix.multiply(run, x, [&](const auto& sums) {
    for (int64_t r = 0; r < y.rows; ++r) {
      for (int64_t o = 0; o < y.cols; ++o) {
        const double scale =
            input.scale() * static_cast<double>(matrix.scales()[static_cast<size_t>(o)]);
        y.row(r)[o] = static_cast<float>(static_cast<double>(sums.row(r)[o]) * scale);
      }
    }
  });
}

std::vector<double> to_doubles(const Tensor& tensor) {
  const std::vector<float> values = to_vector(tensor);
  return {values.begin(), values.end()};
}

int16_t saturated(double x, int bits) {
  const double most = std::ldexp(1.0, bits - 1) - 1;
  return static_cast<int16_t>((std::clamp(x, -most - 1, most) + 0x1.8p52) - 0x1.8p52);
}

}  // namespace

IntegerOriginBlock::IntegerOriginBlock(const OriginBlockTensors& tensors,
                                       const RegressorConfig& config,
                                       const RegressorFormats& formats, const std::string& block,
                                       SiteList& sites)
    : dt_rank_(config.dt_rank()), inputs_(tensors, config, formats, block, sites) {
  const std::string x = block + "x_proj", dt = block + "dt_proj", out = block + "out_proj";
  x_site_ = input_site(formats, x, config.inner(), sites);
  dt_site_ = input_site(formats, dt, dt_rank_, sites);
  out_site_ = input_site(formats, out, config.inner(), sites);
  x_proj_ = matrix_of(tensors.x_proj.weight, formats.layer(x), x);
  dt_proj_ = matrix_of(tensors.dt_proj.weight, formats.layer(dt), dt);
  out_proj_ = IntegerProduct(tensors.out_proj.weight, {}, formats.layer(out),
                             {inputs_.residual().grid}, out);
  for (const double a : to_doubles(tensors.A_log)) A_.push_back(-ieee_exp(a));
  D_ = to_doubles(tensors.D);
  dt_bias_ = to_doubles(tensors.dt_proj.bias);
}

void IntegerOriginBlock::operator()(Run& run, MatView<int16_t> x, int64_t length) const {
  const int64_t rows = x.rows, I = std::ssize(D_), R = dt_rank_;
  constexpr int64_t N = RegressorConfig::state;
  const Arena::Scope scope(run.arena());
  const auto uz = run.codes<int16_t>(rows, 2 * I), u = run.codes<int16_t>(rows, I);
  inputs_(run, x, length, uz, u);

  const auto codes = uz.columns(0, I), z = uz.columns(I, I);
  fixed_rescale(u, inputs_.u().value.scale() / x_site_.scale(), x_site_.bits(), codes);
  x_site_.show(run, codes);
  const auto dtBC = run.matrix(rows, R + 2 * N);
  multiply(run, x_proj_, x_site_, codes, dtBC);
  const auto dt_codes = run.codes<int16_t>(rows, R);
  fixed_quantize(dtBC.columns(0, R), dt_site_.scale(), dt_site_.bits(), dt_codes);
  dt_site_.show(run, dt_codes);
  const auto dt = run.matrix(rows, I);
  multiply(run, dt_proj_, dt_site_, dt_codes, dt);

  for (int64_t r = 0; r < rows; r += length) {
    scan(u.slice_rows(r, length), dtBC.slice_rows(r, length), dt.slice_rows(r, length),
         z.slice_rows(r, length));
  }
  out_site_.show(run, u);
  const auto more = run.codes<int16_t>(rows, x.cols);
  out_proj_(run, u, more);
  fixed_add(x, more);
}

void IntegerOriginBlock::scan(MatView<int16_t> u, MatView<const float> dtBC,
                              MatView<const float> dt, MatView<const int16_t> gate) const {
  constexpr int64_t N = RegressorConfig::state;
  const int64_t R = dt_rank_;
  const double u_scale = inputs_.u().value.scale(), out = 1.0 / out_site_.scale();
  for (int64_t i = 0; i < u.cols; ++i) {
    const auto c = static_cast<size_t>(i);
    const double* A = A_.data() + i * N;
    std::array<double, N> h{};
    for (int64_t l = 0; l < u.rows; ++l) {
      const float* B = dtBC.row(l) + R;
      const float* C = B + N;
      const double x = u.row(l)[i] * u_scale;
      const double step = ieee_softplus(static_cast<double>(dt.row(l)[i]) + dt_bias_[c]);
      double y = D_[c] * x;
      for (size_t n = 0; n < N; ++n) {
        h[n] = ieee_exp(step * A[n]) * h[n] + step * static_cast<double>(B[n]) * x;
        y += h[n] * static_cast<double>(C[n]);
      }
      if (inputs_.gate()) y *= gate.row(l)[i] * inputs_.z().value.scale();
      u.row(l)[i] = saturated(y * out, out_site_.bits());
    }
  }
}

int64_t IntegerOriginBlock::bytes() const {
  return inputs_.bytes() + x_proj_.bytes() + dt_proj_.bytes() + out_proj_.bytes() +
         static_cast<int64_t>((A_.size() + 2 * D_.size()) * sizeof(double));
}

}  // namespace scute
