// Whose an experiment was is nobody's business where its record is handed on.
#pragma once

#include <string>
#include <string_view>

#include "scute/experiments/log.h"

namespace scute {

/// A text with ~ for the folder `home` and what lies in it, wherever one of its paths begins with
/// that; shells read it back. As it is when `home` is no absolute path below the root.
std::string home_as_tilde(std::string_view text, std::string_view home);

/// The same in every text of the entries that tables, MLflow and pages are made of. `text`, which
/// record() reads, stays as it was written, and so do names of members.
void home_as_tilde(ExperimentLog& log, std::string_view home);

}  // namespace scute
