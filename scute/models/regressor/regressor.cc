#include "scute/models/regressor/regressor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/portable_math.h"
#include "scute/kernels/elementwise.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

RegressorLayer output_layer(const RegressorConfig& config, const RegressorTensors& tensors,
                            const Site& site, const RegressorArithmetic& arithmetic) {
  if (config.pool == RegressorConfig::Pool::flat) {
    return {site, channels_last(tensors.flat.weight), tensors.flat.bias, arithmetic};
  }
  return {site, tensors.pool.weight, tensors.pool.bias, arithmetic};
}

RegressorBlock make_block(const SlimBlockTensors& tensors, const RegressorConfig& config,
                          const RegressorBlockSites& sites, const RegressorArithmetic& arithmetic) {
  return SlimBlock(tensors, config, sites, arithmetic);
}
RegressorBlock make_block(const OriginBlockTensors& tensors, const RegressorConfig& config,
                          const RegressorBlockSites& sites, const RegressorArithmetic& arithmetic) {
  return OriginBlock(tensors, config, sites, arithmetic);
}

}  // namespace

std::vector<float> position_table(const RegressorConfig& config) {
  if (!config.positions) return {};
  const int64_t D = config.width;
  std::vector<float> out;
  for (int64_t l = 0; l < config.patches(); ++l) {
    for (int64_t m = 0; m < D; ++m) {
      const double exponent = static_cast<double>(m / 2 * 2) / static_cast<double>(D);
      const double angle =
          static_cast<double>(l) * portable::exp(-portable::log(10000.0) * exponent);
      const double value = m % 2 == 0 ? portable::sin(angle) : portable::cos(angle);
      out.push_back(static_cast<float>(config.position_scale * value));
    }
  }
  return out;
}

std::vector<RegressorProduct> regressor_products(const RegressorConfig& config,
                                                 const RegressorTensors& tensors) {
  std::vector<RegressorProduct> out;
  const auto add = [&](const std::string& layer, const RegressorLayerTensors& t, int64_t channels) {
    const Tensor matrix = t.weight.rank() == 3 ? channels_last(t.weight) : t.weight;
    out.push_back({layer, matrix, t.bias, channels});
  };
  const bool flat = config.pool == RegressorConfig::Pool::flat;
  const int64_t D = config.width, C = config.projected, I = config.inner();
  add("proj", tensors.proj, config.features);
  add("patch_embedding", tensors.patch_embedding, C);
  for (size_t i = 0; i < tensors.blocks.size(); ++i) {
    const std::string block = fmt::format("blocks.{}.", i);
    std::visit([&](const auto& b) { add(block + "in_proj", b.in_proj, D); }, tensors.blocks[i]);
    if (const auto* slim = std::get_if<SlimBlockTensors>(&tensors.blocks[i])) {
      add(block + "ssm.dt_proj", slim->dt_proj, I);
    } else {
      const auto& origin = std::get<OriginBlockTensors>(tensors.blocks[i]);
      add(block + "x_proj", origin.x_proj, I);
      add(block + "dt_proj", origin.dt_proj, config.dt_rank());
    }
    std::visit([&](const auto& b) { add(block + "out_proj", b.out_proj, I); }, tensors.blocks[i]);
  }
  add("output_layer", flat ? tensors.flat : tensors.pool, flat ? config.patches() * D : D);
  add("head", tensors.head, C);
  return out;
}

RegressorSites::RegressorSites(const RegressorConfig& config) {
  const bool flat = config.pool == RegressorConfig::Pool::flat;
  proj = list.add("proj:input", {config.features});
  patch_embedding = list.add("patch_embedding:input", {config.projected});
  for (int64_t i = 0; i < config.layers; ++i) {
    blocks.emplace_back(config, fmt::format("blocks.{}.", i), list);
  }
  norm_f = list.add("norm_f:input", {config.width});
  output_layer =
      list.add("output_layer:input", {flat ? config.patches() * config.width : config.width});
  head = list.add("head:input", {config.projected});
  position = list.add("head:output", {RegressorConfig::outputs});
}

