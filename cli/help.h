// What the table of verbs says of itself.
#pragma once

#include <string>
#include <string_view>

#include "cli/verbs.h"

namespace scute::cli {

/// Every verb, what it does and for which kinds of model.
std::string overview();
/// A verb's forms: one a kind, with its example and the way to its flags.
std::string forms_text(const Verb& verb);
/// What scute can do with the model at `path`. Error when it is none.
std::string model_text(const std::string& path);
/// What --version shows: version and commit, compiler, the instruction sets in use.
std::string version_text();
/// The first digits of the commit this was built from (cmake/commit.cmake); "" when not known.
std::string_view commit();

}  // namespace scute::cli
