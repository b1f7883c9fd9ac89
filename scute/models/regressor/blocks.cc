#include "scute/models/regressor/blocks.h"

#include <algorithm>

#include "scute/kernels/elementwise.h"
#include "scute/kernels/scan.h"
#include "scute/kernels/windows.h"
#include "scute/models/scale_tensors.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

/// weight: (channels, 1, taps); empty for none.
RegressorConvolution convolution_of(const Tensor& weight, const Tensor& bias, int64_t before) {
  if (weight.size() == 0) return {};
  const int64_t channels = weight.dim(0), taps = weight.dim(2);
  return {taps, before, to_vector(channels_last(weight.reshaped({1, channels, taps}))),
          to_vector(bias)};
}

int64_t bytes_of(const std::vector<float>& values) {
  return static_cast<int64_t>(values.size() * sizeof(float));
}

}  // namespace

Tensor channels_last(const Tensor& tensor) {
  const int64_t a = tensor.dim(0), b = tensor.dim(1), c = tensor.dim(2);
  const Tensor wide = tensor.to_f32();
  const float* from = wide.values<float>().data();
  Tensor out(DType::f32, {a, c * b});
  float* to = out.mutable_values<float>().data();
  for (int64_t i = 0; i < a; ++i) {
    for (int64_t j = 0; j < b; ++j) {
      for (int64_t k = 0; k < c; ++k) to[(i * c + k) * b + j] = from[(i * b + j) * c + k];
    }
  }
  return out;
}

RegressorBlockSites::RegressorBlockSites(const RegressorConfig& config, const std::string& block,
                                         SiteList& sites) {
  const int64_t I = config.inner();
  const bool slim = config.variant == RegressorConfig::Variant::slim;
  convolution.index = z_act.index = x_proj.index = -1;
  norm = sites.add(block + "norm:input", {config.width});
  in_proj = sites.add(block + "in_proj:input", {config.width});
  if (!slim || config.convolution) {
    convolution = sites.add(block + (slim ? "dw_conv:input" : "conv1d:input"), {I});
  }
  if (config.gate) z_act = sites.add(block + "z_act:input", {I});
  if (slim) {
    dt_proj = sites.add(block + "ssm.dt_proj:input", {I});
  } else {
    x_proj = sites.add(block + "x_proj:input", {I});
    dt_proj = sites.add(block + "dt_proj:input", {config.dt_rank()});
  }
  out_proj = sites.add(block + "out_proj:input", {I});
}

void RegressorConvolution::operator()(MatView<const float> x, int64_t length,
                                      MatView<float> y) const {
  if (taps == 0) return silu(x, y);
  window_conv_silu({weight.data(), bias.data(), taps, before}, x, length, y);
}

SlimBlock::SlimBlock(const SlimBlockTensors& tensors, const RegressorConfig& config,
                     const RegressorBlockSites& sites, const RegressorArithmetic& arithmetic)
    : gate_(config.gate),
      sites_(sites),
      norm_(to_vector(tensors.norm)),
      in_proj_(sites.in_proj, tensors.in_proj.weight, {}, arithmetic),
      dt_proj_(sites.dt_proj, tensors.dt_proj.weight, tensors.dt_proj.bias, arithmetic),
      out_proj_(sites.out_proj, tensors.out_proj.weight, {}, arithmetic),
      convolution_(
          convolution_of(tensors.convolution, tensors.convolution_bias, (config.taps() - 1) / 2)) {}

