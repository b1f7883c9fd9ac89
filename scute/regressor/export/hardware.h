// The parts of scute_regressor.h that are the same for every model: the files of hardware/,
// embedded when scute is built (cmake/embed.cmake).
#pragma once

#include <string_view>

namespace scute {

/// C99, in the order they stand in; the model's numbers come between `types` and `steps`.
struct HardwareTemplate {
  std::string_view types;  ///< hardware/types.h: the structures that hold a model's numbers
  std::string_view steps;  ///< hardware/steps.h: arithmetic on codes, and each step of the network
  std::string_view network;  ///< hardware/network.h: a window through all of them
};
const HardwareTemplate& hardware_template();

}  // namespace scute
