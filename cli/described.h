// A language model's folder described, and what is unusual about it said.
#pragma once

#include <string>

#include "scute/language/model_folder.h"

namespace scute::cli {

/// describe_model(), its remarks on standard error unless quiet.
ModelDescription described(const std::string& folder, bool quiet);

}  // namespace scute::cli