void SlimBlock::operator()(Run& run, MatView<float> x, int64_t length) const {
  const int64_t rows = x.rows, D = x.cols, I = dt_proj_.outputs();
  const Arena::Scope scope(run.arena());

  show_copy(run, sites_.norm, x);
  const auto normed = run.matrix(rows, D);
  rms_norm(x, norm_.data(), D, RegressorConfig::norm_eps, normed);
  const auto uz = run.matrix(rows, 2 * I);
  in_proj_(run, normed, uz);
  show_copy(run, sites_.convolution, uz.columns(0, I));
  show_copy(run, sites_.z_act, uz.columns(I, I));

  const auto u = run.matrix(rows, I);
  convolution_(uz.columns(0, I), length, u);
  const auto logit = run.matrix(rows, I);
  dt_proj_(run, u, logit);
  window_mean_scan(u, logit, length, u);  // λ = σ(logit)

  if (gate_) gate_silu(u, uz.columns(I, I), u);
  out_proj_(run, u, normed);
  add_into(x, normed);
}

int64_t SlimBlock::bytes() const {
  return in_proj_.bytes() + dt_proj_.bytes() + out_proj_.bytes() + bytes_of(norm_) +
         bytes_of(convolution_.weight) + bytes_of(convolution_.bias);
}

OriginBlock::OriginBlock(const OriginBlockTensors& tensors, const RegressorConfig& config,
                         const RegressorBlockSites& sites, const RegressorArithmetic& arithmetic)
    : gate_(config.gate),
      sites_(sites),
      dt_rank_(config.dt_rank()),
      norm_(to_vector(tensors.norm)),
      in_proj_(sites.in_proj, tensors.in_proj.weight, {}, arithmetic),
      x_proj_(sites.x_proj, tensors.x_proj.weight, {}, arithmetic),
      dt_proj_(sites.dt_proj, tensors.dt_proj.weight, {}, arithmetic),
      out_proj_(sites.out_proj, tensors.out_proj.weight, {}, arithmetic),
      convolution_(
          convolution_of(tensors.convolution, tensors.convolution_bias, config.taps() - 1)),
      A_(negative_exp(tensors.A_log)),
      D_(to_vector(tensors.D)),
      dt_bias_(to_vector(tensors.dt_proj.bias)) {}

void OriginBlock::operator()(Run& run, MatView<float> x, int64_t length) const {
  const int64_t rows = x.rows, D = x.cols, I = dt_proj_.outputs(), R = dt_rank_;
  constexpr int64_t N = RegressorConfig::state;
  const Arena::Scope scope(run.arena());

  show_copy(run, sites_.norm, x);
  const auto normed = run.matrix(rows, D);
  rms_norm(x, norm_.data(), D, RegressorConfig::norm_eps, normed);
  const auto uz = run.matrix(rows, 2 * I);
  in_proj_(run, normed, uz);
  show_copy(run, sites_.convolution, uz.columns(0, I));
  show_copy(run, sites_.z_act, uz.columns(I, I));

  const auto u = run.matrix(rows, I);
  convolution_(uz.columns(0, I), length, u);
  const auto dtBC = run.matrix(rows, R + 2 * N);
  x_proj_(run, u, dtBC);
  const auto dt = run.matrix(rows, I);
  dt_proj_(run, dtBC.columns(0, R), dt);

  const auto y = run.matrix(rows, I), h = run.matrix(I, N);
  for (int64_t r = 0; r < rows; r += length) {
    std::fill_n(h.data, h.size(), 0.0F);
    selective_scan({.x = u.slice_rows(r, length),
                    .dt = dt.slice_rows(r, length),
                    .B = dtBC.columns(R, N).slice_rows(r, length),
                    .C = dtBC.columns(R + N, N).slice_rows(r, length),
                    .A = {A_.data(), I, N},
                    .D = D_.data(),
                    .dt_bias = dt_bias_.data()},
                   h, y.slice_rows(r, length));
  }

  if (gate_) gate_silu(y, uz.columns(I, I), y);
  out_proj_(run, y, normed);
  add_into(x, normed);
}

int64_t OriginBlock::bytes() const {
  return in_proj_.bytes() + x_proj_.bytes() + dt_proj_.bytes() + out_proj_.bytes() +
         bytes_of(norm_) + bytes_of(convolution_.weight) + bytes_of(convolution_.bias) +
         bytes_of(A_) + bytes_of(D_) + bytes_of(dt_bias_);
}

}  // namespace scute
