// Models of a named size with random weights, so that anyone can measure speed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "scute/language/model_folder.h"

namespace scute {

/// The sizes of the released models, "mamba-130m" … "mamba2-2.7b" (README.md) and those of
/// published_configs.h, and "mamba-tiny", "mamba2-tiny" for tests. Error naming the known ones.
MambaConfig named_config(std::string_view size);
std::vector<std::string> named_sizes();
/// What of it was not seen published but assumed; empty: nothing.
std::string assumed_in(std::string_view size);

/// bf16 matrices from a normal distribution with the usual initial scales, A_log and D as Mamba
/// initializes them; the same for the same seed anywhere.
Weights random_weights(const MambaConfig& config, uint64_t seed);

/// Takes one tensor of a model.
using RandomTensorSink = std::function<void(const std::string& name, Tensor tensor)>;

/// The same tensors one after the other, block by block, for who cannot hold them all: the table
/// first, the head, if there is one, last.
void make_random_weights(const MambaConfig& config, uint64_t seed, const RandomTensorSink& sink);

/// The same without elements: names, types and shapes, whose elements must not be read.
Weights random_shapes(const MambaConfig& config);

/// A model of that size with random_weights, to be read like one that lies in a folder.
ModelDescription random_description(std::string_view size, uint64_t seed);

}  // namespace scute
