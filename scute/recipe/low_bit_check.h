// Whether the tensors of a low-bit folder are what its config.json says: internal to this folder.
#pragma once

#include <string>
#include <string_view>

#include "scute/recipe/model_folder.h"

namespace scute {

/// Of a low-bit model: every layer's tensors are those of its format, the state's scales those that
/// are said, every float is finite. Of a float model: no tensor is a scale of a low-bit one. Error
/// naming the first tensor that is not so.
void check_low_bit(const Weights& weights, const ModelDescription& model);

/// One matrix: weights of 4, 8 or 16 bits, an input scale or none; `format` is what config.json
/// calls it. Error naming the tensor that is missing, or there and should not be.
void check_low_bit_matrix(const Weights& weights, const std::string& name, int bits,
                          bool eight_bit_input, std::string_view format);
/// Error naming the first tensor with NaN or infinity in it.
void check_finite(const Weights& weights);

}  // namespace scute
