// What the table of verbs says of itself.
#pragma once

#include <string>

#include "cli/verbs.h"

namespace scute::cli {

/// Every verb, what it does and for which kinds of model.
std::string overview();
/// A verb's forms: one a kind, with its example and the way to its flags.
std::string forms_text(const Verb& verb);
/// What scute can do with the model at `path`. Error when it is none.
std::string model_text(const std::string& path);

}  // namespace scute::cli
