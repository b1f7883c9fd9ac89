#include "scute/models/vision/projector.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"
#include "scute/kernels/attention.h"
#include "scute/kernels/elementwise.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

constexpr int64_t kPooled = 14;  // a side of what fused_ldpnet leaves of the grid
constexpr int64_t kKernel = 3;   // a side of its convolution

struct LayerShape {
  std::string name, site;
  int64_t outputs, inputs;
};

/// The linear layers of a projector, in order.
std::vector<LayerShape> layers_of(const ProjectorConfig& config) {
  const int64_t V = config.vision, D = config.language;
  const auto layer = [](int number, int64_t outputs, int64_t inputs) -> LayerShape {
    const std::string name = fmt::format("projector.{}", number);
    return {name, name + ":input", outputs, inputs};
  };
  switch (config.kind) {
    case ProjectorKind::linear:
      return {{"projector", "projector.0:input", D, V}};
    case ProjectorKind::gelu_mlp:
      return {layer(0, D, V), layer(2, D, D)};
    case ProjectorKind::fused_gelu_mlp:
      return {layer(0, 4 * V, V), layer(2, D, 4 * V), layer(4, D, D)};
    case ProjectorKind::fused_ldpnet:
      break;
  }
  return {layer(0, 4 * V, V), layer(2, D, 4 * V)};
}

const ProjectorConfig& checked(const ProjectorConfig& config, const std::string& where) {
  constexpr int64_t kMost = 1 << 18;  // 100 times the width of any released model
  const auto in_range = [&](std::string_view name, int64_t value) {
    if (value < 1 || value > kMost) {
      fail(where, fmt::format("{} of the projector from 1 to {}", name, kMost),
           fmt::format("{}", value));
    }
  };
  in_range("the towers' width", config.vision);
  in_range("the language model's width", config.language);
  in_range("the patches of a side", config.grid);
  return config;
}

/// The first and the last input, exclusive, of output `i` of `kPooled`, as PyTorch's adaptive
/// pooling cuts n inputs: ⌊i·n/14⌋ … ⌈(i+1)·n/14⌉.
std::pair<int64_t, int64_t> pooled_range(int64_t i, int64_t n) {
  return {i * n / kPooled, ((i + 1) * n + kPooled - 1) / kPooled};
}

/// Means over the cells of a 14 × 14 grid laid over the square that the rows of x are; sums in
/// double.
void pool(MatView<const float> x, int64_t grid, MatView<float> y) {
  std::vector<double> sums(static_cast<size_t>(x.cols));
  for (int64_t cell = 0; cell < y.rows; ++cell) {
    const auto [top, bottom] = pooled_range(cell / kPooled, grid);
    const auto [left, right] = pooled_range(cell % kPooled, grid);
    std::ranges::fill(sums, 0.0);
    for (int64_t line = top; line < bottom; ++line) {
      for (int64_t column = left; column < right; ++column) {
        const float* from = x.row(line * grid + column);
        for (size_t c = 0; c < sums.size(); ++c) sums[c] += static_cast<double>(from[c]);
      }
    }
    const auto count = static_cast<double>((bottom - top) * (right - left));
    std::ranges::transform(sums, y.row(cell),
                           [&](double sum) { return static_cast<float>(sum / count); });
  }
}

/// Depth-wise 3 × 3 convolution over the square that the rows of x are, zeros around it; weight:
/// 9 × channels.
void convolve(MatView<const float> x, const std::vector<float>& weight,
              const std::vector<float>& bias, MatView<float> y) {
  for (int64_t cell = 0; cell < x.rows; ++cell) {
    float* out = y.row(cell);
    std::ranges::copy(bias, out);
    for (int64_t tap = 0; tap < kKernel * kKernel; ++tap) {
      const int64_t line = cell / kPooled + tap / kKernel - 1;
      const int64_t column = cell % kPooled + tap % kKernel - 1;
      if (line < 0 || line >= kPooled || column < 0 || column >= kPooled) continue;
      const float* from = x.row(line * kPooled + column);
      const float* factors = weight.data() + tap * x.cols;
      for (int64_t c = 0; c < x.cols; ++c) out[c] += factors[c] * from[c];
    }
  }
}

/// (channels, 1, 3, 3) as 9 × channels.
std::vector<float> by_tap(const Tensor& weight) {
  const std::vector<float> stored = to_vector(weight);
  const auto channels = static_cast<size_t>(weight.dim(0));
  constexpr size_t kTaps = kKernel * kKernel;
  std::vector<float> out(stored.size());
  for (size_t c = 0; c < channels; ++c) {
    for (size_t tap = 0; tap < kTaps; ++tap) out[tap * channels + c] = stored[c * kTaps + tap];
  }
  return out;
}

}  // namespace

