// The one exception type of the library.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace scute {

/// Thrown for everything a caller can get wrong: a bad file, an unknown name, an impossible option.
/// The text reads "WHERE: expected …, found …"; WHERE is a file or a site.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throws Error with the text "WHERE: expected EXPECTED, found FOUND".
[[noreturn]] void fail(std::string_view where, std::string_view expected, std::string_view found);

}  // namespace scute
