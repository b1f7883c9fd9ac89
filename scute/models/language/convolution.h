// The causal depth-wise convolution of a mixer, with SiLU, float or 8-bit, or of attention.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "scute/models/run.h"
#include "scute/models/scheme.h"
#include "scute/tensor/weights.h"

namespace scute {

/// `conv1d.weight` (channels, 1, taps), floats, or I8 with `conv1d.weight_scale` (channels);
/// `conv1d.bias`.
struct ConvolutionTensors {
  ConvolutionTensors() = default;
  ConvolutionTensors(WeightReader& reader, const std::string& prefix, int64_t channels,
                     int64_t taps, bool with_bias);

  bool quantized() const { return scale.size() > 0; }

  std::string name;
  Tensor weight, scale, bias;
};

/// A causal convolution of each channel by itself.
class Convolution {
 public:
  enum class Activation { silu, none };

  Convolution() = default;
  /// `input_scales`: one per channel for 8-bit inputs, or empty. With 8-bit weights, 8-bit inputs
  /// and the integer backend the taps are multiplied and summed as integers, where SiLU follows.
  Convolution(const ConvolutionTensors& tensors, const std::vector<float>& input_scales,
              const Execution& execution, Activation activation = Activation::silu);

  /// x: L × channels, on the inputs' grid if there is one; cache: (taps − 1) × channels, the inputs
  /// before, updated; y: L × channels.
  void operator()(Run& run, MatView<const float> x, MatView<float> cache, MatView<float> y) const;
  int64_t bytes() const;

 private:
  struct Float {
    std::vector<float> weight;  ///< taps × channels
  };
  struct Integer {
    std::vector<int8_t> weight;        ///< taps × channels
    std::vector<float> input, scales;  ///< scale of the inputs; the same times that of the weights
  };

  int64_t taps_ = 1;
  Activation activation_ = Activation::silu;
  std::vector<float> bias_;
  std::variant<Float, Integer> form_;
};

}  // namespace scute
