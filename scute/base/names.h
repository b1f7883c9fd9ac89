// Looking things up by name: globs, and the nearest names when nothing fits.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace scute {

/// Whole-name match; `*` is any run of characters (dots included), `?` any one, `[abc]`, `[a-c]`
/// and `[!abc]` one of (not of) a set. A comma separates alternatives.
bool glob_match(std::string_view pattern, std::string_view name);

/// Up to `most` of `names`, nearest first by edit distance (case ignored); empty when none is
/// closer than rewriting more than half of `name`.
std::vector<std::string> closest_names(std::string_view name, const std::vector<std::string>& names,
                                       size_t most = 3);

/// "; did you mean A, B or C?" or "" when nothing is near: to end a sentence about a name.
std::string did_you_mean(std::string_view name, const std::vector<std::string>& names);

/// "A, B, C": the names with `between` between them. (fmt::join does it too, and costs every file
/// that uses it 11 KB of code.)
std::string joined(std::span<const std::string> names, std::string_view between);
std::string joined(std::span<const std::string_view> names, std::string_view between);

/// The last name of a path, with or without a slash at its end; "" of "/" and of "".
std::string base_name(std::string_view path);

/// "A, B, C and 2 more": the first `shown` of the names, and how many more.
std::string first_few(const std::vector<std::string>& names, size_t shown = 3);

}  // namespace scute