Regressor::Regressor(const Regressor&) = default;
Regressor::Regressor(Regressor&&) noexcept = default;
Regressor& Regressor::operator=(const Regressor&) = default;
Regressor& Regressor::operator=(Regressor&&) noexcept = default;
Regressor::~Regressor() = default;

Regressor::Regressor(const RegressorConfig& config, const RegressorTensors& tensors,
                     const RegressorArithmetic& arithmetic)
    : config_(config),
      sites_(config),
      proj_(sites_.proj, tensors.proj.weight, tensors.proj.bias, arithmetic),
      patch_embedding_(sites_.patch_embedding, channels_last(tensors.patch_embedding.weight),
                       tensors.patch_embedding.bias, arithmetic),
      position_table_(position_table(config)),
      norm_f_(to_vector(tensors.norm_f)),
      output_layer_(output_layer(config, tensors, sites_.output_layer, arithmetic)),
      head_(sites_.head, tensors.head.weight, tensors.head.bias, arithmetic) {
  for (size_t i = 0; i < tensors.blocks.size(); ++i) {
    blocks_.push_back(std::visit(
        [&](const auto& block) { return make_block(block, config, sites_.blocks[i], arithmetic); },
        tensors.blocks[i]));
  }
}

void Regressor::project(Run& run, MatView<const float> frames, MatView<float> projected) const {
  proj_(run, frames, projected);
  patch_embedding_.show(run, projected);
}

void Regressor::embed(Run& run, MatView<const float> projected, std::span<const int64_t> first,
                      MatView<float> patches) const {
  const int64_t P = config_.patch, C = config_.projected;
  const Arena::Scope scope(run.arena());
  const auto side_by_side = run.matrix(patches.rows, P * C);
  for (int64_t r = 0; r < patches.rows; ++r) {
    copy_rows(projected.slice_rows(first[static_cast<size_t>(r)], P), {side_by_side.row(r), P, C});
  }
  patch_embedding_.multiply(run, side_by_side, patches);
}

void Regressor::locate(Run& run, MatView<float> patches, MatView<float> positions) const {
  const int64_t L = config_.patches(), D = config_.width;
  const Arena::Scope scope(run.arena());
  if (!position_table_.empty()) {
    for (int64_t r = 0; r < patches.rows; r += L) {
      add_into(patches.slice_rows(r, L), {position_table_.data(), L, D});
    }
  }
  for (const RegressorBlock& block : blocks_) {
    std::visit([&](const auto& b) { b(run, patches, L); }, block);
  }
  show_copy(run, sites_.norm_f, patches);
  const auto normed = run.matrix(patches.rows, D);
  rms_norm(patches, norm_f_.data(), D, RegressorConfig::norm_eps, normed);
  const auto features = run.matrix(positions.rows, config_.projected);
  output_layer_(run, gather(run, normed), features);
  head_(run, features, positions);
  show_copy(run, sites_.position, positions);
}

MatView<const float> Regressor::gather(Run& run, MatView<const float> patches) const {
  const int64_t L = config_.patches(), D = config_.width, windows = patches.rows / L;
  if (config_.pool == RegressorConfig::Pool::flat) return {patches.data, windows, L * D};
  const auto pooled = run.matrix(windows, D);
  for (int64_t w = 0; w < windows; ++w) {
    for (int64_t m = 0; m < D; ++m) {
      float value = patches.row(w * L)[m];
      for (int64_t l = 1; l < L; ++l) {
        const float next = patches.row(w * L + l)[m];
        if (config_.pool == RegressorConfig::Pool::average) value += next;
        // Not std::max: a NaN is to stay one, wherever it stands.
        else if (!(next <= value) && !std::isnan(value))
          value = next;
      }
      const bool mean = config_.pool == RegressorConfig::Pool::average;
      pooled.row(w)[m] = mean ? value / static_cast<float>(L) : value;
    }
  }
  return pooled;
}

int64_t Regressor::bytes() const {
  int64_t out = proj_.bytes() + patch_embedding_.bytes() + output_layer_.bytes() + head_.bytes();
  for (const RegressorBlock& block : blocks_) {
    out += std::visit([](const auto& b) { return b.bytes(); }, block);
  }
  return out + static_cast<int64_t>((norm_f_.size() + position_table_.size()) * sizeof(float));
}

}  // namespace scute
