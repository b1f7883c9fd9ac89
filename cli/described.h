// A model's files described, and what is unusual about them said on standard error unless quiet.
#pragma once

#include <string>

#include "scute/cobra/folder.h"
#include "scute/language/model_folder.h"
#include "scute/regressor/checkpoint.h"

namespace scute::cli {

/// describe_model().
ModelDescription described(const std::string& folder, bool quiet);
/// describe_cobra().
CobraDescription described_cobra(const std::string& folder, bool quiet);
/// read_regressor_checkpoint().
RegressorCheckpoint described_regressor(const std::string& path, bool quiet);

}  // namespace scute::cli
