#include "scute/models/regressor/integer_regressor.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"
#include "scute/models/regressor/blocks.h"
#include "scute/models/regressor/regressor.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

using Pool = RegressorConfig::Pool;

const Tensor& output_bias(const RegressorConfig& config, const RegressorTensors& tensors) {
  return config.pool == Pool::flat ? tensors.flat.bias : tensors.pool.bias;
}

IntegerBlock make_block(const SlimBlockTensors& tensors, const RegressorConfig& config,
                        const RegressorFormats& formats, const std::string& name, SiteList& sites) {
  return IntegerSlimBlock(tensors, config, formats, name, sites);
}
IntegerBlock make_block(const OriginBlockTensors& tensors, const RegressorConfig& config,
                        const RegressorFormats& formats, const std::string& name, SiteList& sites) {
  return IntegerOriginBlock(tensors, config, formats, name, sites);
}

}  // namespace

IntegerRegressor::IntegerRegressor(const IntegerRegressor&) = default;
IntegerRegressor::IntegerRegressor(IntegerRegressor&&) noexcept = default;
IntegerRegressor& IntegerRegressor::operator=(const IntegerRegressor&) = default;
IntegerRegressor& IntegerRegressor::operator=(IntegerRegressor&&) noexcept = default;
IntegerRegressor::~IntegerRegressor() = default;

IntegerRegressor::IntegerRegressor(const RegressorConfig& config, const RegressorTensors& tensors,
                                   const RegressorFormats& formats)
    : config_(config), formats_(formats) {
  const bool flat = config.pool == Pool::flat;
  const int64_t L = config.patches(), D = config.width, C = config.projected;
  frames_site_ = {sites_.add("proj:input", {config.features}), formats.layer("proj").input};
  projected_site_ = {sites_.add("patch_embedding:input", {C}),
                     formats.layer("patch_embedding").input};
  const Grid residual = formats.value("norm_f:input");
  proj_ = IntegerProduct(tensors.proj.weight, tensors.proj.bias, formats.layer("proj"),
                         {projected_site_.grid}, "proj");
  patch_embedding_ =
      IntegerProduct(channels_last(tensors.patch_embedding.weight), tensors.patch_embedding.bias,
                     formats.layer("patch_embedding"), {residual}, "patch_embedding");
  const std::vector<float> table = scute::position_table(config);
  for (const int32_t code : codes_of(table, residual, "position table")) {
    position_table_.push_back(static_cast<int16_t>(std::clamp(code, -32768, 32767)));
  }
  for (size_t i = 0; i < tensors.blocks.size(); ++i) {
    blocks_.push_back(std::visit(
        [&](const auto& block) {
          return make_block(block, config, formats, fmt::format("blocks.{}.", i), sites_);
        },
        tensors.blocks[i]));
  }

  residual_ = {sites_.add("norm_f:input", {D}), residual};
  output_site_ = {sites_.add("output_layer:input", {flat ? L * D : D}),
                  formats.layer("output_layer").input};
  normed_.grid = output_site_.grid;
  if (!flat) normed_ = {sites_.add("norm_f:output", {D}), formats.value("norm_f:output")};
  norm_f_ = IntegerNorm(to_vector(tensors.norm_f), residual, normed_.grid, "norm_f");
  features_site_ = {sites_.add("head:input", {C}), formats.layer("head").input};
  output_layer_ = IntegerProduct(flat ? channels_last(tensors.flat.weight) : tensors.pool.weight,
                                 output_bias(config, tensors), formats.layer("output_layer"),
                                 {features_site_.grid}, "output_layer");
  position_ = {sites_.add("head:output", {RegressorConfig::outputs}), formats.value("head:output")};
  head_ = IntegerProduct(tensors.head.weight, tensors.head.bias, formats.layer("head"),
                         {position_.grid}, "head");
}

