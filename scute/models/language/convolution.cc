#include "scute/models/language/convolution.h"

#include <algorithm>

#include "scute/kernels/conv_int8.h"
#include "scute/kernels/elementwise.h"
#include "scute/kernels/round.h"
#include "scute/models/grids.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

/// Channels of a stretch are a multiple of this: whole vectors of every machine.
constexpr int64_t kTogether = 64;
/// Rows whose codes are used while they are in the cache: 14 KB of 1,792 channels.
constexpr int64_t kRowsTogether = 8;

/// That of some channels.
void (*const kSilu)(MatView<const float>, const float*, const float*, int64_t, int64_t, int64_t,
                    MatView<float>, MatView<float>) noexcept = &causal_conv_silu;

/// (channels, 1, taps) as taps × channels.
template <class T>
std::vector<T> taps_first(std::span<const T> in, size_t taps) {
  const size_t channels = in.size() / taps;
  std::vector<T> out(in.size());
  for (size_t c = 0; c < channels; ++c) {
    for (size_t k = 0; k < taps; ++k) out[k * channels + c] = in[c * taps + k];
  }
  return out;
}

}  // namespace

ConvolutionTensors::ConvolutionTensors(WeightReader& reader, const std::string& prefix,
                                       int64_t channels, int64_t taps, bool with_bias)
    : name(prefix + "conv1d") {
  const Tensor* stored = reader.peek(name + ".weight");
  if (stored != nullptr && stored->dtype() == DType::i8) {
    weight = reader.take(name + ".weight", {channels, 1, taps}, DType::i8);
    scale = reader.take(name + ".weight_scale", {channels});
  } else {
    weight = reader.take(name + ".weight", {channels, 1, taps});
  }
  if (with_bias) bias = reader.take(name + ".bias", {channels});
}

Convolution::Convolution(const ConvolutionTensors& tensors, const std::vector<float>& input_scales,
                         const Execution& execution, Activation activation)
    : taps_(tensors.weight.dim(2)), activation_(activation), bias_(to_vector(tensors.bias)) {
  const auto taps = static_cast<size_t>(taps_);
  if (!tensors.quantized()) {
    const std::vector<float> weight = to_vector(tensors.weight);
    form_ = Float{taps_first<float>(weight, taps)};
    return;
  }
  const std::vector<float> scales = checked_scales(tensors.scale, tensors.name + ".weight_scale");
  std::vector<int8_t> codes = taps_first<int8_t>(tensors.weight.values<int8_t>(), taps);
  const bool whole = execution.backend == Backend::integer && activation == Activation::silu;
  if (whole && !input_scales.empty()) {
    Integer integer{std::move(codes), input_scales, scales};
    for (size_t c = 0; c < scales.size(); ++c) integer.scales[c] *= input_scales[c];
    form_ = std::move(integer);
    return;
  }
  Float plain{std::vector<float>(codes.size())};
  for (size_t i = 0; i < codes.size(); ++i) {
    plain.weight[i] = static_cast<float>(codes[i]) * scales[i % scales.size()];
  }
  form_ = std::move(plain);
}

void Convolution::operator()(Run& run, MatView<const float> x, MatView<float> cache,
                             MatView<float> y) const {
  const float* bias = bias_.empty() ? nullptr : bias_.data();
  const auto by_channels = [&](const auto& work) {
    run.split(x.cols, 8 * taps_ * x.rows, work, kTogether);
  };
  if (const auto* plain = std::get_if<Float>(&form_)) {
    const auto convolve = activation_ == Activation::silu ? kSilu : &causal_conv;
    return by_channels([&](int64_t first, int64_t count) {
      convolve(x, plain->weight.data(), bias, taps_, first, count, cache, y);
    });
  }
  const auto& integer = std::get<Integer>(form_);
  const Arena::Scope scope(run.arena());
  const auto codes = run.codes(cache.rows + x.rows, x.cols);
  const MatView<const float> scales(integer.input.data(), 1, x.cols);
  by_channels([&](int64_t first, int64_t count) {
    const auto own_scales = scales.columns(first, count);
    const auto own = codes.columns(first, count);
    if (cache.rows > 0) {
      to_codes(cache.columns(first, count), own_scales, own.slice_rows(0, cache.rows));
    }
    for (int64_t t = 0; t < x.rows; t += kRowsTogether) {
      const int64_t rows = std::min(kRowsTogether, x.rows - t);
      to_codes(x.columns(first, count).slice_rows(t, rows), own_scales,
               own.slice_rows(cache.rows + t, rows));
      causal_conv_silu_int8(codes.slice_rows(t, cache.rows + rows), integer.weight.data(),
                            integer.scales.data(), bias, taps_, first, count,
                            y.slice_rows(t, rows));
    }
  });
  // The cache holds the last taps − 1 inputs, of itself and x.
  const int64_t kept = std::max<int64_t>(0, cache.rows - x.rows);
  for (int64_t r = 0; r < kept; ++r) {
    std::copy_n(cache.row(r + cache.rows - kept), cache.cols, cache.row(r));
  }
  const int64_t fresh = cache.rows - kept;
  copy_rows(x.slice_rows(x.rows - fresh, fresh), cache.slice_rows(kept, fresh));
}

int64_t Convolution::bytes() const {
  const auto of = [](const auto& values) {
    return static_cast<int64_t>(values.size() * sizeof(values[0]));
  };
  if (const auto* plain = std::get_if<Float>(&form_)) return of(plain->weight) + of(bias_);
  const auto& integer = std::get<Integer>(form_);
  return of(integer.weight) + of(integer.input) + of(integer.scales) + of(bias_);
}

}  // namespace scute
