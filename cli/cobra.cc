#include "cli/cobra.h"

#include <algorithm>

#include "scute/recipe/cobra_folder.h"

namespace scute::cli {

bool names_cobra(const Arguments& arguments) {
  const std::string* before = nullptr;
  return std::ranges::any_of(arguments, [&](const std::string& argument) {
    const bool written = before != nullptr && (*before == "--out" || *before == "--output");
    before = &argument;
    if (written) return false;  // a folder that may be replaced, not one that is read
    const size_t equals = argument.starts_with("--") ? argument.find('=') : std::string::npos;
    const std::string value = equals == std::string::npos ? argument : argument.substr(equals + 1);
    return !value.starts_with("-") && is_cobra(value);
  });
}

}  // namespace scute::cli
