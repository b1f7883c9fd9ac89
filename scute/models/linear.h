// A linear map, however its weights are stored.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "scute/kernels/gemm.h"
#include "scute/kernels/gemm_int4.h"
#include "scute/kernels/gemm_int8.h"
#include "scute/models/model_work.h"
#include "scute/models/run.h"
#include "scute/models/scheme.h"
#include "scute/quantize/weight.h"
#include "scute/tensor/weights.h"

namespace scute {

/// The tensors of one linear map as a checkpoint stores them, under NAME: `weight` (floats), or
/// `weight` (I8) with `weight_scale`, or `weight_packed`, `weight_shape` and `weight_scale` (4
/// bit), perhaps with `weight_channel_scale`; and `input_scale` when products are formed with 8-bit
/// inputs.
struct LinearTensors {
  LinearTensors();
  /// With `bias` NAME.bias must be there too.
  LinearTensors(WeightReader& reader, std::string name, int64_t outputs, int64_t inputs,
                bool bias = false);
  LinearTensors(const LinearTensors&);
  LinearTensors(LinearTensors&&) noexcept;
  LinearTensors& operator=(const LinearTensors&);
  LinearTensors& operator=(LinearTensors&&) noexcept;
  ~LinearTensors();

  bool quantized() const { return packed.size() > 0 || scale.size() > 0; }
  bool eight_bit_input() const { return input_scale.size() > 0; }
  /// Call after the reader's finish(). Error naming the tensor that makes no sense.
  QuantizedWeight weight_codes() const;
  /// `count` of the outputs from `first` on: a map of their own. The same error.
  LinearTensors rows(int64_t first, int64_t count) const;

  std::string name;
  int64_t outputs = 0, inputs = 0;
  Tensor weight, packed, shape, scale, channel_scale, input_scale, bias;
};

/// A scale tensor of one element, or of one for each of `columns`, whichever is stored.
Tensor take_column_scales(WeightReader& reader, const std::string& name, int64_t columns);

/// y = x·Wᵀ + bias. A closed choice of weight formats; who calls it neither knows nor asks which.
class Linear {
 public:
  Linear();
  Linear(const LinearTensors& tensors, const Execution& execution);
  Linear(const Linear&);
  Linear(Linear&&) noexcept;
  Linear& operator=(const Linear&);
  Linear& operator=(Linear&&) noexcept;
  ~Linear();

  /// The same map plus up·(down·x), by two matrices of a low rank (Hu et al. 2021, LoRA); the
  /// packed weights are shared.
  Linear adapted(const LinearTensors& down, const LinearTensors& up,
                 const Execution& execution) const;

  int64_t outputs() const { return outputs_; }
  /// x: L × inputs, y: L × outputs. With an input scale x is rounded to its grid first (values on
  /// the grid stay as they are).
  void operator()(Run& run, MatView<const float> x, MatView<float> y) const;
  int64_t bytes() const;
  /// Adds the multiply-adds of `rows` rows.
  void add_work(int64_t rows, ModelWork& work) const;
  /// The grid of the input; 0 without one.
  float input_scale() const;
  /// Gives 8-bit inputs the grid that keeps [lo, hi], scale max(|lo|, |hi|) / 127: from now on this
  /// is the Linear that its tensors with that input_scale would be, bit for bit. Does nothing where
  /// inputs are floats. lo < hi, finite. Not while another thread uses it.
  void set_input_range(float lo, float hi);
  /// The same with the grid itself, of a positive scale.
  void set_input_scale(float scale);

 private:
  /// Weights and inputs of 8 bits: y = (codes of x · codes of W) · scales, where scales holds input
  /// scale times weight scale of each output, rounded once.
  template <class Product>
  struct EightBit {
    Product product;
    float input_scale;
    std::vector<float> weight_scales, scales;

    EightBit(Product p, float input, std::vector<float> weight)
        : product(std::move(p)), weight_scales(std::move(weight)) {
      set_input_scale(input);
    }
    void set_input_scale(float input);
  };
  using Integer = EightBit<GemmInt8>;
  using Simulated = EightBit<Gemm>;

  struct Adapter;
  void multiply(Run& run, MatView<const float> x, MatView<float> y) const;

  int64_t outputs_ = 0;
  std::vector<float> bias_;  ///< empty: none
  std::shared_ptr<const Adapter> adapter_;
  std::variant<Gemm, GemmInt4, Integer, Simulated> form_;
};

}  // namespace scute
