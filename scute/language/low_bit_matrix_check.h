// Whether the tensors of a low-bit folder are what its config.json says.
#pragma once

#include <string>
#include <string_view>

#include "scute/tensor/weights.h"

namespace scute {

/// Error unless the tensor is there exactly if `wanted`; `why` is what config.json calls the layer.
void require_tensor(const Weights& weights, const std::string& name, bool wanted,
                    std::string_view why);
/// One matrix: weights of 4, 8 or 16 bits, an input scale or none; `format` is what config.json
/// calls it. Error naming the tensor that is missing, or there and should not be.
void check_low_bit_matrix(const Weights& weights, const std::string& name, int bits,
                          bool eight_bit_input, std::string_view format);
/// Error naming the first tensor with NaN or infinity in it.
void check_finite(const Weights& weights);

}  // namespace scute
