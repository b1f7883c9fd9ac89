// Whether the tensors of a low-bit language model are what its config.json says.
#pragma once

#include "scute/language/model_folder.h"

namespace scute {

/// Of a low-bit model: every layer's tensors are those of its format, the state's scales those that
/// are said, every float is finite. Of a float model: no tensor is a scale of a low-bit one. Error
/// naming the first tensor that is not so.
void check_low_bit(const Weights& weights, const ModelDescription& model);

/// Error naming the method when config.json says that another tool quantized the weights.
void refuse_foreign_method(const ModelDescription& model);
/// The same when tensors, under their published names, are such as only other tools' quantized
/// layers have.
void refuse_foreign_tensors(const ModelDescription& model, const Weights& weights);

}  // namespace scute