ProjectorKind parse_projector(std::string_view arch_specifier) {
  if (arch_specifier == "linear") return ProjectorKind::linear;
  if (arch_specifier.ends_with("fused-gelu-mlp")) return ProjectorKind::fused_gelu_mlp;
  if (arch_specifier.ends_with("gelu-mlp")) return ProjectorKind::gelu_mlp;
  if (arch_specifier.ends_with("fused-ldpnet")) return ProjectorKind::fused_ldpnet;
  fail("arch_specifier", "linear, or an ending fused-gelu-mlp, gelu-mlp or fused-ldpnet",
       fmt::format("\"{}\"", arch_specifier));
}

int64_t ProjectorConfig::tokens() const {
  return kind == ProjectorKind::fused_ldpnet ? kPooled * kPooled : grid * grid;
}

ProjectorSites::ProjectorSites(const ProjectorConfig& config, const std::vector<Site>& parts,
                               SiteList& list) {
  for (const LayerShape& layer : layers_of(config)) {
    inputs.push_back(list.add(layer.site, {layer.inputs}));
  }
  list.compose(inputs.front(), parts);
  if (config.kind == ProjectorKind::fused_ldpnet) {
    inputs.push_back(list.add("projector.4:input", {config.language}));
  }
  output = list.add("projector", {config.language});
}

Projector::Projector(const ProjectorConfig& config, Weights weights, const Execution& execution,
                     const ProjectorSites& sites)
    : config_(checked(config, weights.source())), sites_(sites) {
  WeightReader reader(weights);
  std::vector<std::pair<LinearTensors, Tensor>> raw;
  for (const LayerShape& layer : layers_of(config_)) {
    LinearTensors matrix(reader, layer.name, layer.outputs, layer.inputs);
    raw.emplace_back(std::move(matrix), reader.take(layer.name + ".bias", {layer.outputs}));
  }
  Tensor weight, bias;
  if (config_.kind == ProjectorKind::fused_ldpnet) {
    const std::string name = "projector.4.peg.0.";
    weight = reader.take(name + "weight", {config_.language, 1, kKernel, kKernel});
    bias = reader.take(name + "bias", {config_.language});
  }
  reader.finish();

  for (auto& [matrix, row] : raw) {
    const LinearTensors tensors = std::move(matrix);  // freed when packed
    layers_.push_back({Linear(tensors, execution), to_vector(row)});
  }
  if (config_.kind == ProjectorKind::fused_ldpnet) {
    peg_weight_ = by_tap(weight);
    peg_bias_ = to_vector(bias);
  }
}

void Projector::operator()(Run& run, MatView<float> features, MatView<float> out) const {
  const int64_t patches = config_.grid * config_.grid;
  if (features.rows != patches || features.cols != config_.vision || out.rows != config_.tokens() ||
      out.cols != config_.language) {
    fail("projector",
         fmt::format("{} × {} to {} × {}", patches, config_.vision, config_.tokens(),
                     config_.language),
         fmt::format("{} × {} to {} × {}", features.rows, features.cols, out.rows, out.cols));
  }
  const Arena::Scope scope(run.arena());
  const bool pooled = config_.kind == ProjectorKind::fused_ldpnet;
  MatView<float> x = features;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    const bool last = i + 1 == layers_.size();
    run.pass(sites_.inputs[i], x);
    const auto y = last && !pooled ? out : run.matrix(patches, layer.product.outputs());
    layer.product(run, x, y);
    add_row(y, layer.bias.data());
    if (!last) gelu(y);
    x = y;
  }
  if (pooled) downsample(run, x, out);
  run.pass(sites_.output, out);
}

void Projector::downsample(Run& run, MatView<const float> x, MatView<float> out) const {
  const Arena::Scope scope(run.arena());
  const auto pooled = run.matrix(out.rows, out.cols), input = run.matrix(out.rows, out.cols);
  pool(x, config_.grid, pooled);
  copy_rows(pooled, input);  // a range of the convolution's input is none of what is added to it
  run.pass(sites_.inputs.back(), input);
  convolve(input, peg_weight_, peg_bias_, out);
  add_into(out, pooled);
}

void Projector::set_input_range(const Site& site, float lo, float hi) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (sites_.inputs[i].index == site.index) layers_[i].product.set_input_range(lo, hi);
  }
}

void Projector::add_size(ModelSize& size) const {
  for (const Layer& layer : layers_) {
    size.linear += layer.product.bytes() + static_cast<int64_t>(layer.bias.size() * sizeof(float));
  }
  size.convolution += static_cast<int64_t>((peg_weight_.size() + peg_bias_.size()) * sizeof(float));
}

void Projector::add_work(ModelWork& work) const {
  for (const Layer& layer : layers_) {
    layer.product.add_work(config_.grid * config_.grid, work);
  }
}

}  // namespace scute
