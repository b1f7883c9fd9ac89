#include "cli/cobra.h"

#include <algorithm>

#include "scute/base/error.h"
#include "scute/recipe/kind.h"

namespace scute::cli {

bool is_cobra(const std::string& model) {
  try {
    return kind_of(model) == ModelKind::cobra;
  } catch (const Error&) {
    return false;
  }
}

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