void IntegerRegressor::project(Run& run, MatView<const float> frames,
                               MatView<int16_t> projected) const {
  const Arena::Scope scope(run.arena());
  const auto codes = run.codes<int16_t>(frames.rows, frames.cols);
  fixed_quantize(frames, frames_site_.scale(), frames_site_.bits(), codes);
  frames_site_.show(run, codes);
  proj_(run, codes, projected);
  projected_site_.show(run, projected);
}

void IntegerRegressor::embed(Run& run, MatView<const int16_t> projected,
                             std::span<const int64_t> first, MatView<int16_t> patches) const {
  const int64_t P = config_.patch, C = config_.projected;
  const Arena::Scope scope(run.arena());
  const auto side_by_side = run.codes<int16_t>(patches.rows, P * C);
  for (int64_t r = 0; r < patches.rows; ++r) {
    const auto from = projected.slice_rows(first[static_cast<size_t>(r)], P);
    for (int64_t p = 0; p < P; ++p) std::copy_n(from.row(p), C, side_by_side.row(r) + p * C);
  }
  patch_embedding_(run, side_by_side, patches);
}

void IntegerRegressor::locate(Run& run, MatView<int16_t> patches, MatView<float> positions) const {
  const int64_t L = config_.patches(), D = config_.width;
  const Arena::Scope scope(run.arena());
  if (!position_table_.empty()) {
    for (int64_t r = 0; r < patches.rows; r += L) {
      fixed_add(patches.slice_rows(r, L), {position_table_.data(), L, D});
    }
  }
  for (const IntegerBlock& block : blocks_) {
    std::visit([&](const auto& b) { b(run, patches, L); }, block);
  }
  residual_.show(run, patches);
  const auto normed = run.codes<int16_t>(patches.rows, D);
  norm_f_(patches, normed);
  const auto gathered = gather(run, normed);
  output_site_.show(run, gathered);
  const auto features = run.codes<int16_t>(positions.rows, config_.projected);
  output_layer_(run, gathered, features);
  features_site_.show(run, features);
  const auto codes = run.codes<int16_t>(positions.rows, positions.cols);
  head_(run, features, codes);
  position_.show(run, codes);
  for (int64_t r = 0; r < codes.rows; ++r) {
    for (int64_t c = 0; c < codes.cols; ++c) {
      positions.row(r)[c] = position_.grid.value(codes.row(r)[c]);
    }
  }
}

MatView<const int16_t> IntegerRegressor::gather(Run& run, MatView<const int16_t> patches) const {
  const int64_t L = config_.patches(), D = config_.width, windows = patches.rows / L;
  if (config_.pool == Pool::flat) return {patches.data, windows, L * D};
  normed_.show(run, patches);
  const bool mean = config_.pool == Pool::average;
  const auto sums = run.codes<int32_t>(windows, D);
  for (int64_t w = 0; w < windows; ++w) {
    for (int64_t m = 0; m < D; ++m) {
      int32_t value = patches.row(w * L)[m];
      for (int64_t l = 1; l < L; ++l) {
        const int32_t next = patches.row(w * L + l)[m];
        value = mean ? value + next : std::max(value, next);
      }
      sums.row(w)[m] = value;
    }
  }
  const double factor =
      normed_.scale() / output_site_.scale() / (mean ? static_cast<double>(L) : 1.0);
  const auto pooled = run.codes<int16_t>(windows, D);
  const std::vector<double> factors(static_cast<size_t>(D), factor);
  const std::vector<double> none(static_cast<size_t>(D), 0.0);
  fixed_requantize(sums, factors.data(), none.data(), output_site_.bits(), pooled);
  return pooled;
}

int64_t IntegerRegressor::bytes() const {
  int64_t out = proj_.bytes() + patch_embedding_.bytes() + output_layer_.bytes() + head_.bytes();
  for (const IntegerBlock& block : blocks_) {
    out += std::visit([](const auto& b) { return b.bytes(); }, block);
  }
  return out + static_cast<int64_t>(position_table_.size() * sizeof(int16_t) +
                                    norm_f_.gain().size() * sizeof(int64_t));
}

}  // namespace scute
