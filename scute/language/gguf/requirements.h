// What of a model has no place in the architectures that GGUF names.
#pragma once

#include <string>

#include "scute/language/model_folder.h"

namespace scute {

/// Error in one line when readers of that architecture would compute something else than scute.
void require_gguf_numbers(const ModelDescription& model, const std::string& architecture);

}  // namespace scute
