// Cobra's towers and projector at a named size with random weights, so that anyone can measure
// speed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "scute/models/vision/cobra.h"

namespace scute {

/// "cobra+3b-vision", DINOv2 L/14 and SigLIP so400m/14 at 384 pixels with the fused projector into
/// 2560 columns (models/vision/README.md), and "tiny-cobra-vision" for tests.
std::vector<std::string> named_vision_sizes();
/// Error naming the known ones and the nearest.
CobraConfig named_vision_config(std::string_view size);

/// How matrices are stored.
enum class RandomForm {
  bf16,  ///< floats
  int8,  ///< codes with a scale an output, and a grid of the input: W8A8
};
/// The weights of towers and projector (CobraModel::Parts::vision), matrices uniform with the usual
/// initial deviation 1/√(3·inputs); the same for the same seed anywhere. As large as the form says:
/// nothing else is held.
CobraWeights random_vision_weights(const CobraConfig& config, RandomForm form, uint64_t seed);

/// What one picture costs: multiplications and additions of the products and of attention (two
/// products of tokens² a column); all else is below 1 %.
struct PictureWork {
  double towers = 0, projector = 0;  ///< floating-point operations
};
PictureWork picture_work(const CobraConfig& config);

}  // namespace scute
