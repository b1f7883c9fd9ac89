// What shells complete after "scute ": verbs, flags, values, files; from the table of verbs.
#pragma once

#include <string>
#include <string_view>

namespace scute::cli {

/// The script for "bash", "zsh" or "fish"; UsageError for another shell.
std::string shell_completion(std::string_view shell);

}  // namespace scute::cli
